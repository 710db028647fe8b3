import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { containerDisk } from './push-image.ts';

/** A container registry in this process that speaks plain HTTP; tags can be moved at any time. */
export interface SmallRegistry {
  /** `host:port`, to be named as insecure. */
  readonly host: string;
  /** Lets the tag `latest` name an image with these layers; returns its digest. */
  tag(repository: string, layers: readonly Buffer[]): string;
  close(): Promise<void>;
}

interface Stored {
  readonly data: Buffer;
  readonly type: string;
}

export async function startSmallRegistry(address = '127.0.0.1'): Promise<SmallRegistry> {
  const stored = new Map<string, Stored>();
  const server = createServer((request, response) => answer(stored, request, response));
  await new Promise<void>((resolve) => server.listen(0, address, resolve));
  const { port } = server.address() as AddressInfo; // listens on TCP
  return {
    host: `${address}:${port}`,
    tag(repository, layers) {
      const { blobs, manifest, descriptor } = containerDisk('oci', layers);
      for (const [digest, data] of blobs)
        stored.set(`/v2/${repository}/blobs/${digest}`, { data, type: 'application/octet-stream' });
      for (const name of ['latest', descriptor.digest])
        stored.set(`/v2/${repository}/manifests/${name}`, { data: manifest, type: descriptor.mediaType });
      return descriptor.digest;
    },
    close: () =>
      new Promise((resolve) => {
        server.closeAllConnections();
        server.close(() => resolve());
      }),
  };
}

function answer(stored: ReadonlyMap<string, Stored>, request: IncomingMessage, response: ServerResponse): void {
  const found = stored.get(new URL(request.url ?? '/', 'http://registry').pathname);
  if (found === undefined) return void response.writeHead(404).end();
  const { data, type } = found;
  const [, first, last] = /^bytes=(\d+)-(\d*)$/.exec(request.headers.range ?? '') ?? [];
  const from = Number(first ?? 0);
  const to = last ? Math.min(Number(last), data.length - 1) : data.length - 1;
  response.writeHead(first === undefined ? 200 : 206, {
    'content-type': type,
    'content-length': to - from + 1,
    'accept-ranges': 'bytes',
    ...(first !== undefined && { 'content-range': `bytes ${from}-${to}/${data.length}` }),
  });
  response.end(request.method === 'HEAD' ? undefined : data.subarray(from, to + 1));
}
