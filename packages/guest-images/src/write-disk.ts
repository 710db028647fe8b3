import { type FileHandle, open, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { DiskLayout, Partition } from './build-plan.ts';

const SECTOR = 512;
const MIB = 1024 * 1024;

/** The first sector: boot code and the table of at most four partitions. */
export function masterBootRecord(bootCode: Uint8Array, partitions: readonly Partition[]): Uint8Array {
  const sector = Buffer.alloc(SECTOR);
  sector.set(bootCode.subarray(0, 440));
  partitions.forEach((partition, index) => {
    const at = 446 + index * 16;
    sector[at] = partition.active ? 0x80 : 0;
    // Cylinder, head, sector: the value that says "use the block numbers".
    sector.set([0xfe, 0xff, 0xff], at + 1);
    sector[at + 4] = partition.type;
    sector.set([0xfe, 0xff, 0xff], at + 5);
    sector.writeUInt32LE((partition.startMiB * MIB) / SECTOR, at + 8);
    sector.writeUInt32LE((partition.sizeMiB * MIB) / SECTOR, at + 12);
  });
  sector.writeUInt16LE(0xaa55, 510);
  return sector;
}

/** Puts boot loader, partition table and partitions into the disk file; blocks of zeros stay holes. */
export async function writeDisk(directory: string, path: string, layout: DiskLayout): Promise<void> {
  const bootCode = await readFile(join(directory, layout.bootImage));
  const core = await readFile(join(directory, layout.coreImage));
  if (core.length > MIB - SECTOR) throw new Error(`Boot loader ${layout.coreImage} does not fit before the first partition`);
  const disk = await open(join(directory, path), 'a+').then(async (created) => {
    await created.close();
    return open(join(directory, path), 'r+');
  });
  try {
    await disk.truncate(layout.sizeMiB * MIB);
    await disk.write(masterBootRecord(bootCode, layout.partitions), 0, SECTOR, 0);
    await disk.write(core, 0, core.length, SECTOR);
    for (const partition of layout.partitions) {
      if (partition.image !== undefined) await place(join(directory, partition.image), disk, partition.startMiB * MIB);
    }
  } finally {
    await disk.close();
  }
}

async function place(from: string, disk: FileHandle, offset: number): Promise<void> {
  const source = await open(from, 'r');
  try {
    const block = Buffer.alloc(64 * 1024);
    for (let position = 0; ; ) {
      const { bytesRead } = await source.read(block, 0, block.length, position);
      if (bytesRead === 0) return;
      const data = block.subarray(0, bytesRead);
      if (data.some((byte) => byte !== 0)) await disk.write(data, 0, bytesRead, offset + position);
      position += bytesRead;
    }
  } finally {
    await source.close();
  }
}
