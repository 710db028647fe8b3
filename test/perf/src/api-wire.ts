import { once } from 'node:events';
import { type TLSSocket, connect } from 'node:tls';

export interface WireTls {
  readonly ca: string;
  readonly cert: string;
  readonly key: string;
}

export interface WireAnswer {
  readonly status: number;
  readonly body: Buffer;
}

const HEAD_END = Buffer.from('\r\n\r\n');

/**
 * One keep-alive HTTP/1.1 connection to loopback with one request at a time: so little work per request that the load
 * process is not what is measured.
 */
export class WireConnection {
  private readonly socket: TLSSocket;
  private chunks: Buffer[] = [];
  private received = 0;
  private headLength = -1;
  private bodyLength = 0;
  private status = 0;
  private waiting: { resolve: (answer: WireAnswer) => void; reject: (error: Error) => void } | undefined;
  private failure: Error | undefined;

  private constructor(socket: TLSSocket) {
    this.socket = socket;
    socket.on('data', (chunk: Buffer) => this.take(chunk));
    const fail = (error?: Error): void => {
      this.failure ??= error ?? new Error('The server closed the connection');
      this.waiting?.reject(this.failure);
      this.waiting = undefined;
    };
    socket.on('error', fail);
    socket.on('close', () => fail());
  }

  static async open(port: number, tls: WireTls): Promise<WireConnection> {
    const socket = connect({ host: '127.0.0.1', port, ...tls, ALPNProtocols: ['http/1.1'] });
    await once(socket, 'secureConnect');
    socket.setNoDelay(true);
    return new WireConnection(socket);
  }

  request(method: string, path: string, body = '', contentType = 'application/json'): Promise<WireAnswer> {
    if (this.failure !== undefined) return Promise.reject(this.failure);
    return new Promise((resolve, reject) => {
      this.waiting = { resolve, reject };
      const type = body === '' ? '' : `content-type: ${contentType}\r\ncontent-length: ${Buffer.byteLength(body)}\r\n`;
      this.socket.write(`${method} ${path} HTTP/1.1\r\nhost: 127.0.0.1\r\nuser-agent: bench\r\n${type}\r\n${body}`);
    });
  }

  /** Sends a watch; every chunk of its body goes to the listener. The connection serves nothing else afterwards. */
  async watch(path: string, onChunk: (chunk: Buffer) => void): Promise<void> {
    this.socket.removeAllListeners('data');
    this.socket.write(`GET ${path} HTTP/1.1\r\nhost: 127.0.0.1\r\nuser-agent: bench\r\n\r\n`);
    const [head] = (await once(this.socket, 'data')) as [Buffer];
    if (!head.includes(' 200 ')) throw new Error(`The watch was refused: ${head.toString()}`);
    this.socket.on('data', onChunk);
  }

  /** Everything that arrives goes to the listener, nothing is read as an answer any more. */
  listen(onChunk: (chunk: Buffer) => void): void {
    this.socket.removeAllListeners('data');
    this.socket.on('data', onChunk);
  }

  close(): void {
    this.socket.destroy();
  }

  private take(chunk: Buffer): void {
    this.chunks.push(chunk);
    this.received += chunk.length;
    if (this.headLength < 0 && !this.readHead()) return;
    if (this.received < this.headLength + this.bodyLength) return;
    const body = (this.chunks.length === 1 ? chunk : Buffer.concat(this.chunks)).subarray(this.headLength);
    this.chunks = [];
    this.received = 0;
    this.headLength = -1;
    const { waiting } = this;
    this.waiting = undefined;
    waiting?.resolve({ status: this.status, body });
  }

  private readHead(): boolean {
    if (this.chunks.length > 1) this.chunks = [Buffer.concat(this.chunks)];
    const [all = Buffer.alloc(0)] = this.chunks;
    const end = all.indexOf(HEAD_END);
    if (end < 0) return false;
    const head = all.toString('latin1', 0, end);
    this.headLength = end + HEAD_END.length;
    this.status = Number(head.slice(9, 12));
    this.bodyLength = Number(/\r\ncontent-length: (\d+)/i.exec(head)?.[1] ?? 0);
    return true;
  }
}

/** Opens several connections; closes all of them when one fails. */
export async function openConnections(count: number, port: number, tls: WireTls): Promise<WireConnection[]> {
  return Promise.all(Array.from({ length: count }, () => WireConnection.open(port, tls)));
}
