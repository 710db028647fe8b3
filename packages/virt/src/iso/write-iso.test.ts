import { describe, expect, it } from 'vitest';
import { buildTree } from './layout.ts';
import { writeIso } from './write-iso.ts';

const bytes = (text: string): Uint8Array => new TextEncoder().encode(text);
const text = (image: Uint8Array, offset: number, length: number): string =>
  new TextDecoder().decode(image.subarray(offset, offset + length));
const SECTOR = 2048;

describe('writeIso', () => {
  const image = writeIso({
    label: 'cidata',
    files: [
      { path: 'meta-data', data: bytes('{}') },
      { path: 'a/b', data: bytes('deep') },
    ],
  });
  const view = new DataView(image.buffer);

  it('has a primary and a Joliet descriptor with the label, and the right size', () => {
    expect(text(image, 16 * SECTOR + 1, 5)).toBe('CD001');
    expect(text(image, 16 * SECTOR + 40, 6)).toBe('cidata');
    expect(text(image, 17 * SECTOR + 88, 3)).toBe('%/E');
    expect(view.getUint32(16 * SECTOR + 80, true) * SECTOR).toBe(image.length);
    expect(view.getUint32(16 * SECTOR + 84, false) * SECTOR).toBe(image.length);
  });

  it('marks the root directory for Rock Ridge and keeps full names', () => {
    const root = view.getUint32(16 * SECTOR + 156 + 2, true) * SECTOR;
    const records = text(image, root, SECTOR);
    expect(records).toContain('SP');
    expect(records).toContain('meta-data');
  });

  it('gives the same bytes for the same input', () => {
    const again = writeIso({
      label: 'cidata',
      files: [
        { path: 'meta-data', data: bytes('{}') },
        { path: 'a/b', data: bytes('deep') },
      ],
    });
    expect(Buffer.compare(image, again)).toBe(0);
  });

  it.each(['/a', '../a', 'a/../b', 'a//b', '', 'a/'])('refuses the path %j', (path) => {
    expect(() => writeIso({ label: 'x', files: [{ path, data: bytes('') }] })).toThrow(/Not a path/);
  });

  it('refuses two files of one name', () => {
    const file = { path: 'a', data: bytes('') };
    expect(() => writeIso({ label: 'x', files: [file, file] })).toThrow(/Two files/);
  });

  it('keeps short names unique', () => {
    const { files } = buildTree(['configuration-a.yaml', 'configuration-b.yaml'].map((path) => ({ path, data: bytes('') })));
    expect(new Set(files.map(({ isoName }) => isoName)).size).toBe(2);
  });
});
