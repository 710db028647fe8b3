import type { IncomingMessage } from 'node:http';
import { StatusError } from '@slipway/apimachinery';
import { WebSocket } from 'ws';
import type { ConnectRequest, MessageStream } from './client.ts';
import type { ClientConfig } from './client-config.ts';
import { type HttpTransport, statusErrorOf, targetOf } from './http-transport.ts';
import { MessageQueue } from './message-queue.ts';

/** Bytes that may wait on either side of a stream before its source is paused. */
const MAX_BUFFERED = 256 * 1024;
/** How often a peer is probed whose messages wait unread. */
const PROBE_MS = 15_000;
const MAX_MESSAGE_BYTES = 32 * 1024 * 1024;

/** Wraps an open WebSocket, of a client or of a server. Must be called before the first message can arrive. */
export function webSocketStream(socket: WebSocket): MessageStream {
  let probe: NodeJS.Timeout | undefined;
  const queue = new MessageQueue({
    maxBytes: MAX_BUFFERED,
    pause() {
      socket.pause();
      // a paused socket hears nothing of its peer's end: only a failing write tells
      probe = setInterval(() => socket.readyState === WebSocket.OPEN && socket.ping(), PROBE_MS).unref();
    },
    resume() {
      clearInterval(probe);
      socket.resume();
    },
  });
  socket.on('message', (data: Buffer | ArrayBuffer | Buffer[]) => queue.push(bytesOf(data)));
  const closed = new Promise<void>((resolve) => {
    const end = (error?: Error): void => {
      clearInterval(probe);
      queue.end(error);
      resolve();
    };
    socket.on('error', end);
    socket.on('close', () => end());
  });
  return {
    closed,
    get protocol() {
      return socket.protocol;
    },
    messages: queue,
    send: (data) => send(socket, data),
    close(code = 1000, reason = '') {
      // a paused socket would never see the peer's close frame
      socket.resume();
      socket.close(code, reason.slice(0, 120));
    },
  };
}

/** Opens a WebSocket on the API server; a refusal before the upgrade becomes its StatusError. */
export async function openWebSocket(
  config: ClientConfig,
  transport: HttpTransport,
  request: ConnectRequest,
): Promise<MessageStream> {
  const { tls, headers } = await transport.connection();
  const base = new URL(config.server);
  const url = `${base.protocol === 'https:' ? 'wss' : 'ws'}://${base.host}${targetOf(config, request.path, request.query)}`;
  request.signal?.throwIfAborted();
  const socket = new WebSocket(url, [...request.protocols], {
    ...tls,
    headers,
    perMessageDeflate: false,
    maxPayload: MAX_MESSAGE_BYTES,
    handshakeTimeout: 30_000,
  });
  const stream = webSocketStream(socket);
  await opened(socket, request.signal);
  return stream;
}

function opened(socket: WebSocket, signal: AbortSignal | undefined): Promise<void> {
  return new Promise((resolve, reject) => {
    const onAbort = (): void => socket.terminate();
    signal?.addEventListener('abort', onAbort, { once: true });
    socket.once('open', resolve);
    socket.once('error', (error: Error) => reject(signal?.aborted ? signal.reason : error));
    socket.once('close', () => signal?.removeEventListener('abort', onAbort));
    socket.once('unexpected-response', (_: unknown, response: IncomingMessage) => {
      const body = { text: () => textOf(response) };
      statusErrorOf(response.statusCode ?? 500, body).then(reject, reject);
    });
  });
}

async function textOf(response: IncomingMessage): Promise<string> {
  const chunks: Buffer[] = [];
  let length = 0;
  for await (const chunk of response) {
    const bytes = Buffer.from(chunk);
    length += bytes.length;
    if (length > 65_536) throw new StatusError({ code: 502, reason: 'Unknown', message: 'The refusal is too long' });
    chunks.push(bytes);
  }
  return Buffer.concat(chunks).toString('utf8');
}

function send(socket: WebSocket, data: Uint8Array): Promise<void> {
  return new Promise((resolve, reject) => {
    if (socket.readyState !== WebSocket.OPEN) {
      reject(new Error('The stream is closed'));
      return;
    }
    const isFull = socket.bufferedAmount > MAX_BUFFERED;
    socket.send(data, { binary: true }, (error) => (error ? reject(error) : resolve()));
    if (!isFull) resolve();
  });
}

function bytesOf(data: Buffer | ArrayBuffer | Buffer[]): Uint8Array {
  if (Array.isArray(data)) return Buffer.concat(data);
  return data instanceof ArrayBuffer ? new Uint8Array(data) : data;
}
