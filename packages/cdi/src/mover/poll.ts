import { createHash } from 'node:crypto';
import { downloadDeps } from './download-deps.ts';
import { explainConnectError, explainStatus, httpGet } from './http-client.ts';
import { ImportError } from './import-error.ts';
import type { MoverIo, MoverOutcome } from './main.ts';
import { type MoverEnv, readSource } from './options.ts';
import { RegistryClient } from './registry-client.ts';
import { parseImageReference } from './registry-reference.ts';

/** First argument of a data mover that only looks whether its source has changed. */
export const POLL = 'poll';

/**
 * Asks a source for its present state. The message of a success is `{"digest":"sha256:…"}`: the digest of an image's
 * manifest, or a hash of what an HTTP server says of a file (ETag, date, size). Never throws.
 */
export async function runPoll(argv: readonly string[], env: MoverEnv, io: MoverIo, signal: AbortSignal): Promise<MoverOutcome> {
  const ending = new AbortController();
  try {
    const digest = await sourceDigest(argv, env, io, AbortSignal.any([signal, ending.signal]));
    return { exitCode: 0, message: JSON.stringify({ digest }) };
  } catch (error) {
    const message = error instanceof Error ? error.message : String(error);
    io.log(`failed: ${message}`);
    return { exitCode: 1, message: message.slice(0, 4096), reason: error instanceof ImportError ? error.reason : 'Error' };
  } finally {
    ending.abort();
  }
}

async function sourceDigest(argv: readonly string[], env: MoverEnv, io: MoverIo, signal: AbortSignal): Promise<string> {
  const task = await readSource(argv, env);
  const download = await downloadDeps(task, io);
  const { source } = task;
  if (source.kind === 'blank') throw new ImportError('InvalidRequest', 'A blank disk has no source that could change');
  if (source.kind !== 'registry') return fileDigest(source.url, download.http, signal);
  const { credentials, insecureRegistries, architecture } = task;
  const deps = { download, clock: io.clock, insecureRegistries, architecture, ...(credentials && { credentials }) };
  return new RegistryClient(parseImageReference(source.reference), deps).digest(signal);
}

async function fileDigest(url: URL, http: Parameters<typeof httpGet>[1], signal: AbortSignal): Promise<string> {
  // a read of one byte: HEAD is what servers get wrong, and signed URLs are often good for GET alone
  const answer = await httpGet(url, http, { Range: 'bytes=0-0' }, signal).catch((error: unknown) => {
    signal.throwIfAborted();
    throw explainConnectError(error, url, http.source);
  });
  answer.body.destroy();
  if (answer.status !== 200 && answer.status !== 206) throw explainStatus(answer, url, http.source);
  const { etag, 'last-modified': date, 'content-range': range, 'content-length': length } = answer.headers;
  if (etag === undefined && date === undefined)
    throw new ImportError(
      'SourceRefused',
      `${url.host} says neither ETag nor Last-Modified of the file, so that a new version cannot be told from the old one`,
    );
  const size = answer.status === 206 ? range?.split('/')[1] : length;
  return `sha256:${createHash('sha256')
    .update(JSON.stringify([url.href, etag, date, size]))
    .digest('hex')}`;
}
