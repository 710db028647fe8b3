import { request } from 'node:https';

const TIMEOUT_MS = 10_000;
const MAX_BYTES = 1024 * 1024;

/** GET of a JSON document over HTTPS: bounded in time and size, without following redirects. Rejects with the reason. */
export function fetchJson(url: string, ca: string | undefined): Promise<unknown> {
  return new Promise((resolve, reject) => {
    const outgoing = request(
      url,
      {
        agent: false,
        headers: { accept: 'application/json' },
        signal: AbortSignal.timeout(TIMEOUT_MS),
        ...(ca !== undefined && { ca }),
      },
      (response) => {
        const chunks: Buffer[] = [];
        let size = 0;
        response.on('data', (chunk: Buffer) => {
          size += chunk.length;
          if (size > MAX_BYTES) outgoing.destroy(new Error(`${url} is longer than ${MAX_BYTES} bytes`));
          else chunks.push(chunk);
        });
        response.on('error', reject);
        response.on('end', () => {
          if (response.statusCode !== 200) return reject(new Error(`${url} answered ${response.statusCode}`));
          try {
            resolve(JSON.parse(Buffer.concat(chunks).toString()));
          } catch (cause) {
            reject(new Error(`${url} is no JSON document`, { cause }));
          }
        });
      },
    );
    outgoing.on('error', reject);
    outgoing.end();
  });
}
