import { createWriteStream } from 'node:fs';
import { open, rename, rm, stat } from 'node:fs/promises';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { STATUS_CODES } from 'node:http';
import { createGunzip } from 'node:zlib';
import { CommandFailure, type Exchange, type ExchangeRequest, type VirtctlIo } from '../io.ts';
import { writeTo } from '../pump.ts';
import { sizeText } from '../size-text.ts';

export interface Transfer {
  readonly request: Omit<ExchangeRequest, 'method' | 'body'>;
  /** A file, or `-` for stdout. */
  readonly output: string;
  readonly gunzip: boolean;
  /** How often a broken transfer is tried again, and after what time. */
  readonly retries: number;
  readonly retryMs: number;
  readonly tell: (line: string) => void;
}

/** The server has refused; it may think otherwise a little later. */
class BadStatus extends Error {}

const PROGRESS_MS = 500;

/**
 * Downloads into `<output>.part` and renames it at the end, so that a file of the final name is always whole. A broken
 * transfer of an uncompressed file goes on where it was when the server knows ranges; any other begins anew.
 */
export async function downloadTo(io: VirtctlIo, transfer: Transfer): Promise<void> {
  if (transfer.output === '-') return toStdout(io, transfer);
  const part = `${transfer.output}.part`;
  await withRetries(io, transfer, (isRetry) => attemptFile(io, transfer, part, isRetry)).catch(async (error: unknown) => {
    await rm(part, { force: true });
    throw error;
  });
  await rename(part, transfer.output);
}

/** Tries until it works or has been tried often enough. Throws CommandFailure then. */
async function withRetries(
  io: VirtctlIo,
  { retries, retryMs, tell }: Transfer,
  attempt: (isRetry: boolean) => Promise<void>,
): Promise<void> {
  for (let tried = 0; ; tried++) {
    try {
      return await attempt(tried > 0);
    } catch (error) {
      if (error instanceof BadStatus) tell(error.message);
      if (tried >= retries)
        throw error instanceof BadStatus ? new CommandFailure('retry count reached, exiting unsuccesfully') : error; // KubeVirt-compat: the spelling
      if (!(error instanceof BadStatus)) tell(`The download has broken (${String(error)})`);
      tell('Retrying...');
      await io.sleep(retryMs);
    }
  }
}

async function attemptFile(io: VirtctlIo, { request, gunzip, tell }: Transfer, part: string, isRetry: boolean): Promise<void> {
  const have = isRetry && !gunzip ? await sizeOf(part) : 0;
  const range = have > 0 ? { range: `bytes=${have}-` } : {};
  const answer = await get(io, { ...request, headers: { ...request.headers, ...range } });
  const isContinued = answer.status === 206;
  if (gunzip) tell('Decompressing image:');
  const pieces = counted(io, answer.body, Number(answer.headers['content-length'] ?? 0));
  if (gunzip) return pipeline(Readable.from(pieces), createGunzip(), createWriteStream(part));
  // written piece by piece: what came before a break must be in the file
  const file = await open(part, isContinued ? 'a' : 'w');
  try {
    for await (const piece of pieces) await file.appendFile(piece);
  } finally {
    await file.close();
  }
}

/** Nothing can be taken back here: only a refusal, before the first byte, is tried again. */
async function toStdout(io: VirtctlIo, transfer: Transfer): Promise<void> {
  const { request, gunzip } = transfer;
  let answer: Exchange | undefined;
  await withRetries(io, transfer, async () => {
    answer = await get(io, request);
  });
  if (answer === undefined) return;
  const body = gunzip ? Readable.from(answer.body).pipe(createGunzip()) : answer.body;
  for await (const piece of body) await writeTo(io.stdout, piece);
}

async function get(io: VirtctlIo, request: Transfer['request']): Promise<Exchange> {
  const answer = await io.exchange({ ...request, method: 'GET' });
  if (answer.status === 200 || answer.status === 206) return answer;
  throw new BadStatus(`Bad status: ${answer.status} ${STATUS_CODES[answer.status] ?? ''}`);
}

async function* counted(io: VirtctlIo, body: AsyncIterable<Uint8Array>, total: number): AsyncGenerator<Uint8Array> {
  let bytes = 0;
  let shownAt = io.now();
  const show = (): void => {
    const share = total > 0 ? ` of ${sizeText(total)} (${Math.floor((bytes / total) * 100)}%)` : '';
    io.stderr.write(`\rDownloading file: ${sizeText(bytes)}${share}`);
  };
  for await (const piece of body) {
    bytes += piece.length;
    if (io.now() - shownAt >= PROGRESS_MS) {
      shownAt = io.now();
      show();
    }
    yield piece;
  }
  show();
  io.stderr.write('\n');
}

async function sizeOf(path: string): Promise<number> {
  try {
    return (await stat(path)).size;
  } catch {
    return 0; // nothing has come yet
  }
}
