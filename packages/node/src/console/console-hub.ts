import { createConnection, type Socket } from 'node:net';
import { Duplex } from 'node:stream';

export interface ConsoleHubDeps {
  /** UNIX socket on which QEMU serves the serial port; it takes one client at a time, which is this hub. */
  readonly socketPath: string;
  /** Another way to that socket, for example one that follows no links; may throw. */
  readonly connect?: () => Socket;
  /** What a new viewer sees first: the last output, at most this much. Default 64 KiB. */
  readonly scrollbackBytes?: number;
  /** Output of the guest before this hub was made, for example the tail of its log. */
  readonly earlier?: Uint8Array;
  readonly onOutput?: (chunk: Buffer) => void;
}

const DEFAULT_SCROLLBACK = 64 * 1024;
/** A viewer that reads this much slower than the guest writes is cut off rather than slowing the guest or the others. */
const MAX_BACKLOG = 4 * 1024 * 1024;
const RECONNECT_MS = 200;

/**
 * One reader of a serial port and any number of viewers. Every viewer gets every byte from its start on, in order; what
 * any of them types goes to the guest.
 */
export class ConsoleHub {
  private readonly deps: ConsoleHubDeps;
  private readonly viewers = new Set<Viewer>();
  private scrollback: Buffer;
  private socket: Socket | undefined;
  private retry: NodeJS.Timeout | undefined;
  private closed = false;

  constructor(deps: ConsoleHubDeps) {
    this.deps = deps;
    this.scrollback = Buffer.from(deps.earlier ?? []).subarray(-this.scrollbackBytes);
  }

  /** Connects, and again whenever QEMU closes the socket, until `close`. */
  start(): void {
    if (this.closed || this.socket) return;
    const socket = this.open();
    if (socket === undefined) {
      this.retry = setTimeout(() => this.start(), RECONNECT_MS);
      return;
    }
    this.socket = socket;
    socket.on('data', (chunk) => this.receive(chunk));
    socket.on('error', () => {}); // 'close' follows
    socket.on('close', () => {
      this.socket = undefined;
      if (!this.closed) this.retry = setTimeout(() => this.start(), RECONNECT_MS);
    });
  }

  /** A stream of one viewer, which sees the last output first unless it wants only what comes `fromNow`. */
  attach({ fromNow = false }: { readonly fromNow?: boolean } = {}): Duplex {
    const viewer = new Viewer(
      (bytes, done) => this.type(bytes, done),
      () => this.viewers.delete(viewer),
    );
    if (this.scrollback.length > 0 && !fromNow) viewer.push(this.scrollback);
    if (this.closed) viewer.push(null);
    else this.viewers.add(viewer);
    return viewer;
  }

  /** The guest is gone: viewers see the end of the stream. */
  close(): void {
    this.closed = true;
    clearTimeout(this.retry);
    this.socket?.destroy();
    for (const viewer of this.viewers) viewer.push(null);
    this.viewers.clear();
  }

  /** Undefined when there is no socket yet. */
  private open(): Socket | undefined {
    const { connect, socketPath } = this.deps;
    if (connect === undefined) return createConnection(socketPath);
    try {
      return connect();
    } catch {
      return undefined;
    }
  }

  private get scrollbackBytes(): number {
    return this.deps.scrollbackBytes ?? DEFAULT_SCROLLBACK;
  }

  private receive(chunk: Buffer): void {
    const joined = this.scrollback.length === 0 ? chunk : Buffer.concat([this.scrollback, chunk]);
    this.scrollback = Buffer.from(joined.subarray(-this.scrollbackBytes));
    this.deps.onOutput?.(chunk);
    for (const viewer of this.viewers) {
      if (viewer.readableLength > MAX_BACKLOG) viewer.destroy(new Error('The viewer does not read what the guest writes'));
      else viewer.push(chunk);
    }
  }

  private type(bytes: Buffer, done: () => void): void {
    // Keys typed while QEMU is away are lost, as on a real serial line.
    if (this.socket?.writable) this.socket.write(bytes, () => done());
    else done();
  }
}

class Viewer extends Duplex {
  private readonly onType: (bytes: Buffer, done: () => void) => void;
  private readonly onGone: () => void;

  constructor(onType: (bytes: Buffer, done: () => void) => void, onGone: () => void) {
    super({ allowHalfOpen: true });
    this.onType = onType;
    this.onGone = onGone;
  }

  override _read(): void {
    // the hub pushes
  }

  override _write(chunk: Buffer, _encoding: BufferEncoding, done: (error?: Error | null) => void): void {
    this.onType(chunk, done);
  }

  override _destroy(error: Error | null, done: (error?: Error | null) => void): void {
    this.onGone();
    done(error);
  }
}
