import type { Duplex } from 'node:stream';
import type { WatchFrame, WatchSession } from '../pipeline/request.ts';
import type { Headers, ResponseWriter } from './write-response.ts';

/** A watcher that leaves this much unread is cut off; it comes back where it was. */
const MAX_BACKLOG_BYTES = 16 * 1024 * 1024;
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
      () => {
        outlet.flush();
        writer.end();
      },
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
  private isOpen = true;

  constructor(writer: ResponseWriter, queue: WatchQueue) {
    this.writer = writer;
    this.queue = queue;
  }

  add(frame: WatchFrame): void {
    if (this.frames.push(frame) === 1) this.queue.add(this);
  }

  flush(): void {
    const { frames, writer } = this;
    if (frames.length === 0 || !this.isOpen) return;
    this.frames = [];
    const socket = chunkSocket(writer);
    if (socket === undefined) writer.write(joined(frames.map(({ line }) => line)));
    else socket.write(joined(frames.map(({ chunk }) => chunk)));
    if (writer.writableLength > MAX_BACKLOG_BYTES || (socket?.writableLength ?? 0) > MAX_BACKLOG_BYTES) writer.destroy?.();
  }

  close(): void {
    this.isOpen = false;
    this.frames = [];
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

/** The watchers that have something to get. Serving them is spread over turns, so that requests are not kept waiting. */
export class WatchQueue {
  private waiting: { flush(): void }[] = [];
  private isScheduled = false;

  add(outlet: { flush(): void }): void {
    this.waiting.push(outlet);
    if (this.isScheduled) return;
    this.isScheduled = true;
    setImmediate(() => this.serve());
  }

  private serve(): void {
    const startedAt = performance.now();
    const turn = this.waiting;
    let served = 0;
    this.waiting = [];
    while (served < turn.length) {
      turn[served++]?.flush();
      if (served % STRIDE === 0 && performance.now() - startedAt > TURN_MS) break;
    }
    if (served < turn.length) this.waiting = turn.slice(served).concat(this.waiting);
    this.isScheduled = this.waiting.length > 0;
    if (this.isScheduled) setImmediate(() => this.serve());
  }
}
