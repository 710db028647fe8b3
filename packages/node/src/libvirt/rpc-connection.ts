import { createConnection, type Socket } from 'node:net';
import { RateBudget, type RateLimit, systemClock, type TimerClock } from '@slipway/runtime';
import { HEADER_BYTES, KEEPALIVE, MAX_MESSAGE_BYTES, MESSAGE_STATUS, MESSAGE_TYPE, PROGRAM } from './protocol.ts';
import { XdrReader, XdrWriter } from './xdr.ts';

/** A refusal by libvirt; `code` is its virErrorNumber. */
export class LibvirtError extends Error {
  readonly code: number;
  readonly procedure: string;

  constructor(procedure: string, code: number, message: string) {
    super(message);
    this.name = 'LibvirtError';
    this.code = code;
    this.procedure = procedure;
  }
}

export interface RpcCall {
  readonly program: number;
  readonly procedure: number;
  /** For error messages. */
  readonly name: string;
  readonly args?: Buffer;
  /** The reply is followed by a stream from the daemon; its bytes are collected up to this many. */
  readonly maxStreamBytes?: number;
  /** For calls that move much data. */
  readonly timeoutMs?: number;
}

export interface RpcReply {
  readonly body: XdrReader;
  readonly stream: Buffer;
}

interface Pending {
  readonly call: RpcCall;
  readonly resolve: (reply: RpcReply) => void;
  readonly reject: (error: Error) => void;
  reply?: Buffer;
  readonly chunks: Buffer[];
  streamedBytes: number;
}

interface Message {
  readonly program: number;
  readonly procedure: number;
  readonly type: number;
  readonly serial: number;
  readonly status: number;
  readonly payload: Buffer;
}

/** Longer than any call takes on a busy machine, guest-agent calls with their own limit included. */
const CALL_TIMEOUT_MS = 60_000;

/** Events and keepalives that nobody asked for; beyond this the connection is not read for a while. */
const UNASKED: RateLimit = { burst: 2_000, perSecond: 500 };
/** A daemon that asks without reading our answers. */
const MAX_UNSENT_BYTES = 4 * 1024 * 1024;

export type EventListener = (procedure: number, body: XdrReader) => void;

/** One connection to a libvirt daemon: calls in any number at once, events, keepalive. */
export class RpcConnection {
  /** Resolves when the connection has ended, for whatever reason. */
  readonly closed: Promise<void>;
  private readonly socket: Socket;
  private readonly onEvent: EventListener;
  private readonly pending = new Map<number, Pending>();
  private readonly timers = new Map<number, NodeJS.Timeout>();
  private received: Buffer[] = [];
  private receivedBytes = 0;
  /** Length of the message that is coming in, once known. */
  private wantedBytes = 4;
  private serial = 0;
  private failure: Error | undefined;
  private readonly clock: TimerClock;
  private readonly unasked: RateBudget;
  private isHeldBack = false;

  private constructor(socket: Socket, onEvent: EventListener, clock: TimerClock) {
    this.socket = socket;
    this.onEvent = onEvent;
    this.clock = clock;
    this.unasked = new RateBudget(UNASKED, clock);
    socket.on('data', (chunk) => this.receive(chunk));
    socket.on('error', (error) => this.end(error));
    this.closed = new Promise((resolve) => {
      socket.on('close', () => {
        this.end(new Error('The connection to libvirt was closed'));
        resolve();
      });
    });
  }

  /** Rejects when nobody listens at the socket. */
  static open(socketPath: string, onEvent: EventListener, clock = systemClock): Promise<RpcConnection> {
    return new Promise((resolve, reject) => {
      const socket = createConnection(socketPath);
      socket.once('error', reject);
      socket.once('connect', () => {
        socket.off('error', reject);
        resolve(new RpcConnection(socket, onEvent, clock));
      });
    });
  }

  call(call: RpcCall): Promise<RpcReply> {
    if (this.failure) return Promise.reject(this.failure);
    const serial = ++this.serial;
    return new Promise((resolve, reject) => {
      // a daemon that hangs is given up as a whole: its init has another one ready
      const giveUp = (): void => void this.socket.destroy(new Error(`libvirt did not answer ${call.name}`));
      const timer = setTimeout(giveUp, call.timeoutMs ?? CALL_TIMEOUT_MS);
      timer.unref();
      this.timers.set(serial, timer);
      this.pending.set(serial, { call, resolve, reject, chunks: [], streamedBytes: 0 });
      this.send(call.program, call.procedure, MESSAGE_TYPE.call, serial, MESSAGE_STATUS.ok, call.args);
    });
  }

  close(): void {
    this.socket.destroy();
  }

  private send(program: number, procedure: number, type: number, serial: number, status: number, payload?: Buffer): void {
    const length = HEADER_BYTES + (payload?.length ?? 0);
    const header = new XdrWriter().uint(length).uint(program).uint(1).int(procedure).int(type).uint(serial).int(status);
    this.socket.write(payload ? Buffer.concat([header.toBuffer(), payload]) : header.toBuffer());
    if (this.socket.writableLength > MAX_UNSENT_BYTES) this.socket.destroy(new Error('libvirt does not read what it is sent'));
  }

  private receive(chunk: Buffer): void {
    let piece = chunk;
    // pieces of like size are put together, so that neither many tiny ones nor one long message cost more than a few copies
    for (let last = this.received.at(-1); last !== undefined && last.length <= piece.length; last = this.received.at(-1)) {
      this.received.pop();
      piece = Buffer.concat([last, piece]);
    }
    this.received.push(piece);
    this.receivedBytes += chunk.length;
    this.acceptAll();
  }

  private acceptAll(): void {
    while (!this.isHeldBack && this.receivedBytes >= 4 && this.receivedBytes >= this.wantedBytes) {
      const [first] = this.received;
      const joined = first !== undefined && this.received.length === 1 ? first : Buffer.concat(this.received);
      const length = joined.readUInt32BE(0);
      if (length < HEADER_BYTES || length > MAX_MESSAGE_BYTES) {
        this.socket.destroy(new Error(`libvirt sent a message of ${length} bytes`));
        return;
      }
      this.wantedBytes = length;
      this.received = [joined];
      if (joined.length < length) return;
      this.received = [joined.subarray(length)];
      this.receivedBytes = joined.length - length;
      this.wantedBytes = 4;
      if (!this.accept(joined.subarray(0, length))) return;
    }
  }

  /** False when the message made no sense. The daemon shares its user with QEMU: what it says may be hostile. */
  private accept(message: Buffer): boolean {
    try {
      this.dispatch({
        program: message.readUInt32BE(4),
        procedure: message.readInt32BE(12),
        type: message.readInt32BE(16),
        serial: message.readUInt32BE(20),
        status: message.readInt32BE(24),
        payload: message.subarray(HEADER_BYTES),
      });
      return true;
    } catch (error) {
      this.socket.destroy(new Error('libvirt sent a message that makes no sense', { cause: error }));
      return false;
    }
  }

  private dispatch(message: Message): void {
    if (message.program === PROGRAM.keepalive || message.type === MESSAGE_TYPE.event) this.spend();
    if (message.program === PROGRAM.keepalive) {
      if (message.procedure === KEEPALIVE.ping)
        this.send(PROGRAM.keepalive, KEEPALIVE.pong, MESSAGE_TYPE.event, 0, MESSAGE_STATUS.ok);
      return;
    }
    if (message.type === MESSAGE_TYPE.event) this.onEvent(message.procedure, new XdrReader(message.payload));
    else if (message.type === MESSAGE_TYPE.reply) this.receiveReply(message);
    else if (message.type === MESSAGE_TYPE.stream) this.receiveStream(message);
  }

  /** A flood of events is read as slowly as the budget allows; the daemon waits, or its socket is full. */
  private spend(): void {
    const waitMs = this.unasked.take(1);
    if (waitMs === 0 || this.isHeldBack) return;
    this.isHeldBack = true;
    this.socket.pause();
    this.clock.setTimer(waitMs, () => {
      this.isHeldBack = false;
      this.socket.resume();
      this.acceptAll();
    });
  }

  private receiveReply(message: Message): void {
    const pending = this.pending.get(message.serial);
    if (pending === undefined) return;
    if (message.status === MESSAGE_STATUS.error) this.settle(message.serial, errorOf(pending.call, message.payload));
    else if (pending.call.maxStreamBytes === undefined)
      this.settle(message.serial, { body: new XdrReader(message.payload), stream: Buffer.alloc(0) });
    else pending.reply = Buffer.from(message.payload);
  }

  private receiveStream(message: Message): void {
    const pending = this.pending.get(message.serial);
    if (pending === undefined) return;
    if (message.status === MESSAGE_STATUS.error) {
      this.settle(message.serial, errorOf(pending.call, message.payload));
    } else if (message.status === MESSAGE_STATUS.continue && message.payload.length > 0) {
      pending.streamedBytes += message.payload.length;
      if (pending.streamedBytes > (pending.call.maxStreamBytes ?? 0))
        this.settle(message.serial, new Error(`${pending.call.name} sent more than ${pending.call.maxStreamBytes} bytes`));
      else pending.chunks.push(Buffer.from(message.payload));
    } else {
      // An empty packet ends the data, and the daemon waits for our answer to it.
      this.send(message.program, message.procedure, MESSAGE_TYPE.stream, message.serial, MESSAGE_STATUS.ok);
      this.settle(message.serial, {
        body: new XdrReader(pending.reply ?? Buffer.alloc(0)),
        stream: Buffer.concat(pending.chunks),
      });
    }
  }

  private settle(serial: number, outcome: RpcReply | Error): void {
    clearTimeout(this.timers.get(serial));
    this.timers.delete(serial);
    const pending = this.pending.get(serial);
    this.pending.delete(serial);
    if (outcome instanceof Error) pending?.reject(outcome);
    else pending?.resolve(outcome);
  }

  private end(error: Error): void {
    this.failure ??= error;
    for (const serial of [...this.pending.keys()]) this.settle(serial, this.failure);
  }
}

/** remote_error: code, domain, optional message, and fields that nobody needs. */
function errorOf(call: RpcCall, payload: Buffer): LibvirtError {
  const reader = new XdrReader(payload);
  const code = reader.int();
  reader.int();
  return new LibvirtError(call.name, code, reader.optionalString() ?? `libvirt refused ${call.name} with code ${code}`);
}
