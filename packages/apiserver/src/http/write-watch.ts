import type { Duplex } from 'node:stream';
import type { WatchFrame, WatchSession } from '../pipeline/request.ts';
import type { Headers, ResponseWriter } from './write-response.ts';

/** Bytes of one write: a watcher that begins with thousands of objects gets them piece by piece. */
const PIECE_BYTES = 256 * 1024;
/** With so much on its way unread, the rest waits as frames, which cost next to nothing. */
const HIGH_WATER_BYTES = 256 * 1024;
/** A watcher for whom more frames wait and who has read nothing for a while is cut off; it comes back where it was. */
const MAX_WAITING_FRAMES = 10_000;
const MAX_SILENCE_MS = 30_000;
/** How long one turn of the event loop may spend on sending to watchers. */
const TURN_MS = 10;
/** Watchers served between two looks at the clock. */
const STRIDE = 32;

/** Sends a watch until it ends or the client goes; resolves then. */
export function writeWatch(watch: WatchSession, headers: Headers, writer: ResponseWriter, queue: WatchQueue): Promise<void> {
  return new Promise((resolve) => {
    writer.writeHead(200, { 'content-type': 'application/json', ...headers });
    writer.write('');
    (writer as { flushHeaders?: () => void }).flushHeaders?.(); // only HTTP/1.1 needs it
    const outlet = new Outlet(writer, queue);
    const stop = watch.start(
      (frame) => outlet.add(frame),
      () => outlet.end(),
    );
    writer.once('close', () => {
      outlet.close();
      stop();
      resolve();
    });
  });
}

/** What waits to be sent to one watcher: frames of a turn leave in one write. */
class Outlet {
  private readonly writer: ResponseWriter;
  private readonly queue: WatchQueue;
  private frames: WatchFrame[] = [];
  /** Index of the next frame to send. */
  private next = 0;
  private state: 'open' | 'ending' | 'closed' = 'open';
  private isQueued = false;
  /** When the connection stopped taking more; undefined: it takes. */
  private blockedSince: number | undefined;

  constructor(writer: ResponseWriter, queue: WatchQueue) {
    this.writer = writer;
    this.queue = queue;
  }

  add(frame: WatchFrame): void {
    if (this.state !== 'open') return;
    this.frames.push(frame);
    if (this.blockedSince === undefined) return this.schedule();
    const isLost = this.frames.length - this.next > MAX_WAITING_FRAMES && performance.now() - this.blockedSince > MAX_SILENCE_MS;
    if (isLost) this.writer.destroy?.();
  }

  /** Ends the answer when everything that waits has been sent. */
  end(): void {
    if (this.state === 'open') this.state = 'ending';
    this.schedule();
  }

  /** Sends a piece of what waits; returns its length. */
  flush(): number {
    this.isQueued = false;
    if (this.state === 'closed') return 0;
    const socket = chunkSocket(this.writer);
    const target = socket ?? this.writer;
    if (target.writableLength > HIGH_WATER_BYTES) {
      this.awaitDrain(target);
      return 0;
    }
    const bytes = this.sendPiece(target, socket !== undefined);
    if (this.frames.length > 0) this.schedule();
    else if (this.state === 'ending') {
      this.state = 'closed';
      this.writer.end();
    }
    return bytes;
  }

  close(): void {
    this.state = 'closed';
    this.frames = [];
    this.next = 0;
  }

  private schedule(): void {
    if (this.isQueued || this.blockedSince !== undefined) return;
    this.isQueued = true;
    this.queue.add(this);
  }

  private awaitDrain(target: Pick<ResponseWriter, 'once'>): void {
    this.blockedSince ??= performance.now();
    target.once('drain', () => {
      this.blockedSince = undefined;
      this.schedule();
    });
  }

  private sendPiece(target: Pick<ResponseWriter, 'write'>, isChunked: boolean): number {
    const pieces: Buffer[] = [];
    let bytes = 0;
    while (this.next < this.frames.length && bytes < PIECE_BYTES) {
      const frame = this.frames[this.next++] as WatchFrame; // next < length
      const piece = isChunked ? frame.chunk : frame.line;
      pieces.push(piece);
      bytes += piece.length;
    }
    if (this.next === this.frames.length) {
      this.frames = [];
      this.next = 0;
    }
    if (bytes > 0) target.write(joined(pieces));
    return bytes;
  }
}

function joined(buffers: readonly Buffer[]): Buffer {
  const [only] = buffers;
  return only !== undefined && buffers.length === 1 ? only : Buffer.concat(buffers);
}

/** A chunk that is ready goes straight to the socket of an HTTP/1.1 answer, without being framed for each watcher anew. */
function chunkSocket(writer: ResponseWriter): Duplex | undefined {
  const { chunkedEncoding, socket, outputSize } = writer as {
    chunkedEncoding?: boolean;
    socket?: Duplex | null;
    outputSize?: number;
  };
  return chunkedEncoding === true && outputSize === 0 && socket ? socket : undefined;
}

interface Flushable {
  /** Returns how many bytes it sent. */
  flush(): number;
}

/** The watchers that have something to get. Serving them is spread over turns, so that requests are not kept waiting. */
export class WatchQueue {
  private waiting: Flushable[] = [];
  private isScheduled = false;

  add(outlet: Flushable): void {
    this.waiting.push(outlet);
    if (this.isScheduled) return;
    this.isScheduled = true;
    setImmediate(() => this.serve());
  }

  private serve(): void {
    const startedAt = performance.now();
    const turn = this.waiting;
    let served = 0;
    let bytes = 0;
    this.waiting = [];
    while (served < turn.length) {
      bytes += turn[served++]?.flush() ?? 0;
      if (served % STRIDE !== 0 && bytes < PIECE_BYTES) continue;
      if (performance.now() - startedAt > TURN_MS) break;
      bytes = 0;
    }
    if (served < turn.length) this.waiting = turn.slice(served).concat(this.waiting);
    this.isScheduled = this.waiting.length > 0;
    if (this.isScheduled) setImmediate(() => this.serve());
  }
}
