import { execFileSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, readlinkSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { pack } from 'tar-stream';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { type MoverOutcome, runMover } from './main.ts';
import { type ImageServer, startImageServer } from '@slipway/testkit';
import { testIo } from './testing/test-io.ts';

const MiB = 1024 * 1024;
let dir: string;
let files: string;
let server: ImageServer;
beforeEach(async () => {
  dir = mkdtempSync(join(tmpdir(), 'sliparchive-'));
  files = join(dir, 'files');
  mkdirSync(files);
  writeFileSync(join(dir, 'disk.img'), '');
  server = await startImageServer();
});
afterEach(async () => {
  await server.close();
  rmSync(dir, { recursive: true, force: true });
});

async function run(body: Buffer, env: Record<string, string> = {}): Promise<MoverOutcome> {
  server.files.set('/files.tar', { body });
  const { signal } = new AbortController();
  const io = await testIo(signal);
  const places = ['--target', join(dir, 'disk.img'), '--work', join(dir, 'work'), '--size', String(8 * MiB), '--files', files];
  const source = { IMPORTER_ENDPOINT: `${server.url}/files.tar`, IMPORTER_CONTENTTYPE: 'archive' };
  return runMover([...places, '--allow-address', '127.0.0.1', '--retry-base-ms', '5'], { ...source, ...env }, io, signal);
}

type Header = Parameters<ReturnType<typeof pack>['entry']>[0];

/** An archive of exactly these members. */
async function archive(...members: readonly (readonly [Header, (Buffer | string)?])[]): Promise<Buffer> {
  const tar = pack();
  for (const [header, content] of members) tar.entry(header, content as string);
  tar.finalize();
  const chunks: Buffer[] = [];
  for await (const chunk of tar as AsyncIterable<Buffer>) chunks.push(chunk);
  return Buffer.concat(chunks);
}

const file = (name: string, content: Buffer | string = name): readonly [Header, Buffer | string] => [
  { name, mode: 0o4755 },
  content,
];

describe('an archive', () => {
  it.each([
    ['plain', (tar: Buffer) => tar],
    ['gzip', (tar: Buffer) => gzipSync(tar)],
    ['xz', (tar: Buffer) => execFileSync('xz', ['-c'], { input: tar, maxBuffer: 64 * MiB })],
  ])('made by tar, %s, becomes the tree that it was', async (_, encode) => {
    const source = join(dir, 'source');
    mkdirSync(join(source, 'deep/er'), { recursive: true });
    writeFileSync(join(source, 'deep/er/data'), randomBytes(2 * MiB));
    writeFileSync(join(source, 'script'), '#!/bin/sh', { mode: 0o755 });
    execFileSync('ln', ['-s', 'deep/er/data', join(source, 'short')]);
    execFileSync('ln', [join(source, 'script'), join(source, 'twin')]);
    const tar = execFileSync('tar', ['cC', source, '.'], { maxBuffer: 64 * MiB });

    expect(await run(encode(tar))).toMatchObject({ exitCode: 0 });

    expect(execFileSync('diff', ['-r', source, files]).toString()).toBe('');
    expect(readlinkSync(join(files, 'short'))).toBe('deep/er/data');
    expect(statSync(join(files, 'script'))).toMatchObject({ mode: 0o100755, nlink: 2 });
  });

  it('goes on where its download broke', async () => {
    const content = randomBytes(4 * MiB);
    const body = await archive(file('a', content));
    server.files.set('/files.tar', { body });
    const serving = run(body);
    const served = server.files.get('/files.tar');
    if (served) served.cuts = [MiB];
    expect(await serving).toMatchObject({ exitCode: 0 });
    expect(readFileSync(join(files, 'a')).equals(content)).toBe(true);
    expect(server.requests.map(({ range }) => range !== undefined)).toEqual([false, true]);
  });

  it('replaces what an interrupted run has left', async () => {
    writeFileSync(join(files, 'old'), '');
    expect(await run(await archive(file('new')))).toMatchObject({ exitCode: 0 });
    expect(readdirSync(files)).toEqual(['new']);
  });

  it('gives no member more rights than read, write and execute', async () => {
    await run(await archive(file('a')));
    expect(statSync(join(files, 'a')).mode & 0o7000).toBe(0);
  });
});

describe('an archive is refused, and nothing is left of it, when it', () => {
  it.each<[string, () => Promise<Buffer>, RegExp]>([
    ['climbs out', () => archive(file('ok'), file('../evil')), /leads out/],
    ['climbs out from within', () => archive(file('a/../../evil')), /leads out/],
    ['names an absolute place', () => archive(file('/etc/evil')), /absolute name/],
    ['links out', () => archive([{ name: 'l', type: 'symlink', linkname: '../..' }]), /leads out of it to/],
    ['links to an absolute place', () => archive([{ name: 'l', type: 'symlink', linkname: '/etc' }]), /leads out of it to/],
    [
      'links out by way of another link',
      () =>
        archive(
          [{ name: 'p/q/up', type: 'symlink', linkname: '../..' }],
          [{ name: 'l', type: 'symlink', linkname: 'p/q/up/../etc' }],
        ),
      /leads out of it to/,
    ],
    [
      'writes through a link',
      () => archive([{ name: 'd', type: 'directory' }], [{ name: 'l', type: 'symlink', linkname: 'd' }], file('l/evil')),
      /link or a file as a directory/,
    ],
    ['links hard to what is not its own', () => archive([{ name: 'l', type: 'link', linkname: 'nothing' }]), /no file of it/],
    ['links hard to the outside', () => archive([{ name: 'l', type: 'link', linkname: '../../etc/passwd' }]), /leads out/],
    ['holds a device', () => archive([{ name: 'd', type: 'block-device', devmajor: 8, devminor: 0 }]), /neither a file/],
    ['holds a pipe', () => archive([{ name: 'p', type: 'fifo' }]), /neither a file/],
    ['is larger than the claim', () => archive(file('a', Buffer.alloc(9 * MiB))), /A larger PVC is required/],
    ['is a bomb', async () => gzipSync(await archive(file('a', Buffer.alloc(64 * MiB)))), /A larger PVC is required/],
    ['is cut off', async () => (await archive(file('a', randomBytes(MiB)))).subarray(0, 200_000), /truncated or corrupt/],
    ['is empty', () => archive(), /not a tar archive|is empty/],
    ['is a disk', async () => randomBytes(MiB), /not a tar archive/],
  ])('%s', async (_, body, message) => {
    expect(await run(await body())).toMatchObject({ exitCode: 1, message: expect.stringMatching(message) });
    expect(readdirSync(files)).toEqual([]);
    expect(readdirSync(dir)).toEqual(expect.not.arrayContaining(['evil']));
  });

  it('does not have its checksum', async () => {
    const outcome = await run(await archive(file('a')), { IMPORTER_CHECKSUM: `sha256:${'0'.repeat(64)}` });
    expect(outcome).toMatchObject({ reason: 'ChecksumError' });
    expect(readdirSync(files)).toEqual([]);
  });
});
