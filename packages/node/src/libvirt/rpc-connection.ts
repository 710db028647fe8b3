import { createConnection, type Socket } from 'node:net';
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

  private constructor(socket: Socket, onEvent: EventListener) {
    this.socket = socket;
    this.onEvent = onEvent;
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
  static open(socketPath: string, onEvent: EventListener): Promise<RpcConnection> {
    return new Promise((resolve, reject) => {
      const socket = createConnection(socketPath);
      socket.once('error', reject);
      socket.once('connect', () => {
        socket.off('error', reject);
        resolve(new RpcConnection(socket, onEvent));
      });
    });
  }

  call(call: RpcCall): Promise<RpcReply> {
    if (this.failure) return Promise.reject(this.failure);
    const serial = ++this.serial;
    return new Promise((resolve, reject) => {
      // a daemon that hangs is given up as a whole: its init has another one ready
      const timer = setTimeout(() => this.socket.destroy(new Error(`libvirt did not answer ${call.name}`)), CALL_TIMEOUT_MS);
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
  }

  private receive(chunk: Buffer): void {
    this.received.push(chunk);
    this.receivedBytes += chunk.length;
    // put together only when a whole message is there, so that a long one in small pieces costs its length once
    while (this.receivedBytes >= 4 && this.receivedBytes >= this.wantedBytes) {
      const joined: Buffer = this.received.length === 1 ? (this.received[0] ?? chunk) : Buffer.concat(this.received);
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
    if (message.program === PROGRAM.keepalive) {
      if (message.procedure === KEEPALIVE.ping)
        this.send(PROGRAM.keepalive, KEEPALIVE.pong, MESSAGE_TYPE.event, 0, MESSAGE_STATUS.ok);
      return;
    }
    if (message.type === MESSAGE_TYPE.event) this.onEvent(message.procedure, new XdrReader(message.payload));
    else if (message.type === MESSAGE_TYPE.reply) this.receiveReply(message);
    else if (message.type === MESSAGE_TYPE.stream) this.receiveStream(message);
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
