import { execFileSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { mkdtempSync, readFileSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { disksOf } from './appliance.ts';
import { type MoverOutcome, runMover } from './main.ts';
import { type ImageServer, startImageServer } from '@slipway/testkit';
import { testIo } from './testing/test-io.ts';

const MiB = 1024 * 1024;
const disk = Buffer.concat([randomBytes(MiB), Buffer.alloc(2 * MiB), randomBytes(MiB)]);
let dir: string;
let server: ImageServer;
beforeEach(async () => {
  dir = mkdtempSync(join(tmpdir(), 'slipova-'));
  writeFileSync(join(dir, 'disk.img'), '');
  truncateSync(join(dir, 'disk.img'), 4 * MiB);
  server = await startImageServer();
});
afterEach(async () => {
  await server.close();
  rmSync(dir, { recursive: true, force: true });
});

const ovf = (...disks: readonly string[]): string => `<?xml version="1.0" encoding="UTF-8"?>
<Envelope xmlns="http://schemas.dmtf.org/ovf/envelope/1" xmlns:ovf="http://schemas.dmtf.org/ovf/envelope/1">
  <References>
    <File ovf:href="notes.txt" ovf:id="notes"/>
    ${disks.map((name, index) => `<File ovf:href="${name}" ovf:id="file${index}" ovf:size="1"/>`).join('\n')}
  </References>
  <DiskSection><Info>Disks</Info>
    ${disks.map((_, index) => `<Disk ovf:capacity="4" ovf:diskId="d${index}" ovf:fileRef="file${index}" ovf:format="x"/>`).join('\n')}
  </DiskSection>
</Envelope>`;

/** An appliance as ovftool and RHV pack them: the document first. */
function appliance(files: Readonly<Record<string, Buffer | string>>): Buffer {
  const names = Object.keys(files);
  for (const [name, data] of Object.entries(files)) writeFileSync(join(dir, name), data);
  return execFileSync('tar', ['--format=ustar', '-cC', dir, ...names], { maxBuffer: 64 * MiB });
}

function converted(format: string, ...options: readonly string[]): Buffer {
  writeFileSync(join(dir, 'source.raw'), disk);
  execFileSync('qemu-img', ['convert', '-O', format, ...options, join(dir, 'source.raw'), join(dir, 'converted')]);
  return readFileSync(join(dir, 'converted'));
}

async function run(body: Buffer, fragment = ''): Promise<MoverOutcome> {
  server.files.set('/vm.ova', { body });
  const { signal } = new AbortController();
  const io = await testIo(signal);
  const places = ['--target', join(dir, 'disk.img'), '--work', join(dir, 'work'), '--size', String(4 * MiB)];
  const env = { IMPORTER_ENDPOINT: `${server.url}/vm.ova${fragment}` };
  return runMover([...places, '--allow-address', '127.0.0.1', '--retry-base-ms', '5'], env, io, signal);
}

const content = (): Buffer => readFileSync(join(dir, 'disk.img'));

describe('an appliance', () => {
  it.each([
    ['VMware', () => ({ 'vm.ovf': ovf('vm-disk1.vmdk'), 'vm-disk1.vmdk': converted('vmdk', '-o', 'subformat=streamOptimized') })],
    ['RHV', () => ({ 'vm.ovf': ovf('3c9d1a52-aaaa'), '3c9d1a52-aaaa': converted('qcow2') })],
    ['raw, compressed', () => ({ 'vm.ovf': ovf('disk'), disk: gzipSync(disk) })],
  ])('of %s gives its disk', async (_, files) => {
    expect(await run(appliance(files()))).toMatchObject({ exitCode: 0 });
    expect(content().equals(disk)).toBe(true);
  });

  it('that is compressed gives its disk', async () => {
    expect(await run(gzipSync(appliance({ 'vm.ovf': ovf('disk'), disk })))).toMatchObject({ exitCode: 0 });
    expect(content().equals(disk)).toBe(true);
  });

  it('with several disks gives the one that is named', async () => {
    const body = appliance({ 'vm.ovf': ovf('a.raw', 'b.raw'), 'a.raw': randomBytes(MiB), 'b.raw': disk });
    expect(await run(body)).toMatchObject({
      exitCode: 1,
      message: expect.stringMatching(/several disks: a\.raw, b\.raw\. .*#a\.raw/),
    });
    expect(await run(body, '#c.raw')).toMatchObject({ exitCode: 1, message: expect.stringContaining('has no disk c.raw') });
    expect(await run(body, '#b.raw')).toMatchObject({ exitCode: 0 });
    expect(content().equals(disk)).toBe(true);
  });

  it.each([
    [
      'whose disk is missing',
      () => appliance({ 'vm.ovf': ovf('gone.vmdk'), 'notes.txt': 'x' }),
      /does not hold the disk gone.vmdk/,
    ],
    ['without a disk', () => appliance({ 'vm.ovf': '<Envelope/>' }), /names no disk/],
    ['in an appliance', () => appliance({ 'vm.ovf': ovf('in.ova'), 'in.ova': appliance({ 'x.ovf': ovf('d') }) }), /tar archive/],
    ['without a document', () => appliance({ disk }), /tar archive, not a disk image or an OVA/],
  ])('%s is refused', async (_, body, message) => {
    expect(await run(body())).toMatchObject({ exitCode: 1, message: expect.stringMatching(message) });
  });
});

it('reads OVF documents of any namespace prefix', () => {
  const text = '<x:File x:id="f" x:href="a"/><x:File x:id="g" x:href="b"/><x:Disk x:fileRef = "g" />';
  expect(disksOf(text)).toEqual(['b']);
  expect(disksOf('<File id="f" href="a"/>')).toEqual(['a']);
});
