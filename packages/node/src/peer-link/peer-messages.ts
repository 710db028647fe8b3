import type { Duplex } from 'node:stream';
import { isObject } from '@slipway/apimachinery';

/** Far more than a guest with many disks needs. */
const MAX_MESSAGE_BYTES = 256 * 1024;
const NEWLINE = 10;

/** A message between two agents; `type` says what it is. Whoever gets it checks the rest. */
export interface PeerMessage {
  readonly type: string;
  readonly [field: string]: unknown;
}

/** JSON lines over one stream, both ways. A peer that sends something else, or too much, is cut off. */
export class PeerChannel {
  /** Resolves when nothing more comes. */
  readonly closed: Promise<void>;
  private readonly stream: Duplex;
  private received: Buffer = Buffer.alloc(0);

  constructor(stream: Duplex, onMessage: (message: PeerMessage) => void) {
    this.stream = stream;
    this.closed = new Promise((resolve) => stream.once('close', () => resolve()));
    stream.on('error', () => {}); // its close is what counts
    stream.on('end', () => stream.destroy());
    stream.on('data', (chunk: Buffer) => this.receive(chunk, onMessage));
    if (stream.destroyed) stream.emit('close');
  }

  /** False when the peer is gone. */
  send(message: PeerMessage): boolean {
    if (this.stream.destroyed) return false;
    this.stream.write(`${JSON.stringify(message)}\n`);
    return true;
  }

  close(): void {
    this.stream.end();
    this.stream.destroy();
  }

  private receive(chunk: Buffer, onMessage: (message: PeerMessage) => void): void {
    this.received = Buffer.concat([this.received, chunk]);
    for (let end = this.received.indexOf(NEWLINE); end >= 0; end = this.received.indexOf(NEWLINE)) {
      const line = this.received.toString('utf8', 0, end);
      this.received = this.received.subarray(end + 1);
      const message = line.length > MAX_MESSAGE_BYTES ? undefined : parseMessage(line);
      if (message === undefined) return void this.stream.destroy();
      onMessage(message);
    }
    if (this.received.length > MAX_MESSAGE_BYTES) this.stream.destroy();
  }
}

function parseMessage(line: string): PeerMessage | undefined {
  try {
    const value: unknown = JSON.parse(line);
    // both fields of the interface are checked here
    return isObject(value) && typeof value['type'] === 'string' ? (value as unknown as PeerMessage) : undefined;
  } catch {
    return undefined;
  }
}
