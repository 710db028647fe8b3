import { createWriteStream } from 'node:fs';
import { open, rename, rm, stat } from 'node:fs/promises';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { createGunzip } from 'node:zlib';
import { CommandFailure, type Exchange, type ExchangeRequest, print, type VirtctlIo } from '../io.ts';
import { writeTo } from '../pump.ts';
import { sizeText } from '../size-text.ts';

export interface Transfer {
  readonly request: Omit<ExchangeRequest, 'method' | 'body'>;
  /** A file, or `-` for stdout. */
  readonly output: string;
  readonly gunzip: boolean;
  /** How often a broken transfer is tried again. */
  readonly retries: number;
}

const RETRY_MS = 1_000;
const PROGRESS_MS = 500;

/**
 * Downloads into `<output>.part` and renames it at the end, so that a file of the final name is always whole. A broken
 * transfer of an uncompressed file goes on where it was when the server knows ranges; any other begins anew.
 */
export async function downloadTo(io: VirtctlIo, transfer: Transfer): Promise<void> {
  if (transfer.output === '-') return toStdout(io, transfer);
  const part = `${transfer.output}.part`;
  for (let attempt = 0; ; attempt++) {
    try {
      await attemptFile(io, transfer, part, attempt > 0);
      break;
    } catch (error) {
      if (error instanceof CommandFailure || attempt >= transfer.retries) {
        await rm(part, { force: true });
        throw error;
      }
      io.stderr.write(`\nThe download has broken (${String(error)}), trying again\n`);
      await io.sleep(RETRY_MS);
    }
  }
  await rename(part, transfer.output);
}

async function attemptFile(io: VirtctlIo, { request, gunzip }: Transfer, part: string, isRetry: boolean): Promise<void> {
  const have = isRetry && !gunzip ? await sizeOf(part) : 0;
  const range = have > 0 ? { range: `bytes=${have}-` } : {};
  const answer = await get(io, { ...request, headers: { ...request.headers, ...range } });
  const isContinued = answer.status === 206;
  if (gunzip) print(io, 'Decompressing image:');
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

async function toStdout(io: VirtctlIo, { request, gunzip }: Transfer): Promise<void> {
  const answer = await get(io, request);
  const body = gunzip ? Readable.from(answer.body).pipe(createGunzip()) : answer.body;
  for await (const piece of body) await writeTo(io.stdout, piece);
}

async function get(io: VirtctlIo, request: Transfer['request']): Promise<Exchange> {
  const answer = await io.exchange({ ...request, method: 'GET' });
  if (answer.status === 200 || answer.status === 206) return answer;
  throw new CommandFailure(`bad status: ${answer.status} from ${request.url}`);
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
