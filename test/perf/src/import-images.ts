import { execFile } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { closeSync, openSync, truncateSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import { promisify } from 'node:util';

const run = promisify(execFile);
const MIB = 1024 ** 2;

/** Sizes of the disk that is imported. */
export const DISK_MIB = 1024;
const FULL_MIB = 512;
const RUN_MIB = 4;

/** One disk in four forms. */
export const FORMATS = ['raw', 'qcow2', 'gz', 'xz'] as const;
export type Format = (typeof FORMATS)[number];

/** Writes a disk, half of it full, and its other forms; answers the path of each. */
export async function makeImages(directory: string): Promise<Record<Format, string>> {
  const raw = join(directory, 'disk.raw');
  const file = openSync(raw, 'w');
  // in turns, as file systems fill disks: every second run of 4 MiB is a hole; what is there can be compressed to a quarter
  for (let mib = 0; mib < FULL_MIB; mib++) {
    const noise = randomBytes(MIB / 4);
    const place = mib + Math.floor(mib / RUN_MIB) * RUN_MIB;
    writeSync(file, Buffer.concat([noise, noise, noise, noise]), 0, MIB, place * MIB);
  }
  closeSync(file);
  truncateSync(raw, DISK_MIB * MIB);
  const qcow2 = join(directory, 'disk.qcow2');
  await run('qemu-img', ['convert', '-f', 'raw', '-O', 'qcow2', raw, qcow2]);
  await run('sh', ['-c', `gzip -1 -c ${raw} > ${raw}.gz && xz -1 -T2 -c ${raw} > ${raw}.xz`]);
  return { raw, qcow2, gz: `${raw}.gz`, xz: `${raw}.xz` };
}

/** The link alone, and the disk alone: an import can be as fast as the slower of them. */
export const LIMITS = {
  link: (url: string) => `curl -sS --fail -o /dev/null ${url}`,
  disk: (image: string, target: string) => `dd if=${image} of=${target} bs=1M conv=sparse,fsync status=none`,
} as const;

/** What an administrator types to put such an image onto a disk, with everything durable at its end. */
export function byHand(format: Format, url: string, target: string): string {
  const toDisk = `dd of=${target} bs=1M iflag=fullblock conv=sparse,fsync status=none`;
  const fetch = `curl -sS --fail ${url}`;
  switch (format) {
    case 'raw':
      return `${fetch} | ${toDisk}`;
    case 'gz':
      return `${fetch} | gzip -dc | ${toDisk}`;
    case 'xz':
      return `${fetch} | xz -dc | ${toDisk}`;
    default:
      return `${fetch} -o ${target}.tmp && qemu-img convert -f qcow2 -O raw ${target}.tmp ${target} && sync ${target}`;
  }
}
