import { constants } from 'node:fs';
import { chown, open } from 'node:fs/promises';
import type { Socket } from 'node:net';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { connectBeneath, streamProcess } from '@slipway/hostapi';
import { sleep, type TimerClock } from '@slipway/runtime';
import { codeOf } from './error-code.ts';
import { readNbd } from './nbd-client.ts';
import { makeDirectory } from './volume-files.ts';

export interface DiskPlace {
  readonly path: string;
  readonly format: 'raw' | 'qcow2';
  readonly hasLayers: boolean;
  /** Unprivileged user who may read the disk and its layers. */
  readonly uid: number;
  /** Directory of root that belongs to this reader alone. */
  readonly directory: string;
}

export interface DiskRange {
  readonly offset: number;
  readonly length: number;
}

/** Bytes of a disk as a guest sees them. A format is never guessed; images are opened by an unprivileged process. */
export async function readDisk(place: DiskPlace, range: DiskRange, clock: TimerClock): Promise<Readable> {
  if (range.length === 0) return Readable.from([]);
  return place.format === 'raw' && !place.hasLayers ? readRaw(place.path, range) : readImage(place, range, clock);
}

async function readRaw(path: string, { offset, length }: DiskRange): Promise<Readable> {
  const file = await open(path, constants.O_RDONLY | constants.O_NOFOLLOW);
  return file.createReadStream({ start: offset, end: offset + length - 1, highWaterMark: 256 * 1024 });
}

const LIMITS = ['prlimit', '--as=2147483648', '--core=0', '--nofile=128', '--'] as const;
const CONNECT_MS = 20;
const SOCKET = 'nbd.sock';
let readers = 0;

/** The server of one stream: it ends with the connection, and with this agent. */
async function readImage({ path, format, uid, directory }: DiskPlace, range: DiskRange, clock: TimerClock): Promise<Readable> {
  const name = `reader-${++readers}`;
  const own = join(directory, name);
  await makeDirectory(own, 0o700);
  await chown(own, uid, uid);
  const stop = new AbortController();
  const server = streamProcess(
    [
      'setpriv',
      ...[`--reuid=${uid}`, `--regid=${uid}`, '--clear-groups', '--no-new-privs', '--pdeathsig=KILL', '--'],
      ...LIMITS,
      ...['qemu-nbd', '--read-only', '--shared=1', `--format=${format}`, `--socket=${join(own, SOCKET)}`, path],
    ],
    stop.signal,
  );
  server.stdin.end();
  server.stdout.resume();
  try {
    const socket = await connected(join(directory, name), server.done, clock, stop.signal);
    const stream = Readable.from(await begun(readNbd(socket, range.offset, range.length)), { objectMode: false });
    stream.once('close', () => {
      socket.destroy();
      stop.abort();
    });
    return stream;
  } catch (error) {
    stop.abort();
    throw error;
  }
}

/** The same bytes, the first of which have been read: the server listens before it has looked at the image. */
async function begun(bytes: AsyncGenerator<Buffer>): Promise<AsyncGenerator<Buffer>> {
  const first = await bytes.next().catch((error: unknown) => {
    throw new Error('The disk cannot be read', { cause: error });
  });
  return (async function* () {
    if (first.done !== true) yield first.value;
    yield* bytes;
  })();
}

/** Connects as soon as the server listens. Rejects when it ends before. */
async function connected(directory: string, ended: Promise<void>, clock: TimerClock, signal: AbortSignal): Promise<Socket> {
  let hasEnded = false;
  let cause: unknown;
  ended.then(
    () => (hasEnded = true),
    (error: unknown) => {
      hasEnded = true;
      cause = error;
    },
  );
  while (!hasEnded) {
    const socket = await tryConnect(directory);
    if (socket !== undefined) return socket;
    await sleep(clock, CONNECT_MS, signal);
  }
  throw new Error('The disk cannot be read', { cause });
}

function tryConnect(directory: string): Promise<Socket | undefined> {
  return new Promise((resolve, reject) => {
    try {
      // the directory belongs to the reader's user
      const socket = connectBeneath(directory, SOCKET);
      socket.once('connect', () => resolve(socket));
      socket.once('error', () => resolve(undefined));
    } catch (error) {
      if (codeOf(error) === 'ENOENT') resolve(undefined);
      else reject(error instanceof Error ? error : new Error(String(error)));
    }
  });
}
