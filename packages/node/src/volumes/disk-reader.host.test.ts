import { execFileSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { chmodSync, chownSync, mkdirSync, mkdtempSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Readable } from 'node:stream';
import { systemClock } from '@slipway/runtime';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { type DiskPlace, readDisk } from './disk-reader.ts';

const MiB = 1024 * 1024;
const UID = 2_360_007;
const content = Buffer.concat([randomBytes(3 * MiB), Buffer.alloc(MiB), randomBytes(1000)]);
const SIZE = 8 * MiB;

let root: string;
beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), 'slipread-'));
  chmodSync(root, 0o711);
  mkdirSync(join(root, 'own'), { mode: 0o711 });
  writeFileSync(join(root, 'layer.img'), content);
  truncateSync(join(root, 'layer.img'), SIZE);
});
afterEach(() => rmSync(root, { recursive: true, force: true }));

async function bytesOf(stream: Readable): Promise<Buffer> {
  const chunks: Buffer[] = [];
  for await (const chunk of stream) chunks.push(chunk as Buffer);
  return Buffer.concat(chunks);
}

const place = (name: string, format: DiskPlace['format']): DiskPlace => ({
  path: join(root, name),
  format,
  hasLayers: format === 'qcow2',
  uid: UID,
  directory: join(root, 'own'),
});

describe('a disk', () => {
  it('is read as its guest sees it, whole or in part, raw or above layers', async () => {
    const overlay = join(root, 'disk.img');
    execFileSync('qemu-img', ['create', '-q', '-f', 'qcow2', '-F', 'raw', '-b', 'layer.img', overlay]);
    execFileSync('qemu-io', ['-f', 'qcow2', '-c', 'write -P 7 6M 64k', overlay]);
    chownSync(overlay, UID, UID);
    const whole = Buffer.alloc(SIZE);
    content.copy(whole);
    const raw = await readDisk(place('layer.img', 'raw'), { offset: 0, length: SIZE }, systemClock);
    expect((await bytesOf(raw)).equals(whole)).toBe(true);
    whole.fill(7, 6 * MiB, 6 * MiB + 65_536);
    const all = await readDisk(place('disk.img', 'qcow2'), { offset: 0, length: SIZE }, systemClock);
    expect((await bytesOf(all)).equals(whole)).toBe(true);
    const part = await readDisk(place('disk.img', 'qcow2'), { offset: 3 * MiB - 5, length: 3 * MiB + 77 }, systemClock);
    expect((await bytesOf(part)).equals(whole.subarray(3 * MiB - 5, 6 * MiB + 72))).toBe(true);
  });

  it('that is no image of the format it was said to be is refused, and nothing else is guessed', async () => {
    chownSync(join(root, 'layer.img'), UID, UID);
    await expect(readDisk(place('layer.img', 'qcow2'), { offset: 0, length: 10 }, systemClock)).rejects.toThrow(
      'The disk cannot be read',
    );
  });

  it('stops to be read when nobody listens any more', async () => {
    const overlay = join(root, 'disk.img');
    execFileSync('qemu-img', ['create', '-q', '-f', 'qcow2', '-F', 'raw', '-b', 'layer.img', overlay]);
    chownSync(overlay, UID, UID);
    const stream = await readDisk(place('disk.img', 'qcow2'), { offset: 0, length: SIZE }, systemClock);
    const closed = new Promise((resolve) => {
      stream.once('close', resolve);
    });
    stream.destroy();
    await closed;
  });
});
