import { execFileSync } from 'node:child_process';
import { mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { seededRandom } from '@slipway/testkit';

const MiB = 1024 * 1024;

/** A disk with data, holes and an end that is aligned to nothing but sectors. */
export function sparseDisk(seed: number, size = 5 * MiB + 3 * 512): Buffer {
  const random = seededRandom(seed);
  const disk = Buffer.alloc(size);
  for (const [at, length] of [
    [0, 700_000],
    [2 * MiB + 4096, 300_000],
    [size - 1000, 1000],
  ] as const)
    random.bytes(length).copy(disk, at);
  return disk;
}

const run = (command: string, ...args: string[]): void => void execFileSync(command, args, { stdio: 'pipe' });

/** Writes an OVA as its maker packs it: the OVF document, then the disk that it names. */
function appliance(dir: string, name: string, disk: string, member: string): void {
  const files = join(dir, `${name}.parts`);
  mkdirSync(files);
  const ovf = `<?xml version="1.0" encoding="UTF-8"?>
<Envelope xmlns="http://schemas.dmtf.org/ovf/envelope/1" xmlns:ovf="http://schemas.dmtf.org/ovf/envelope/1">
  <References><File ovf:href="${member}" ovf:id="file1"/></References>
  <DiskSection><Info>Disks</Info><Disk ovf:capacity="6" ovf:diskId="d1" ovf:fileRef="file1"/></DiskSection>
</Envelope>`;
  writeFileSync(join(files, 'vm.ovf'), ovf);
  renameSync(disk, join(files, member));
  run('tar', '--format=ustar', '-cf', join(dir, name), '-C', files, 'vm.ovf', member);
  rmSync(files, { recursive: true });
}

/** Options of qemu-img per file name. */
const CONVERTED: Readonly<Record<string, readonly string[]>> = {
  'disk.qcow2': ['-O', 'qcow2'],
  'packed.qcow2': ['-c', '-O', 'qcow2'],
  'zstd.qcow2': ['-c', '-O', 'qcow2', '-o', 'compression_type=zstd'],
  'old.qcow2': ['-O', 'qcow2', '-o', 'compat=0.10'],
  'disk.vmdk': ['-O', 'vmdk'],
  'stream.vmdk': ['-O', 'vmdk', '-o', 'subformat=streamOptimized'],
  'disk.vdi': ['-O', 'vdi'],
  'disk.vhd': ['-O', 'vpc', '-o', 'force_size=on'],
  'disk.vhdx': ['-O', 'vhdx'],
};
const COMPRESSED: Readonly<Record<string, readonly [string, ...string[]]>> = {
  'disk.raw.gz': ['gzip', '-1'],
  'disk.raw.xz': ['xz', '-0'],
  'disk.raw.zst': ['zstd', '-q'],
  'disk.raw.bz2': ['bzip2', '-1'],
  'disk.qcow2.gz': ['gzip', '-1'],
  'disk.qcow2.xz': ['xz', '-0'],
};

/** Writes the disk into `dir` in every form that imports know; returns the names of the files. */
export function writeFormats(dir: string, disk: Buffer): string[] {
  const raw = join(dir, 'disk.raw');
  writeFileSync(raw, disk);
  const convert = (to: string, options: readonly string[]): void =>
    run('qemu-img', 'convert', '-f', 'raw', ...options, raw, join(dir, to));
  for (const [name, options] of Object.entries(CONVERTED)) convert(name, options);
  for (const [name, [command, ...args]] of Object.entries(COMPRESSED)) {
    const input = readFileSync(join(dir, name.replace(/\.[^.]+$/, '')));
    writeFileSync(join(dir, name), execFileSync(command, [...args, '-c'], { input, maxBuffer: 64 * MiB }));
  }
  convert('member.vmdk', CONVERTED['stream.vmdk'] ?? []);
  appliance(dir, 'vmware.ova', join(dir, 'member.vmdk'), 'vm-disk1.vmdk');
  convert('member.qcow2', ['-O', 'qcow2']);
  appliance(dir, 'rhv.ova', join(dir, 'member.qcow2'), '3c9d1a52-4d2e-4a55-8ad3-5f6ce7a0b1d2');
  return ['disk.raw', ...Object.keys(CONVERTED), ...Object.keys(COMPRESSED), 'vmware.ova', 'rhv.ova'];
}

/** Writes a tree of files, and it as an ISO image and as archives; returns the tree's path. */
export function writeTree(dir: string): string {
  const tree = join(dir, 'tree');
  mkdirSync(join(tree, 'deep/er'), { recursive: true });
  writeFileSync(join(tree, 'deep/er/data'), seededRandom(7).bytes(1_500_001));
  writeFileSync(join(tree, 'run.sh'), '#!/bin/sh\n', { mode: 0o755 });
  run('ln', '-s', 'deep/er/data', join(tree, 'short'));
  run('genisoimage', '-quiet', '-R', '-o', join(dir, 'disc.iso'), tree);
  run('tar', '-cf', join(dir, 'tree.tar'), '-C', tree, '.');
  run('tar', '-czf', join(dir, 'tree.tar.gz'), '-C', tree, '.');
  return tree;
}
