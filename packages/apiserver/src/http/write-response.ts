import { once } from 'node:events';
import { promisify } from 'node:util';
import { createGzip, gzip } from 'node:zlib';
import { StatusError, internalError } from '@slipway/apimachinery';
import type { ApiRequest, ApiResponse, TextParts } from '../pipeline/request.ts';
import { encodeParts } from './encode-parts.ts';
import { type WatchQueue, writeWatch } from './write-watch.ts';

const gzipAsync = promisify(gzip);
const GZIP_FROM_BYTES = 128 * 1024;
/** Up to this length head and body leave as one text: one write, one TLS record. */
const ONE_WRITE_CHARACTERS = 12 * 1024;

export type Headers = Record<string, string | string[]>;

/** What both HTTP versions have in common. */
export interface ResponseWriter {
  writeHead(status: number, headers: Headers): unknown;
  write(data: string | Uint8Array): boolean;
  end(data?: string | Uint8Array): unknown;
  once(event: 'drain' | 'close', listener: () => void): unknown;
  on(event: string, listener: (...args: never[]) => void): unknown;
  removeListener(event: string, listener: (...args: never[]) => void): unknown;
  readonly headersSent: boolean;
  readonly writableLength: number;
  destroy?(): unknown;
}

/** Sends an answer of the pipeline; resolves when it has been handed over, for watches when they have ended. */
export async function writeResponse(
  request: ApiRequest,
  response: ApiResponse,
  out: ResponseWriterLike,
  watches: WatchQueue,
): Promise<void> {
  const writer = out as ResponseWriter; // both HTTP versions share this part of their interfaces
  const headers: Headers = response.headers;
  if (response.warnings.length > 0) headers['warning'] = response.warnings.map(warningHeader);
  const { watch, parts } = response;
  if (watch !== undefined) return writeWatch(watch, headers, writer, watches);
  if (response.stream !== undefined) return writeStream(response, headers, writer);
  if (parts !== undefined) return writeParts(request, response.status, parts, headers, writer);
  const body = bodyOf(response, headers);
  if (body.length >= GZIP_FROM_BYTES && acceptsGzip(request, headers))
    return writeGzip(request, response.status, body, headers, writer);
  headers['content-length'] = String(Buffer.byteLength(body));
  writer.writeHead(response.status, headers);
  if (request.method === 'HEAD') writer.end();
  else writer.end(typeof body === 'string' && body.length > ONE_WRITE_CHARACTERS ? Buffer.from(body) : body);
}

type ResponseWriterLike = Pick<ResponseWriter, 'headersSent'>;

function bodyOf(response: ApiResponse, headers: Headers): string | Uint8Array {
  if (response.bytes !== undefined) return response.bytes;
  headers['content-type'] ??= 'application/json';
  const { text } = response;
  if (text !== undefined) return text;
  return response.value === undefined ? '' : `${JSON.stringify(response.value)}\n`;
}

/** Also says that the answer depends on the question. */
function acceptsGzip(request: ApiRequest, headers: Headers): boolean {
  headers['vary'] = 'Accept-Encoding';
  return /\bgzip\b/.test(request.headers['accept-encoding'] ?? '');
}

async function writeGzip(
  request: ApiRequest,
  status: number,
  body: string | Uint8Array,
  headers: Headers,
  writer: ResponseWriter,
): Promise<void> {
  const packed = await gzipAsync(body, { level: 1 });
  writer.writeHead(status, { ...headers, 'content-encoding': 'gzip', 'content-length': String(packed.length) });
  writer.end(request.method === 'HEAD' ? undefined : packed);
}

/** Sends a long text piece by piece as fast as the client reads: nothing is put together, nothing blocks. */
async function writeParts(
  request: ApiRequest,
  status: number,
  parts: TextParts,
  headers: Headers,
  writer: ResponseWriter,
): Promise<void> {
  headers['content-type'] ??= 'application/json';
  const isPacked = parts.byteLength >= GZIP_FROM_BYTES && acceptsGzip(request, headers);
  if (isPacked) headers['content-encoding'] = 'gzip';
  else headers['content-length'] = String(parts.byteLength);
  writer.writeHead(status, headers);
  if (request.method === 'HEAD') return void writer.end();
  const blocks = encodeParts(parts.pieces);
  await writeBlocks(isPacked ? packed(blocks) : blocks, writer);
}

async function* packed(blocks: Iterable<Buffer>): AsyncGenerator<Buffer> {
  const stream = createGzip({ level: 1, chunkSize: 64 * 1024 });
  const feed = async (): Promise<void> => {
    for (const block of blocks) if (!stream.write(block)) await once(stream, 'drain');
    stream.end();
  };
  const feeding = feed();
  for await (const chunk of stream) yield chunk as Buffer; // a zlib stream without encoding gives buffers
  await feeding;
}

async function writeStream(response: ApiResponse, headers: Headers, writer: ResponseWriter): Promise<void> {
  writer.writeHead(response.status, headers);
  await writeBlocks(response.stream ?? [], writer);
}

async function writeBlocks(
  blocks: AsyncIterable<Uint8Array | string> | Iterable<Uint8Array | string>,
  writer: ResponseWriter,
): Promise<void> {
  let isOpen = true;
  writer.once('close', () => (isOpen = false));
  for await (const block of blocks) {
    if (!isOpen) return;
    if (!writer.write(block) && isOpen) await drained(writer);
  }
  writer.end();
}

/** Resolves when more may be written, or nothing any more. */
function drained(writer: ResponseWriter): Promise<void> {
  return new Promise((resolve) => {
    const done = (): void => {
      writer.removeListener('drain', done);
      writer.removeListener('close', done);
      resolve();
    };
    writer.on('drain', done);
    writer.on('close', done);
  });
}

const warningHeader = (text: string): string => `299 - "${text.replace(/[\\"]/g, '\\$&').replace(/[\r\n]+/g, ' ')}"`;

/** An answer for a failure outside the pipeline (a body too large). */
export function writeError(error: unknown, out: ResponseWriterLike): void {
  const writer = out as ResponseWriter; // see writeResponse
  if (writer.headersSent) return void writer.destroy?.();
  const status = error instanceof StatusError ? error.status : internalError('cannot answer').status;
  writer.writeHead(status.code ?? 500, { 'content-type': 'application/json', 'cache-control': 'no-cache, private' });
  writer.end(`${JSON.stringify(status)}\n`);
}
