import { createHash } from 'node:crypto';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';

/** How a served file misbehaves. */
export interface ServedFile {
  body: Buffer;
  etag?: string;
  ignoresRange?: boolean;
  hasNoLength?: boolean;
  /** Cuts a connection after so many bytes, for as many connections as listed. */
  cuts?: number[];
  /** Stops sending after so many bytes, once, without closing. */
  stallAfter?: number;
  status?: number;
  /** Sent with 401 to who does not say who he is. */
  challenge?: string;
  redirect?: string;
  /** Bytes per second, roughly; 0 is as fast as possible. */
  pace?: number;
}

export interface ImageServer {
  readonly url: string;
  readonly port: number;
  readonly files: Map<string, ServedFile>;
  /** Requests so far, as `GET /path range`. */
  readonly requests: { path: string; range: string | undefined; authorization: string | undefined }[];
  /** Bytes of bodies that were sent. */
  sentBytes: number;
  close(): Promise<void>;
}

/** An HTTP server of images on loopback whose every failure is chosen by the test. */
export async function startImageServer(): Promise<ImageServer> {
  const files = new Map<string, ServedFile>();
  const requests: ImageServer['requests'] = [];
  const http = createServer((request, response) => {
    const path = new URL(request.url ?? '/', 'http://x').pathname;
    requests.push({ path, range: request.headers.range, authorization: request.headers.authorization });
    const file = files.get(path);
    if (file === undefined) response.writeHead(404).end();
    else serve(file, request, response, (bytes) => (server.sentBytes += bytes));
  });
  await new Promise<void>((resolve) => http.listen(0, '127.0.0.1', resolve));
  const { port } = http.address() as AddressInfo; // listens on TCP
  const server: ImageServer = {
    url: `http://127.0.0.1:${port}`,
    port,
    files,
    requests,
    sentBytes: 0,
    close: () =>
      new Promise((resolve) => {
        http.closeAllConnections();
        http.close(() => resolve());
      }),
  };
  return server;
}

function serve(file: ServedFile, request: IncomingMessage, response: ServerResponse, sent: (bytes: number) => void): void {
  if (file.redirect !== undefined) {
    response.writeHead(302, { Location: file.redirect }).end();
    return;
  }
  if (file.challenge !== undefined && request.headers.authorization === undefined) {
    response.writeHead(401, { 'WWW-Authenticate': file.challenge }).end();
    return;
  }
  if (file.status !== undefined) {
    response.writeHead(file.status).end();
    return;
  }
  if (request.headers['if-none-match'] === etagOf(file)) {
    response.writeHead(304).end();
    return;
  }
  const body = answerHead(file, request, response);
  const cut = file.cuts?.shift();
  const stall = file.stallAfter;
  delete file.stallAfter;
  void send(body.subarray(0, cut ?? stall ?? body.length), response, file.pace ?? 0, sent).then(() => {
    if (cut !== undefined) response.destroy();
    else if (stall === undefined) response.end();
  });
}

const etagOf = ({ etag, body }: ServedFile): string => etag ?? `"${createHash('sha1').update(body).digest('hex')}"`;

/** Writes status and headers; returns what the body has to be. */
function answerHead(file: ServedFile, request: IncomingMessage, response: ServerResponse): Buffer {
  const etag = etagOf(file);
  const range = rangeOf(file, etag, request);
  const [start, last] = range ?? [0, file.body.length - 1];
  const body = file.body.subarray(start, last + 1);
  const headers: Record<string, string | number> = {
    ...(etag !== '' && { ETag: etag }),
    ...(!file.ignoresRange && { 'Accept-Ranges': 'bytes' }),
  };
  if (!file.hasNoLength) headers['Content-Length'] = body.length;
  if (range !== undefined) headers['Content-Range'] = `bytes ${start}-${last}/${file.body.length}`;
  response.writeHead(range === undefined ? 200 : 206, headers);
  return body;
}

/** First and last byte of the part that is wanted and may be given. */
function rangeOf(file: ServedFile, etag: string, { headers }: IncomingMessage): readonly [number, number] | undefined {
  const wanted = /^bytes=(\d+)-(\d*)$/.exec(headers.range ?? '');
  const ifRange = headers['if-range'];
  if (wanted === null || file.ignoresRange || (ifRange !== undefined && ifRange !== etag)) return undefined;
  return [Number(wanted[1]), wanted[2] ? Number(wanted[2]) : file.body.length - 1];
}

const PIECE = 256 * 1024;

async function send(body: Buffer, response: ServerResponse, pace: number, sent: (bytes: number) => void): Promise<void> {
  for (let start = 0; start < body.length && !response.destroyed; start += PIECE) {
    const piece = body.subarray(start, start + PIECE);
    sent(piece.length);
    const canGoOn = response.write(piece);
    if (!canGoOn)
      await new Promise<void>((resolve) => {
        const settle = (): void => {
          response.off('drain', settle).off('close', settle);
          resolve();
        };
        response.once('drain', settle).once('close', settle);
      });
    if (pace > 0) await new Promise((resolve) => setTimeout(resolve, (piece.length / pace) * 1000));
  }
}
