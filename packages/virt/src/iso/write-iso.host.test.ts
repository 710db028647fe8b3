import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { writeIso } from './write-iso.ts';

const bytes = (text: string): Uint8Array => new TextEncoder().encode(text);
let directory = '';
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'slipway-iso-'));
});
afterEach(() => rmSync(directory, { recursive: true, force: true }));

it('is read by other programs: long, deep, empty, large and non-ASCII files', () => {
  const files = [
    { path: 'user-data', data: bytes('#cloud-config\n'.repeat(1000)) },
    { path: 'openstack/latest/meta_data.json', data: bytes('{"a":1}') },
    { path: 'empty', data: new Uint8Array() },
    { path: 'x'.repeat(253), data: bytes('long') },
    { path: 'Ünïcode.txt', data: bytes('u') },
    ...Array.from({ length: 100 }, (_, index) => ({ path: `key-with-a-long-name-${index}`, data: bytes(`v${index}`) })),
  ];
  const image = join(directory, 'image.iso');
  const out = join(directory, 'out');
  writeFileSync(image, writeIso({ label: 'cidata', files }));
  const info = execFileSync('isoinfo', ['-d', '-i', image], { encoding: 'utf8' });
  expect(info).toMatch(/Volume id: cidata/);
  expect(info).toMatch(/Joliet with UCS level 3 found/);
  expect(info).toMatch(/Rock Ridge signatures version 1 found/);
  execFileSync('xorriso', ['-osirrox', 'on', '-indev', image, '-extract', '/', out], { stdio: 'ignore' });
  for (const { path, data } of files) expect(readFileSync(join(out, path)).equals(Buffer.from(data))).toBe(true);
  expect(readdirSync(out)).toHaveLength(105);
  execFileSync('chmod', ['-R', 'u+w', out]);
});
