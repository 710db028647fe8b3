import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { type ImageServer, type Random, seededRandom, startImageServer } from '@slipway/testkit';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { moverProgram, type MoverProgram, type StartedMover, usersOf } from './testing/mover-process.ts';
import { startUploadPeer } from './testing/upload-peer.ts';

const MiB = 1024 * 1024;
const SIZE = 64 * MiB;
/** `SLIPWAY_STORAGE_KILLS=20` kills each kind of transfer so often; `SLIPWAY_KILL_SEED` repeats a run. */
const KILLS = Number(process.env['SLIPWAY_STORAGE_KILLS'] ?? (process.env['SLIPWAY_E2E_LONG'] === '1' ? 20 : 2));
const SEED = Number(process.env['SLIPWAY_KILL_SEED'] ?? Date.now() % 1_000_000);
/** What a kill may cost: 8 MiB since the last entry of the journal, and what was on the wire. */
const CHUNK = 24 * MiB;
/** Parts that are fetched at the same time, besides. */
const WINDOW = 4 * 4 * MiB;
const PACE = 100 * MiB;

let program: MoverProgram;
let server: ImageServer;
let dir: string;
let target: string;
let work: string;
const report: string[] = [];

beforeAll(async () => {
  program = await moverProgram();
  server = await startImageServer();
});
afterAll(async () => {
  program?.remove();
  await server?.close();
  console.log(`kill -9 of data movers, seed ${SEED}:\n${report.join('\n')}`);
});
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'slipkill-'));
  target = join(dir, 'disk.img');
  work = join(dir, 'work');
});
afterEach(() => rmSync(dir, { recursive: true, force: true }));

/** Data that cannot be compressed, holes, and an end that is aligned to sectors alone. */
function diskImage(random: Random): Buffer {
  const disk = Buffer.alloc(48 * MiB + 512);
  for (let mib = 0; mib < 48; mib++) if (random.chance(0.8)) noise(random).copy(disk, mib * MiB);
  disk.fill(7, disk.length - 512);
  return disk;
}

function noise(random: Random): Buffer {
  const block = createHash('sha256').update(random.bytes(64)).digest();
  const bytes = Buffer.alloc(MiB);
  for (let at = 0; at < MiB; at += 32) block.copy(bytes, at, (at / 32) % 31);
  for (let at = 0; at < MiB; at += 4) bytes.writeUInt32LE((bytes.readUInt32LE(at) ^ Math.imul(at + 1, 0x9e3779b1)) >>> 0, at);
  return bytes;
}

function qcow2(disk: Buffer): Buffer {
  const [raw, image] = [join(dir, 'source.raw'), join(dir, 'source.qcow2')];
  writeFileSync(raw, disk);
  execFileSync('qemu-img', ['convert', '-f', 'raw', '-O', 'qcow2', raw, image]);
  return readFileSync(image);
}

function emptyClaim(): void {
  rmSync(target, { force: true });
  writeFileSync(target, '');
  truncateSync(target, SIZE);
}

function expectDisk(disk: Buffer): void {
  const actual = readFileSync(target);
  expect(actual.length).toBe(SIZE);
  expect(actual.subarray(0, disk.length).equals(disk), `not byte-equal (seed ${SEED})`).toBe(true);
  expect(actual.subarray(disk.length).every((byte) => byte === 0)).toBe(true);
  expect(existsSync(work) ? readdirSync(work) : []).toEqual([]);
}

const tick = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));

/** Nobody writes the disk of a mover that is dead. */
async function untilUnused(): Promise<void> {
  while (usersOf(target).length > 0) await tick(5);
}

const argumentsOf = (...more: string[]): string[] => [...['--target', target, '--work', work, '--size', String(SIZE)], ...more];

describe(`kill -9 of an importer at random moments (seed ${SEED})`, () => {
  it.each<[string, (disk: Buffer) => Buffer, string[], number]>([
    ['raw', (disk) => disk, ['--connections', '1'], CHUNK],
    ['raw over several connections', (disk) => disk, ['--connections', '3'], CHUNK + WINDOW],
    ['gzip', (disk) => gzipSync(disk, { level: 1 }), [], CHUNK],
    ['qcow2', qcow2, [], CHUNK],
  ])('%s: byte-equal, and goes on where it was', { timeout: 120_000 + KILLS * 20_000 }, async (name, encode, more, chunk) => {
    const random = seededRandom(SEED + name.length);
    const disk = diskImage(random);
    const body = encode(disk);
    const sha256 = createHash('sha256').update(body).digest('hex');
    server.files.set('/disk', { body, pace: PACE });
    const env = { IMPORTER_ENDPOINT: `${server.url}/disk`, IMPORTER_CHECKSUM: `sha256:${sha256}` };
    const total = { transfers: 0, kills: 0, sent: 0 };
    while (total.kills < KILLS) {
      emptyClaim();
      server.sentBytes = 0;
      const kills = await transfer(body.length, 1 + random.below(Math.min(4, KILLS - total.kills)), random, () =>
        program.start(argumentsOf('--allow-address', '127.0.0.0/8', ...more), env),
      );
      expectDisk(disk);
      const allowed = 1.05 * body.length + kills * chunk;
      expect(server.sentBytes, `${kills} kills (seed ${SEED})`).toBeLessThanOrEqual(allowed);
      total.transfers++;
      total.kills += kills;
      total.sent += server.sentBytes;
    }
    tell(`import, ${name}`, total, body.length);
  });

  /** One transfer to its end; how often it was really killed on the way. */
  async function transfer(length: number, wanted: number, random: Random, start: () => StartedMover): Promise<number> {
    let kills = 0;
    while (kills < wanted) {
      // the last quarter of the moments is after the last byte: unpacking, converting, syncing
      const bytes = server.sentBytes + random.below(Math.ceil((length - Math.min(length, server.sentBytes)) * 1.33) + 1);
      const extraMs = random.below(300);
      const mover = start();
      while (!mover.hasEnded && server.sentBytes < Math.min(bytes, length)) await tick(1);
      if (bytes >= length) await Promise.race([mover.ended, tick(extraMs)]);
      if (mover.hasEnded) {
        expect(mover.outcome()).toMatchObject({ exitCode: 0 });
        return kills;
      }
      await mover.kill();
      await untilUnused();
      // it may have said that all is done in its last moment: then the agent clears up, and nobody starts it again
      if (mover.outcome()?.exitCode === 0) {
        rmSync(work, { recursive: true });
        return kills + 1;
      }
      kills++;
    }
    const last = start();
    await last.ended;
    expect(last.outcome(), `seed ${SEED}`).toMatchObject({ exitCode: 0, result: { format: 'raw' } });
    return kills;
  }
});

describe(`kill -9 of an upload server at random moments (seed ${SEED})`, () => {
  it.each([
    ['named', 'long' as string | undefined],
    ['plain', undefined],
  ])('a %s upload: byte-equal', { timeout: 120_000 + KILLS * 20_000 }, async (name, id) => {
    const random = seededRandom(SEED + name.length);
    const disk = diskImage(random);
    const peer = await startUploadPeer(join(dir, 'intake'));
    const start = (): StartedMover => program.start(argumentsOf('--intake', peer.path), { IMPORTER_SOURCE: 'none' });
    const total = { transfers: 0, kills: 0, sent: 0 };
    try {
      while (total.kills < KILLS) {
        emptyClaim();
        peer.sentBytes = 0;
        const kills = await upload(disk, id, { peer, start, random, wanted: 1 + random.below(Math.min(4, KILLS - total.kills)) });
        expectDisk(disk);
        // without a name a client can only begin again
        const perKill = id === undefined ? disk.length : CHUNK;
        expect(peer.sentBytes, `${kills} kills (seed ${SEED})`).toBeLessThanOrEqual(1.05 * disk.length + kills * perKill);
        total.transfers++;
        total.kills += kills;
        total.sent += peer.sentBytes;
      }
    } finally {
      await peer.close();
    }
    tell(`upload, ${name}`, total, disk.length);
  });

  interface UploadSetting {
    readonly peer: Awaited<ReturnType<typeof startUploadPeer>>;
    readonly start: () => StartedMover;
    readonly random: Random;
    readonly wanted: number;
  }

  async function upload(body: Buffer, id: string | undefined, { peer, start, random, wanted }: UploadSetting): Promise<number> {
    let kills = 0;
    for (;;) {
      const mover = start();
      const { offset: known = 0 } = await peer.status();
      const offset = id === undefined ? 0 : known;
      const at = kills < wanted ? offset + random.below(body.length - offset + 1) : Number.POSITIVE_INFINITY;
      const before = async (sent: number): Promise<void> => {
        // pieces are asked for ahead, so that a call may come when the mover is dead
        if (offset + sent >= at && !mover.hasEnded) await mover.kill();
      };
      const offer = { totalBytes: body.length, isAsync: true, offset, ...(id !== undefined && { id }) };
      const answer = await peer.upload(body.subarray(offset), offer, { before }).catch(() => undefined);
      if (answer?.status === 200) {
        await mover.ended;
        expect(mover.outcome(), `seed ${SEED}`).toMatchObject({ exitCode: 0 });
        return kills;
      }
      await mover.kill();
      await untilUnused();
      kills++;
      expect(kills, `an upload failed that nobody killed: ${JSON.stringify(answer)}`).toBeLessThanOrEqual(wanted);
    }
  }
});

function tell(what: string, { transfers, kills, sent }: { transfers: number; kills: number; sent: number }, size: number): void {
  const whole = transfers * size;
  const perKill = (sent - whole) / Math.max(1, kills) / MiB;
  report.push(
    `${what}: ${kills} kills in ${transfers} transfers, ${Math.round(sent / MiB)} of ${Math.round(whole / MiB)} MiB fetched, ${perKill.toFixed(1)} MiB more for each kill`,
  );
}
