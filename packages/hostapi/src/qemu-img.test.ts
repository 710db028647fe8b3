import { expect, it } from 'vitest';
import { fakeRunner } from './fake-runner.ts';
import { parseImageInfo, qemuImg } from './qemu-img.ts';

const { signal } = new AbortController();

it('reads what an untrusted image refers to', () => {
  const info = parseImageInfo(
    JSON.stringify({
      format: 'qcow2',
      'virtual-size': 1024,
      'actual-size': 512,
      'backing-filename': '/etc/shadow',
      'format-specific': { type: 'qcow2', data: { 'data-file': '/etc/passwd', corrupt: false } },
    }),
  );
  expect(info).toMatchObject({ format: 'qcow2', virtualSizeBytes: 1024, backingFile: '/etc/shadow', dataFile: '/etc/passwd' });
});

it('never lets a path become an option', async () => {
  const runner = fakeRunner();
  const source = '/a,b/disk';
  await qemuImg(runner).convert({ source, sourceFormat: 'qcow2', target: '/t', targetFormat: 'raw' }, signal);
  expect(runner.calls[0]?.argv).toContain(
    'json:{"driver":"qcow2","backing":null,"file":{"driver":"file","filename":"/a,b/disk"}}',
  );
  const relative = qemuImg(runner).info('json:{}', undefined, signal);
  await expect(relative).rejects.toThrow('not absolute');
});

it('keeps the chain of an image of our own when asked', async () => {
  const runner = fakeRunner();
  const options = { source: '/o', sourceFormat: 'qcow2', target: '/t', targetFormat: 'raw', followBacking: true } as const;
  await qemuImg(runner).convert(options, signal);
  expect(runner.calls[0]?.argv).toContain('json:{"driver":"qcow2","file":{"driver":"file","filename":"/o"}}');
});
