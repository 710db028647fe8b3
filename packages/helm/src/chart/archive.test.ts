import { gunzipSync, gzipSync } from 'node:zlib';
import { chartPackage, tgz, type TarMember } from '@slipway/testkit';
import { describe, expect, it } from 'vitest';
import { readArchive } from './archive.ts';
import { textOfFile } from './chart.ts';
import { loadChart } from './load.ts';

const LONG = `templates/${'a'.repeat(120)}/${'b'.repeat(120)}.yaml`;

describe('a packaged chart', () => {
  it('holds its files without the directory around them', async () => {
    const files = await readArchive(await chartPackage('web', '1.0.0', { 'templates/a.yaml': 'a: 1', [LONG]: 'long: true' }));
    expect(files.map((file) => [file.path, textOfFile(file)])).toEqual([
      ['Chart.yaml', 'apiVersion: v2\nname: web\nversion: 1.0.0\n'],
      ['templates/a.yaml', 'a: 1'],
      [LONG, 'long: true'],
    ]);
  });

  it('may hold packaged charts', async () => {
    const inner = await chartPackage('inner', '2.0.0', { 'values.yaml': 'a: 1' });
    const chart = await loadChart([
      { path: 'Chart.yaml', data: new TextEncoder().encode('apiVersion: v2\nname: outer\nversion: 1.0.0\n') },
      { path: 'charts/inner-2.0.0.tgz', data: inner },
    ]);
    expect(chart.dependencies.map(({ metadata }) => [metadata.name, metadata.version])).toEqual([['inner', '2.0.0']]);
  });

  it.each<[string, readonly TarMember[], string]>([
    ['a path that leads out', [['web/../../etc/passwd', 'x']], 'illegally references parent directory'],
    ['an absolute path', [['/etc/passwd', 'x']], 'illegally references parent directory'],
    ['a path with backslashes', [['web/..\\..\\x', 'x']], 'illegally references parent directory'],
    ['a symbolic link', [[{ name: 'web/values.yaml', type: 'symlink', linkname: '/etc/passwd' }]], 'holds a link'],
    ['a hard link', [[{ name: 'web/values.yaml', type: 'link', linkname: '/etc/passwd' }]], 'holds a link'],
    ['files outside of a directory', [['Chart.yaml', 'x']], 'not in base directory'],
  ])('with %s is refused', async (_name, members, complaint) => {
    await expect(tgz(members).then(readArchive)).rejects.toThrow(complaint);
  });

  it.each<[string, Uint8Array, string]>([
    ['no gzip', Buffer.from('PK'), 'no gzip archive'],
    ['no tar', gzipSync(Buffer.alloc(1024, 'x')), 'no tar archive'],
    ['too large', gzipSync(Buffer.alloc(101 * 1024 * 1024)), 'at most 100 MiB'],
  ])('that is %s is refused', async (_name, data, complaint) => {
    await expect(readArchive(data)).rejects.toThrow(complaint);
  });

  it('that is cut off is refused, and one with a negative size ends', async () => {
    const whole = await tgz([['web/Chart.yaml', 'x'.repeat(5000)]]);
    const tar = gunzipSync(whole);
    await expect(readArchive(gzipSync(tar.subarray(0, 2048)))).rejects.toThrow('no tar archive');
    const negative = Buffer.from(tar);
    negative.write('-0001000\0', 124, 'latin1');
    await expect(readArchive(gzipSync(negative))).rejects.toThrow('no tar archive');
  });
});
