import { closeSync, linkSync, mkdtempSync, openSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { fileIdentity, openFiles, parseDescriptor } from './open-files.ts';

describe('open files', () => {
  it.each([
    ['a reader', 'pos:\t0\nflags:\t0100000\nmnt_id:\t29\n', { isWritable: false, hasWriteLock: false }],
    ['a writer', 'pos:\t0\nflags:\t0140002\nmnt_id:\t29\n', { isWritable: true, hasWriteLock: false }],
    [
      'a QEMU that runs a guest',
      'flags:\t02140002\nlock:\t1: OFDLCK ADVISORY  READ -1 fe:01:131 100 101\nlock:\t2: OFDLCK ADVISORY  READ -1 fe:01:131 201 201\n',
      { isWritable: true, hasWriteLock: true },
    ],
    [
      'a QEMU that only reads',
      'flags:\t02100000\nlock:\t1: OFDLCK ADVISORY  READ -1 fe:01:131 100 100\nlock:\t2: OFDLCK ADVISORY  READ -1 fe:01:131 203 203\n',
      { isWritable: false, hasWriteLock: false },
    ],
    [
      'a lock of another kind',
      'flags:\t02\nlock:\t1: FLOCK  ADVISORY  WRITE 7 fe:01:131 0 EOF\n',
      { isWritable: true, hasWriteLock: false },
    ],
  ])('says what %s does', (_, text, expected) => {
    expect(parseDescriptor(text)).toEqual(expected);
  });

  it('finds a process by any name of the file, until it is closed', async () => {
    const directory = mkdtempSync(join(tmpdir(), 'open-files-'));
    try {
      const [path, other] = [join(directory, 'a'), join(directory, 'b')];
      writeFileSync(path, '');
      linkSync(path, other);
      const identity = fileIdentity(statSync(path));
      const own = async () =>
        ((await openFiles(new Set([identity]))).get(identity) ?? []).filter(({ pid }) => pid === process.pid);
      expect(await own()).toEqual([]);
      const file = openSync(other, 'r+');
      expect(await own()).toMatchObject([{ isWritable: true, uid: process.getuid?.() }]);
      closeSync(file);
      expect(await own()).toEqual([]);
    } finally {
      rmSync(directory, { recursive: true, force: true });
    }
  });
});
