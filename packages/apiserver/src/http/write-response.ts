import { promisify } from 'node:util';
import { gzip } from 'node:zlib';
import { StatusError, internalError } from '@slipway/apimachinery';
import type { ApiRequest, ApiResponse, WatchSession } from '../pipeline/request.ts';

const gzipAsync = promisify(gzip);
const GZIP_FROM_BYTES = 128 * 1024;
/** A watcher that leaves this much unread is cut off; it comes back where it was. */
const MAX_BACKLOG_BYTES = 16 * 1024 * 1024;
/** Headers HTTP/2 does not know. */
export interface ResponseWriter {
  writeHead(status: number, headers: Record<string, string | string[]>): unknown;
  write(data: string | Uint8Array): boolean;
  end(data?: string | Uint8Array): unknown;
  once(event: 'drain' | 'close', listener: () => void): unknown;
  readonly headersSent: boolean;
  readonly writableLength: number;
  destroy?(): unknown;
}

/** Sends an answer of the pipeline; resolves when it has been handed over, for watches when they have ended. */
export async function writeResponse(request: ApiRequest, response: ApiResponse, out: ResponseWriterLike): Promise<void> {
  const writer = out as ResponseWriter; // both HTTP versions share this part of their interfaces
  const headers: Record<string, string | string[]> = { ...response.headers };
  if (response.warnings.length > 0) headers['warning'] = response.warnings.map(warningHeader);
  if (response.watch !== undefined) return writeWatch(response.watch, headers, writer);
  if (response.stream !== undefined) return writeStream(response, headers, writer);
  let body = bodyOf(response, headers);
  if (body.length >= GZIP_FROM_BYTES) {
    headers['vary'] = 'Accept-Encoding';
    if (/\bgzip\b/.test(request.headers['accept-encoding'] ?? '')) {
      headers['content-encoding'] = 'gzip';
      body = await gzipAsync(body, { level: 1 });
    }
  }
  headers['content-length'] = String(body.length);
  writer.writeHead(response.status, headers);
  writer.end(request.method === 'HEAD' ? undefined : body);
}

type ResponseWriterLike = Pick<ResponseWriter, 'headersSent'>;

function bodyOf(response: ApiResponse, headers: Record<string, string | string[]>): Buffer {
  if (response.bytes !== undefined) return Buffer.from(response.bytes);
  headers['content-type'] ??= 'application/json';
  const { text } = response;
  if (text !== undefined) return Buffer.from(text);
  if (response.value === undefined) return Buffer.alloc(0);
  return Buffer.from(`${JSON.stringify(response.value)}\n`);
}

const warningHeader = (text: string): string => `299 - "${text.replace(/[\\"]/g, '\\$&').replace(/[\r\n]+/g, ' ')}"`;

function writeWatch(watch: WatchSession, headers: Record<string, string | string[]>, writer: ResponseWriter): Promise<void> {
  return new Promise((resolve) => {
    writer.writeHead(200, { ...headers, 'content-type': 'application/json' });
    writer.write('');
    (writer as { flushHeaders?: () => void }).flushHeaders?.(); // only HTTP/1.1 needs it
    const stop = watch.start(
      (frame) => {
        writer.write(`${frame.line}\n`);
        if (writer.writableLength > MAX_BACKLOG_BYTES) writer.destroy?.();
      },
      () => writer.end(),
    );
    writer.once('close', () => {
      stop();
      resolve();
    });
  });
}

async function writeStream(
  response: ApiResponse,
  headers: Record<string, string | string[]>,
  writer: ResponseWriter,
): Promise<void> {
  writer.writeHead(response.status, headers);
  let isOpen = true;
  writer.once('close', () => (isOpen = false));
  for await (const chunk of response.stream ?? []) {
    if (!isOpen) return;
    if (!writer.write(chunk)) {
      await new Promise<void>((resolve) => {
        writer.once('drain', resolve);
        writer.once('close', resolve);
      });
    }
  }
  writer.end();
}

/** An answer for a failure outside the pipeline (a body too large). */
export function writeError(error: unknown, out: ResponseWriterLike): void {
  const writer = out as ResponseWriter; // see writeResponse
  if (writer.headersSent) return void writer.destroy?.();
  const status = error instanceof StatusError ? error.status : internalError('cannot answer').status;
  writer.writeHead(status.code ?? 500, { 'content-type': 'application/json', 'cache-control': 'no-cache, private' });
  writer.end(`${JSON.stringify(status)}\n`);
}
