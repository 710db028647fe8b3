import { createReadStream, statSync } from 'node:fs';
import { createServer, type Server } from 'node:http';

export interface ImageServer {
  /** Base URL without a slash at the end. */
  readonly url: string;
  /** Requests so far, as `METHOD path range`. */
  readonly requests: readonly string[];
  close(): Promise<void>;
}

/** Reads fewer and larger pieces than the default: a benchmark measures who fetches, not who serves. */
const READ_BYTES = 1024 * 1024;

/** Serves files with Range support, on loopback unless said otherwise; the keys are URL paths. */
export async function serveImages(files: Readonly<Record<string, string>>, host = '127.0.0.1'): Promise<ImageServer> {
  const requests: string[] = [];
  const server: Server = createServer((request, response) => {
    const path = request.url ?? '/';
    requests.push(`${request.method} ${path} ${request.headers.range ?? ''}`.trim());
    const file = files[path];
    if (file === undefined) {
      response.writeHead(404).end('no such image\n');
      return;
    }
    const { size, mtimeMs } = statSync(file);
    const range = request.headers.range?.match(/^bytes=(\d+)-(\d*)$/);
    const start = range ? Number(range[1]) : 0;
    const end = range?.[2] ? Number(range[2]) : size - 1;
    response.writeHead(range ? 206 : 200, {
      'Content-Length': end - start + 1,
      'Accept-Ranges': 'bytes',
      ETag: `"${size}-${mtimeMs}"`,
      'Content-Type': 'application/octet-stream',
      ...(range && { 'Content-Range': `bytes ${start}-${end}/${size}` }),
    });
    if (request.method === 'HEAD') response.end();
    else createReadStream(file, { start, end, highWaterMark: READ_BYTES }).pipe(response);
  });
  await new Promise<void>((resolve) => server.listen(0, host, resolve));
  const address = server.address();
  if (address === null || typeof address === 'string') throw new Error('The image server has no address');
  return {
    url: `http://${host}:${address.port}`,
    requests,
    close: () =>
      new Promise((resolve) => {
        server.closeAllConnections();
        server.close(() => resolve());
      }),
  };
}
