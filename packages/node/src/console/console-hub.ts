import { createConnection, type Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import { StatusError } from '@slipway/apimachinery';
import { RateBudget, type RateLimit, systemClock, type TimerClock } from '@slipway/runtime';
import { Scrollback } from './scrollback.ts';
import { Viewer } from './viewer.ts';

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
  /** The guest writes more than anybody reads; told at most every ten minutes. */
  readonly onFlood?: () => void;
  readonly clock?: TimerClock;
}

const DEFAULT_SCROLLBACK = 64 * 1024;
const MAX_VIEWERS = 32;
/** A guest may write byte by byte: beyond this its output waits a moment, so that it comes in fewer and larger pieces. */
const PIECES: RateLimit = { burst: 500, perSecond: 100 };
/** Beyond this QEMU is made to wait, as by a slow serial line: nobody reads that much, and one processor serves all guests. */
const BYTES: RateLimit = { burst: 4 * 1024 * 1024, perSecond: 2 * 1024 * 1024 };
/** A guest that writes more than this has flooded its console: more than its log keeps, faster than a serial line. */
const FLOOD: RateLimit = { burst: 2 * 1024 * 1024, perSecond: 32 * 1024 };
const TELL_FLOOD_MS = 10 * 60_000;
const RECONNECT_MS = 200;

/**
 * One reader of a serial port and any number of viewers. Every viewer gets every byte from its start on, in order; what
 * any of them types goes to the guest.
 */
export class ConsoleHub {
  private readonly deps: ConsoleHubDeps;
  private readonly viewers = new Set<Viewer>();
  private readonly scrollback: Scrollback;
  private readonly clock: TimerClock;
  private readonly budgets: { readonly pieces: RateBudget; readonly bytes: RateBudget; readonly flood: RateBudget };
  private toldFloodMs = Number.NEGATIVE_INFINITY;
  private cancelPause = (): void => {};
  private socket: Socket | undefined;
  private retry: NodeJS.Timeout | undefined;
  private closed = false;

  constructor(deps: ConsoleHubDeps) {
    this.deps = deps;
    this.clock = deps.clock ?? systemClock;
    const { clock } = this;
    this.budgets = {
      pieces: new RateBudget(PIECES, clock),
      bytes: new RateBudget(BYTES, clock),
      flood: new RateBudget(FLOOD, clock),
    };
    this.scrollback = new Scrollback(deps.scrollbackBytes ?? DEFAULT_SCROLLBACK);
    this.scrollback.append(deps.earlier ?? new Uint8Array(0));
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
    socket.on('data', (chunk) => this.receive(socket, chunk));
    socket.on('error', () => {}); // 'close' follows
    socket.on('close', () => {
      this.socket = undefined;
      if (!this.closed) this.retry = setTimeout(() => this.start(), RECONNECT_MS);
    });
  }

  /**
   * A stream of one viewer, which sees the last output first unless it wants only what comes `fromNow`. Throws StatusError
   * when there are as many as are served.
   */
  attach({ fromNow = false }: { readonly fromNow?: boolean } = {}): Duplex {
    if (this.viewers.size >= MAX_VIEWERS) throw tooManyViewers();
    const viewer: Viewer = new Viewer({
      onType: (bytes, done) => this.type(bytes, done),
      onGone: () => this.viewers.delete(viewer),
    });
    const shown = this.scrollback.content();
    if (shown.length > 0 && !fromNow) viewer.offer(shown);
    if (this.closed) viewer.finish();
    else this.viewers.add(viewer);
    return viewer;
  }

  /** The guest is gone: viewers see the end of the stream. */
  close(): void {
    this.closed = true;
    clearTimeout(this.retry);
    this.cancelPause();
    this.socket?.destroy();
    for (const viewer of this.viewers) viewer.finish();
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

  private receive(socket: Socket, chunk: Buffer): void {
    this.scrollback.append(chunk);
    this.deps.onOutput?.(chunk);
    for (const viewer of this.viewers) viewer.offer(chunk);
    const { pieces, bytes, flood } = this.budgets;
    const waitMs = Math.max(pieces.take(1), bytes.take(chunk.length));
    if (waitMs > 0) this.pause(socket, waitMs);
    if (flood.take(chunk.length) > 0) this.tellFlood();
  }

  private pause(socket: Socket, waitMs: number): void {
    socket.pause();
    this.cancelPause();
    this.cancelPause = this.clock.setTimer(waitMs, () => socket.resume());
  }

  private tellFlood(): void {
    if (this.clock.now() - this.toldFloodMs < TELL_FLOOD_MS) return;
    this.toldFloodMs = this.clock.now();
    this.deps.onFlood?.();
  }

  private type(bytes: Buffer, done: () => void): void {
    // Keys typed while QEMU is away are lost, as on a real serial line.
    if (this.socket?.writable) this.socket.write(bytes, () => done());
    else done();
  }
}

function tooManyViewers(): StatusError {
  const message = `The console of this guest has ${MAX_VIEWERS} viewers, which is as many as are served at once: close one of them`;
  return new StatusError({ code: 429, reason: 'TooManyRequests', message });
}
