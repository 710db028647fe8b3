import { type MessageStream, MessageQueue } from '@slipway/client';
import {
  ControlType,
  FLAG_FIN,
  RST_PROTOCOL_ERROR,
  RST_REFUSED,
  type SpdyFrame,
  controlFrame,
  dataFrame,
  spdyDecoder,
  words,
} from './frames.ts';
import { type HeaderUnpacker, type SpdyHeaders, headerPacker, headerUnpacker } from './header-block.ts';

/** What SPDY runs on: an upgraded connection, or a WebSocket that carries SPDY in its messages. */
export type SpdyTransport = Pick<MessageStream, 'messages' | 'send' | 'close'>;

/** A stream that the client opened. */
export interface SpdyStream {
  readonly headers: SpdyHeaders;
  /** Ends when the client writes no more, resets the stream or goes away. */
  readonly data: AsyncIterable<Uint8Array>;
  /** Resolves when more may be written; does nothing once the stream has ended. */
  write(bytes: Uint8Array): Promise<void>;
  end(): Promise<void>;
  /** Ends both directions at once. */
  reset(): Promise<void>;
}

const MAX_STREAMS = 512;
/** The connection is not read while one stream holds this much unread: clients of Kubernetes know no windows. */
const MAX_UNREAD_BYTES = 256 * 1024;
const WRITE_BYTES = 32 * 1024;

interface OpenStream {
  readonly queue: MessageQueue;
  readonly stream: SpdyStream;
  hasEnded: boolean;
  hasPeerEnded: boolean;
}

/** The server's side of one SPDY/3.1 connection. */
export class SpdySession {
  private readonly transport: SpdyTransport;
  private readonly onStream: (stream: SpdyStream) => void;
  private readonly streams = new Map<number, OpenStream>();
  private readonly pack = headerPacker();
  private readonly unpacker: HeaderUnpacker = headerUnpacker();
  private lastId = 0;
  private isClosed = false;
  /** Streams whose reader is behind. */
  private readonly full = new Set<number>();
  private onRoom: () => void = () => undefined;

  constructor(transport: SpdyTransport, onStream: (stream: SpdyStream) => void) {
    this.transport = transport;
    this.onStream = onStream;
  }

  /** Until the client goes away or breaks the protocol. Never rejects. */
  async run(): Promise<void> {
    const decode = spdyDecoder();
    try {
      for await (const chunk of this.transport.messages) {
        for (const frame of decode(chunk)) await this.onFrame(frame);
        while (this.full.size > 0 && !this.isClosed) await new Promise<void>((resolve) => (this.onRoom = resolve));
      }
    } catch {
      // a peer that breaks the protocol or the connection has ended it
    } finally {
      this.close();
    }
  }

  close(): void {
    if (this.isClosed) return;
    this.isClosed = true;
    this.onRoom();
    this.unpacker.close();
    for (const { queue } of this.streams.values()) queue.end();
    this.streams.clear();
    this.transport.close(1000);
  }

  private async onFrame(frame: SpdyFrame): Promise<void> {
    if (frame.type === 'data') {
      const open = this.streams.get(frame.streamId);
      if (open === undefined || open.hasPeerEnded) return; // it was reset meanwhile
      if (frame.bytes.length > 0) open.queue.push(frame.bytes);
      if (frame.isFin) this.peerEnded(frame.streamId, open);
      return;
    }
    switch (frame.kind) {
      case ControlType.synStream:
        return this.onSynStream(frame.payload, frame.flags);
      case ControlType.rstStream: {
        if (frame.payload.length < 8) throw new Error('A reset is too short');
        this.drop(frame.payload.readUInt32BE(0) & 0x7fffffff);
        return;
      }
      case ControlType.headers:
        // its headers are of no interest, but the compressor's state is
        await this.unpacker.unpack(frame.payload.subarray(4));
        return;
      case ControlType.ping:
        await this.send(controlFrame(ControlType.ping, frame.payload));
        return;
      case ControlType.goAway:
        this.close();
        return;
      default: // settings and windows: see MAX_UNREAD_BYTES
    }
  }

  private async onSynStream(payload: Buffer, flags: number): Promise<void> {
    if (payload.length < 10) throw new Error('A new stream is announced too short');
    const id = payload.readUInt32BE(0) & 0x7fffffff;
    const headers = await this.unpacker.unpack(payload.subarray(10));
    if (id % 2 === 0 || id <= this.lastId) {
      await this.send(controlFrame(ControlType.rstStream, words(id, RST_PROTOCOL_ERROR)));
      return;
    }
    this.lastId = id;
    if (this.streams.size >= MAX_STREAMS) {
      await this.send(controlFrame(ControlType.rstStream, words(id, RST_REFUSED)));
      return;
    }
    const open = this.open(id, headers);
    this.streams.set(id, open);
    if ((flags & FLAG_FIN) !== 0) this.peerEnded(id, open);
    await this.send(controlFrame(ControlType.synReply, Buffer.concat([words(id), this.pack({})])));
    this.onStream(open.stream);
  }

  private open(id: number, headers: SpdyHeaders): OpenStream {
    const queue = new MessageQueue({
      maxBytes: MAX_UNREAD_BYTES,
      pause: () => this.full.add(id),
      resume: () => this.hasRoom(id),
    });
    const stream: SpdyStream = {
      headers,
      data: queue,
      write: async (bytes) => {
        for (let offset = 0; offset < bytes.length && !open.hasEnded; offset += WRITE_BYTES) {
          await this.send(dataFrame(id, bytes.subarray(offset, offset + WRITE_BYTES)));
        }
      },
      end: async () => {
        if (open.hasEnded) return;
        open.hasEnded = true;
        await this.send(dataFrame(id, Buffer.alloc(0), true));
        if (open.hasPeerEnded) this.streams.delete(id);
      },
      reset: async () => {
        if (!this.streams.has(id)) return;
        this.drop(id);
        await this.send(controlFrame(ControlType.rstStream, words(id, 5)));
      },
    };
    const open: OpenStream = { queue, stream, hasEnded: false, hasPeerEnded: false };
    return open;
  }

  private peerEnded(id: number, open: OpenStream): void {
    open.hasPeerEnded = true;
    open.queue.end();
    if (open.hasEnded) this.streams.delete(id);
  }

  private drop(id: number): void {
    const open = this.streams.get(id);
    if (open === undefined) return;
    open.hasEnded = true;
    open.hasPeerEnded = true;
    open.queue.end();
    this.streams.delete(id);
    this.hasRoom(id);
  }

  private hasRoom(id: number): void {
    this.full.delete(id);
    this.onRoom();
  }

  private async send(bytes: Uint8Array): Promise<void> {
    if (!this.isClosed) await this.transport.send(bytes).catch(() => this.close());
  }
}
