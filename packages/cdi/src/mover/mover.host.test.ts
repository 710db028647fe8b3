import { execFileSync } from 'node:child_process';
import { createHash, randomBytes } from 'node:crypto';
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, truncateSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { type MoverOutcome, runMover } from './main.ts';
import type { MoverEnv } from './options.ts';
import { type ImageServer, startImageServer } from '@slipway/testkit';
import { testIo } from './testing/test-io.ts';

const MiB = 1024 * 1024;
let server: ImageServer;
let dir: string;
let target: string;
let work: string;

/** A disk with data, holes and an end that is not aligned to anything but sectors. */
function diskImage(size = 6 * MiB + 512): Buffer {
  const disk = Buffer.alloc(size);
  randomBytes(MiB).copy(disk, 0);
  randomBytes(MiB / 2).copy(disk, 3 * MiB + 4096);
  randomBytes(1024).copy(disk, size - 1024);
  return disk;
}

beforeAll(async () => {
  server = await startImageServer();
});
afterAll(() => server.close());

beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'slipmover-'));
  target = join(dir, 'disk.img');
  work = join(dir, 'work');
  writeFileSync(target, '');
  truncateSync(target, 8 * MiB);
  server.files.clear();
  server.requests.length = 0;
  server.sentBytes = 0;
});
afterEach(() => rmSync(dir, { recursive: true, force: true }));

interface Run {
  readonly path?: string;
  readonly env?: MoverEnv;
  readonly argv?: readonly string[];
}

const argumentsOf = (size = 8 * MiB): string[] => [
  ...['--target', target, '--work', work, '--size', String(size)],
  ...['--allow-address', '127.0.0.0/8', '--stall-ms', '300', '--retry-base-ms', '5', '--retry-attempts', '4'],
];

async function run({ path = '/disk', env = {}, argv = argumentsOf() }: Run = {}): Promise<MoverOutcome & { progress: string[] }> {
  const progress: string[] = [];
  const { signal } = new AbortController();
  const io = await testIo(signal, (line) => void progress.push(line));
  const outcome = await runMover(argv, { IMPORTER_ENDPOINT: server.url + path, ...env }, io, signal);
  return { ...outcome, progress };
}

function expectDisk(disk: Buffer, size = 8 * MiB): void {
  const actual = readFileSync(target);
  expect(actual.length).toBe(size);
  expect(actual.subarray(0, disk.length).equals(disk)).toBe(true);
  expect(actual.subarray(disk.length).every((byte) => byte === 0)).toBe(true);
  expect(existsSync(work) ? readdirSync(work) : []).toEqual([]);
}

const expectEmptyDisk = (): void => {
  expect(statSync(target)).toMatchObject({ size: 8 * MiB, blocks: 0 });
  expect(existsSync(work) ? readdirSync(work) : []).toEqual([]);
};

function encode(disk: Buffer, ...command: [string, ...string[]]): Buffer {
  return execFileSync(command[0], command.slice(1), { input: disk, maxBuffer: 64 * MiB });
}

function qemuImage(format: string, disk: Buffer, ...options: string[]): Buffer {
  const raw = join(dir, 'source.raw');
  const image = join(dir, `source.${format}`);
  writeFileSync(raw, disk);
  execFileSync('qemu-img', ['convert', '-f', 'raw', '-O', format, ...options, raw, image]);
  return readFileSync(image);
}

describe('formats', () => {
  const disk = diskImage();
  it.each([
    ['raw', () => disk],
    ['gzip', () => gzipSync(disk)],
    ['xz', () => encode(disk, 'xz', '-0')],
    ['zstd', () => encode(disk, 'zstd')],
    ['bzip2', () => encode(disk, 'bzip2', '-1')],
    ['qcow2', () => qemuImage('qcow2', disk)],
    ['compressed qcow2', () => qemuImage('qcow2', disk, '-c')],
    ['qcow2 in gzip', () => gzipSync(qemuImage('qcow2', disk))],
    ['qcow2 in xz', () => encode(qemuImage('qcow2', disk), 'xz', '-0')],
    ['vmdk', () => qemuImage('vmdk', disk)],
    ['vdi', () => qemuImage('vdi', disk)],
    ['vhdx', () => qemuImage('vhdx', disk)],
  ])('imports %s byte for byte', async (_, body) => {
    server.files.set('/disk', { body: body() });

    const outcome = await run();

    expect(outcome).toMatchObject({ exitCode: 0, result: { format: 'raw', virtualBytes: 8 * MiB } });
    expectDisk(disk);
  });

  it('keeps holes', async () => {
    server.files.set('/disk', { body: Buffer.concat([Buffer.alloc(7 * MiB), randomBytes(4096)]) });

    await run();

    expect(statSync(target).blocks * 512).toBeLessThan(MiB);
  });

  it.each<[string, () => Buffer, MoverEnv]>([
    ['raw', () => disk, {}],
    ['qcow2', () => qemuImage('qcow2', disk), {}],
    ['blank', () => disk, { IMPORTER_SOURCE: 'none' }],
  ])('takes the whole space for a %s disk where that is asked for', async (_, body, env) => {
    server.files.set('/disk', { body: body() });
    expect(await run({ env: { ...env, PREALLOCATION: 'true' } })).toMatchObject({ exitCode: 0 });
    expect(statSync(target).blocks * 512).toBeGreaterThanOrEqual(8 * MiB);
    expectDisk(env.IMPORTER_SOURCE === 'none' ? Buffer.alloc(0) : disk);
  });

  it('makes a blank disk', async () => {
    expect(await run({ env: { IMPORTER_SOURCE: 'none' } })).toMatchObject({ exitCode: 0 });
    expectEmptyDisk();
  });
});

describe('servers', () => {
  const disk = diskImage();
  const sha256 = `sha256:${createHash('sha256').update(disk).digest('hex')}`;

  it('continues where a connection broke', async () => {
    server.files.set('/disk', { body: disk, cuts: [MiB, 2 * MiB] });

    expect(await run({ env: { IMPORTER_CHECKSUM: sha256 } })).toMatchObject({ exitCode: 0 });

    expectDisk(disk);
    expect(server.requests.map(({ range }) => range !== undefined)).toEqual([false, true, true]);
  });

  describe('over several connections', () => {
    const large = diskImage(23 * MiB + 512);
    const hash = `sha256:${createHash('sha256').update(large).digest('hex')}`;
    const several = (): Promise<MoverOutcome> =>
      run({ argv: [...argumentsOf(24 * MiB), '--connections', '3'], env: { IMPORTER_CHECKSUM: hash } });
    beforeEach(() => truncateSync(target, 24 * MiB));

    it('fetches parts at the same time, each once', async () => {
      server.files.set('/disk', { body: large });
      expect(await several()).toMatchObject({ exitCode: 0 });
      expectDisk(large, 24 * MiB);
      const parts = server.requests.flatMap(({ range }) => (range === undefined ? [] : [range]));
      expect(parts.length).toBeGreaterThan(4);
      expect(new Set(parts).size).toBe(parts.length);
    });

    it('goes on over one when a part breaks off', async () => {
      // the first connection is left for the parts
      server.files.set('/disk', { body: large, cuts: [large.length, 4 * MiB, MiB] });
      expect(await several()).toMatchObject({ exitCode: 0 });
      expectDisk(large, 24 * MiB);
      expect(server.requests.at(-1)?.range).toMatch(/^bytes=\d+-$/);
    });

    it('takes one when the server has no ranges', async () => {
      server.files.set('/disk', { body: large, ignoresRange: true });
      expect(await several()).toMatchObject({ exitCode: 0 });
      expectDisk(large, 24 * MiB);
      expect(server.requests).toHaveLength(1);
    });

    it('asks for no parts of a file that has no version', async () => {
      server.files.set('/disk', { body: large, etag: '' });
      expect(await several()).toMatchObject({ exitCode: 0 });
      expectDisk(large, 24 * MiB);
      expect(server.requests).toHaveLength(1);
    });
  });

  it('tells what it waits for', async () => {
    server.files.set('/disk', { body: disk, cuts: [MiB] });
    const { progress } = await run();
    expect(progress).toContainEqual(expect.stringMatching(/"problem":"Interrupted: .*; trying again in 1 s \(attempt 1\)"/));
  });

  it('reads again what it knows when the server has no ranges', async () => {
    server.files.set('/disk', { body: disk, cuts: [MiB], ignoresRange: true });

    expect(await run({ env: { IMPORTER_CHECKSUM: sha256 } })).toMatchObject({ exitCode: 0 });

    expectDisk(disk);
  });

  it('takes a stream without a length', async () => {
    server.files.set('/disk', { body: disk, hasNoLength: true });
    expect(await run()).toMatchObject({ exitCode: 0 });
    expectDisk(disk);
  });

  it('gives up a connection that stalls and continues on another', async () => {
    server.files.set('/disk', { body: disk, stallAfter: 2 * MiB });
    expect(await run({ env: { IMPORTER_CHECKSUM: sha256 } })).toMatchObject({ exitCode: 0 });
    expectDisk(disk);
  });

  it('starts again when the file changes in the middle', async () => {
    const changed = diskImage();
    const file = { body: diskImage(), cuts: [MiB] };
    server.files.set('/disk', file);
    const running = run();
    while (server.requests.length === 0) await new Promise((resolve) => setImmediate(resolve));
    server.files.set('/disk', { body: changed });

    expect(await running).toMatchObject({ exitCode: 0 });

    expectDisk(changed);
  });

  it('sends user and password, and not to another origin', async () => {
    const other = await startImageServer();
    other.files.set('/disk', { body: disk });
    server.files.set('/disk', { body: disk, redirect: `${other.url}/disk` });

    const outcome = await run({ env: { IMPORTER_ACCESS_KEY_ID: 'joe', IMPORTER_SECRET_KEY: 'secret' } });

    expect(outcome).toMatchObject({ exitCode: 0 });
    expect(server.requests[0]?.authorization).toBe(`Basic ${Buffer.from('joe:secret').toString('base64')}`);
    expect(other.requests[0]?.authorization).toBeUndefined();
    await other.close();
  });
});

describe('bad input', () => {
  const disk = diskImage();
  const qcow2With = (change: (image: Buffer) => void) => () => {
    const image = qemuImage('qcow2', disk);
    change(image);
    return image;
  };

  it.each<[string, () => Buffer, string | RegExp]>([
    ['an empty file', () => Buffer.alloc(0), /not a disk image/],
    ['a tiny file', () => Buffer.from('hello'), /not a disk image/],
    ['a truncated gzip', () => gzipSync(disk).subarray(0, 100_000), /gzip stream is truncated or corrupt/],
    ['a corrupt gzip', () => Buffer.from(gzipSync(disk)).fill(7, 5000, 6000), /gzip stream is truncated or corrupt/],
    ['a truncated xz', () => encode(disk, 'xz', '-0').subarray(0, 100_000), /xz stream is truncated or corrupt/],
    ['a raw image that is too large', () => Buffer.alloc(9 * MiB, 1), /larger than the reported available storage 8388608/],
    ['a decompression bomb', () => gzipSync(Buffer.alloc(64 * MiB)), /larger than the reported available storage 8388608/],
    ['a qcow2 that is too large', () => qemuImage('qcow2', Buffer.alloc(16 * MiB)), /virtual image size 16777216 is larger/],
    ['a truncated qcow2', () => qemuImage('qcow2', disk).subarray(0, 70_000), /corrupt|cannot be read/],
    ['a backing file', qcow2With((image) => image.writeBigUInt64BE(512n, 8)), /backing file/],
    ['a data file', qcow2With((image) => image.writeBigUInt64BE(4n, 72)), /data in another file/],
    ['encryption', qcow2With((image) => image.writeUInt32BE(1, 32)), /encrypted/],
    ['an absurd cluster size', qcow2With((image) => image.writeUInt32BE(60, 20)), /cluster size/],
    ['a tar archive', () => execFileSync('tar', ['cC', '/etc', 'passwd']), /tar archive/],
  ])('refuses %s and gives the space back', async (_, body, message) => {
    server.files.set('/disk', { body: body() });

    const outcome = await run();

    expect(outcome).toMatchObject({ exitCode: 1, message: expect.stringMatching(message) });
    expect(outcome.result).toBeUndefined();
    expectEmptyDisk();
  });

  it('refuses an image with a backing file in its compressed form too', async () => {
    writeFileSync(join(dir, 'secret'), Buffer.alloc(MiB, 'x'));
    const image = join(dir, 'evil.qcow2');
    execFileSync('qemu-img', ['create', '-q', '-f', 'qcow2', '-F', 'raw', '-b', join(dir, 'secret'), image]);
    server.files.set('/disk', { body: gzipSync(readFileSync(image)) });
    expect(await run()).toMatchObject({ exitCode: 1, message: expect.stringContaining('backing file') });
    expectEmptyDisk();
  });

  it('ends completed, for good, on a wrong checksum', async () => {
    server.files.set('/disk', { body: disk });
    const outcome = await run({ env: { IMPORTER_CHECKSUM: `sha256:${'0'.repeat(64)}` } });
    expect(outcome).toMatchObject({
      exitCode: 0,
      reason: 'ChecksumError',
      message: expect.stringContaining('checksum mismatch'),
    });
    expect(outcome.result).toBeUndefined();
    expectEmptyDisk();
  });

  it.each([
    [404, 'Check the URL'],
    [403, 'Check the credentials'],
    [500, 'tried again by itself'],
  ])('explains status %d', async (status, remedy) => {
    server.files.set('/disk', { body: disk, status });
    expect(await run()).toMatchObject({ exitCode: 1, message: expect.stringContaining(`got ${status}`) });
    expect((await run()).message).toContain(remedy);
  });

  it('explains a server that is not there', async () => {
    const { url } = server;
    const outcome = await run({ env: { IMPORTER_ENDPOINT: url.replace(/\d+$/, '1') } });
    expect(outcome).toMatchObject({ exitCode: 1, message: expect.stringContaining('ECONNREFUSED') });
  });

  it.each([
    'http://127.0.0.1:1/x',
    'http://localhost:1/x',
    'http://[::1]:1/x',
    'http://169.254.169.254/x',
    'http://[::ffff:127.0.0.1]/x',
  ])('refuses %s unless an administrator allowed it', async (url) => {
    const argv = argumentsOf().filter((text, index, all) => text !== '--allow-address' && all[index - 1] !== '--allow-address');
    expect(await run({ argv, env: { IMPORTER_ENDPOINT: url } })).toMatchObject({ exitCode: 1, reason: 'SourceRefused' });
  });

  it('refuses a redirect to a metadata address', async () => {
    server.files.set('/disk', { body: disk, redirect: 'http://169.254.169.254/latest' });
    expect(await run()).toMatchObject({ exitCode: 1, reason: 'SourceRefused' });
  });

  it('says so when the disk is full, and gives the space back', async () => {
    const small = join(dir, 'small');
    execFileSync('sh', ['-c', `mkdir ${small} && mount -t tmpfs -o size=4m tmpfs ${small}`]);
    try {
      target = join(small, 'disk.img');
      work = join(small, 'work');
      writeFileSync(target, '');
      truncateSync(target, 8 * MiB);
      server.files.set('/disk', { body: randomBytes(7 * MiB) });
      expect(await run()).toMatchObject({
        exitCode: 1,
        reason: 'NoSpace',
        message: expect.stringContaining('no space left on device'),
      });
      expectEmptyDisk();
      server.files.set('/disk', { body: disk });
      expect(await run()).toMatchObject({ exitCode: 0 });
    } finally {
      execFileSync('umount', [small]);
    }
  });
});
