import { execFileSync } from 'node:child_process';
import { createHash, randomBytes } from 'node:crypto';
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, truncateSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { isObject } from '@slipway/apimachinery';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { type MoverOutcome, runMover } from '../main.ts';
import { moverProgram, type MoverProgram, type StartedMover } from '../testing/mover-process.ts';
import { startUploadPeer, type UploadPeer } from '../testing/upload-peer.ts';
import { testIo } from '../testing/test-io.ts';

const MiB = 1024 * 1024;
const SIZE = 8 * MiB;
let dir: string;
let target: string;
let work: string;
let peer: UploadPeer;

beforeEach(async () => {
  dir = mkdtempSync(join(tmpdir(), 'slipup-'));
  target = join(dir, 'disk.img');
  work = join(dir, 'work');
  writeFileSync(target, '');
  truncateSync(target, SIZE);
  peer = await startUploadPeer(join(dir, 'intake'));
});
afterEach(async () => {
  await peer.close();
  rmSync(dir, { recursive: true, force: true });
});

const argumentsOf = (size: number): string[] => [
  '--target',
  target,
  '--work',
  work,
  '--size',
  String(size),
  '--intake',
  peer.path,
];

/** A mover in this process; `stop` is SIGTERM. */
async function startMover(size = SIZE): Promise<{ readonly outcome: Promise<MoverOutcome>; stop(): void }> {
  const abort = new AbortController();
  const io = await testIo(abort.signal);
  const outcome = runMover(argumentsOf(size), { IMPORTER_SOURCE: 'none' }, io, abort.signal);
  return { outcome, stop: () => abort.abort(new Error('stopped')) };
}

/** Data, holes and an end that is aligned to sectors alone. */
function diskImage(size = 6 * MiB + 512): Buffer {
  const disk = Buffer.alloc(size);
  randomBytes(MiB).copy(disk, 0);
  randomBytes(MiB / 2).copy(disk, 3 * MiB + 4096);
  randomBytes(1024).copy(disk, size - 1024);
  return disk;
}

function expectDisk(disk: Buffer, size = SIZE): void {
  const actual = readFileSync(target);
  expect(actual.length).toBe(size);
  expect(actual.subarray(0, disk.length).equals(disk)).toBe(true);
  expect(actual.subarray(disk.length).every((byte) => byte === 0)).toBe(true);
  expect(existsSync(work) ? readdirSync(work) : []).toEqual([]);
}

const expectEmptyDisk = (): void => {
  expect(statSync(target)).toMatchObject({ size: SIZE, blocks: 0 });
  expect(existsSync(work) ? readdirSync(work) : []).toEqual([]);
};

function qcow2(disk: Buffer, ...options: string[]): Buffer {
  const [raw, image] = [join(dir, 'source.raw'), join(dir, 'source.qcow2')];
  writeFileSync(raw, disk);
  execFileSync('qemu-img', ['convert', '-f', 'raw', '-O', 'qcow2', ...options, raw, image]);
  return readFileSync(image);
}

const sha256 = (data: Buffer): string => `sha256:${createHash('sha256').update(data).digest('hex')}`;

describe('an upload', () => {
  const disk = diskImage();
  it.each([
    ['raw', () => disk],
    ['gzip', () => gzipSync(disk)],
    ['xz', () => execFileSync('xz', ['-0'], { input: disk, maxBuffer: 64 * MiB })],
    ['qcow2', () => qcow2(disk)],
    ['compressed qcow2 in gzip', () => gzipSync(qcow2(disk, '-c'))],
  ])('of %s becomes the disk, byte for byte', async (_, encode) => {
    const body = encode();
    const mover = await startMover();
    expect(await peer.upload(body, { isAsync: true, checksum: sha256(body) })).toMatchObject({ status: 200 });
    expect(await mover.outcome).toMatchObject({ exitCode: 0, message: expect.stringContaining('Upload Complete') });
    expectDisk(disk);
  });

  it.each([
    ['is larger than the claim', () => Buffer.alloc(SIZE + 512, 1), /larger than the reported available storage/],
    ['is no image', () => Buffer.from('short'), /not a disk image/],
    ['is a damaged qcow2', () => qcow2(randomBytes(4 * MiB)).subarray(0, 2 * MiB), /truncated or corrupt/],
  ])('that %s is refused, and the disk is empty', async (_, encode, reason) => {
    const mover = await startMover();
    const answer = await peer.upload(encode());
    expect(answer).toMatchObject({ status: 400, message: expect.stringMatching(reason) });
    expect(await mover.outcome).toMatchObject({ exitCode: 1 });
    expectEmptyDisk();
  });

  it('with a wrong checksum is refused, and may be tried again', async () => {
    const mover = await startMover();
    const answer = await peer.upload(disk, { checksum: sha256(Buffer.from('other')) });
    expect(answer).toMatchObject({ status: 400, message: expect.stringContaining('checksum mismatch') });
    expect(await mover.outcome).toMatchObject({ exitCode: 1, reason: 'ChecksumError' });
    expectEmptyDisk();
  });

  it('that breaks off leaves nothing, and the next one begins anew', async () => {
    const mover = await startMover();
    await expect(peer.upload(disk, {}, { cutOffAt: 5 * MiB })).rejects.toThrow('the client is gone');
    await untilIdle();
    expectEmptyDisk();
    expect(await peer.upload(disk)).toMatchObject({ status: 200 });
    await mover.outcome;
    expectDisk(disk);
  });

  it('waits while another one runs, and comes too late after it', async () => {
    const mover = await startMover();
    const second: unknown[] = [];
    const before = async (sent: number): Promise<void> => {
      if (sent === MiB) second.push(await peer.upload(disk));
    };
    expect(await peer.upload(disk, {}, { before })).toMatchObject({ status: 200 });
    expect(second).toMatchObject([{ status: 503 }]);
    await mover.outcome;
    expectDisk(disk);
  });

  it('that is named goes on where it broke off, and at no other place', async () => {
    const mover = await startMover();
    const offer = { id: 'mine', totalBytes: disk.length, checksum: sha256(disk) };
    await expect(peer.upload(disk, offer, { cutOffAt: 4 * MiB })).rejects.toThrow('the client is gone');
    const { offset = 0 } = await untilIdle();
    expect(offset).toBe(4 * MiB);
    const wrong = await peer.upload(disk.subarray(MiB), { ...offer, offset: MiB });
    expect(wrong).toMatchObject({ status: 409, id: 'mine', offset });
    expect(await peer.upload(disk.subarray(offset), { ...offer, id: 'other', offset })).toMatchObject({ status: 409 });
    const some = await peer.upload(disk.subarray(offset, offset + MiB), { ...offer, offset });
    expect(some).toMatchObject({ status: 204, offset: offset + MiB, totalBytes: disk.length });
    const rest = disk.subarray(offset + MiB);
    expect(await peer.upload(rest, { ...offer, offset: offset + MiB })).toMatchObject({ status: 200 });
    expect(await mover.outcome).toMatchObject({ exitCode: 0 });
    expectDisk(disk);
  });

  it('that is given up makes room for another', async () => {
    const mover = await startMover();
    await expect(peer.upload(randomBytes(6 * MiB), { id: 'first' }, { cutOffAt: 4 * MiB })).rejects.toThrow();
    await untilIdle();
    expect(await peer.upload(disk, { id: 'second' })).toMatchObject({ status: 200 });
    await mover.outcome;
    expectDisk(disk);
  });

  /** The mover has noticed that the client went away. */
  async function untilIdle(): Promise<{ offset?: number }> {
    for (;;) {
      const probe = await peer.upload(Buffer.alloc(0), { id: 'nobody', offset: 1, totalBytes: 2 });
      if (probe.status === 409) return peer.status();
      await new Promise((resolve) => setTimeout(resolve, 10));
    }
  }
});

describe('a mover that is killed', () => {
  const BIG = 64 * MiB;
  let program: MoverProgram;
  beforeAll(async () => {
    program = await moverProgram();
  });
  afterAll(() => program?.remove());

  const start = (): StartedMover => program.start(argumentsOf(BIG), { IMPORTER_SOURCE: 'none' });

  it.each([
    ['raw', (disk: Buffer) => disk],
    ['qcow2', (disk: Buffer) => qcow2(disk)],
  ])('finishes a %s upload that was answered, without its client', async (_, encode) => {
    const disk = randomBytes(24 * MiB);
    truncateSync(target, BIG);
    const first = start();
    expect(await peer.upload(encode(disk), { isAsync: true })).toMatchObject({ status: 200 });
    await first.kill();
    // it may have ended by itself in time
    const second = isObject(first.outcome()) ? first : start();
    await second.ended;
    expect(second.outcome()).toMatchObject({ exitCode: 0, result: { format: 'raw' } });
    expectDisk(disk, BIG);
  });

  it('forgets an upload that has no name', async () => {
    const body = randomBytes(40 * MiB);
    truncateSync(target, BIG);
    const first = start();
    const before = async (sent: number): Promise<void> => {
      if (sent === 30 * MiB) await first.kill();
    };
    await expect(peer.upload(body, {}, { before })).rejects.toThrow();
    const mover = start();
    expect(await peer.status()).toEqual({ status: 200, message: '' });
    expect(statSync(target).blocks).toBe(0);
    expect(await peer.upload(body)).toMatchObject({ status: 200 });
    await mover.ended;
    expectDisk(body, BIG);
  });
});
