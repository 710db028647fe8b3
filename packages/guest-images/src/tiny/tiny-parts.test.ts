import { execFileSync } from 'node:child_process';
import { describe, expect, it } from 'vitest';
import { planGuestImage } from '../build-guest-image.ts';
import { masterBootRecord } from '../write-disk.ts';
import { cpioArchive } from './cpio-archive.ts';
import { loadOrder, moduleIndexes, moduleName, readModuleInfo } from './kernel-modules.ts';
import { SEED_SCRIPTS } from './seed-scripts.ts';

describe('cpioArchive', () => {
  it('writes what the kernel reads: parents first, aligned, with a trailer', () => {
    const archive = Buffer.from(cpioArchive([{ kind: 'file', path: 'etc/a/hello', mode: 0o755, content: 'hi!' }]));
    const names = [...archive.toString('latin1').matchAll(/070701[0-9A-F]{104}([^\0]+)\0/g)].map((match) => match[1]);
    expect(names).toEqual(['etc', 'etc/a', 'etc/a/hello', 'TRAILER!!!']);
    expect(archive.length % 4).toBe(0);
    expect(archive.toString('latin1')).toContain('000081ED'); // a file with mode 755
  });
});

describe('kernel modules', () => {
  const known = [
    { name: 'virtio', depends: ['virtio_ring'], aliases: [] },
    { name: 'virtio_ring', depends: [], aliases: [] },
    { name: 'virtio_blk', depends: ['virtio', 'virtio_ring'], aliases: ['virtio:d00000002v*'] },
  ];
  const find = (name: string): (typeof known)[number] | undefined => known.find((module) => module.name === name);

  it('come after what they need, and only once', () => {
    expect(loadOrder(['virtio_blk', 'built_in', 'virtio'], find).map(({ name }) => name)).toEqual([
      'virtio_ring',
      'virtio',
      'virtio_blk',
    ]);
  });

  it('are found by the names that modprobe looks for', () => {
    expect(moduleIndexes(known)).toEqual({
      dep: 'virtio.ko: virtio_ring.ko\nvirtio_ring.ko:\nvirtio_blk.ko: virtio.ko virtio_ring.ko\n',
      alias: 'alias virtio:d00000002v* virtio_blk\n',
    });
    expect(moduleName('kernel/drivers/char/hw_random/virtio-rng.ko.xz')).toBe('virtio_rng');
  });

  it('say what they need between zero bytes', () => {
    const content = Buffer.from('\x7fELF\0alias=pci:v1\0depends=virtio-ring,virtio\0name=x\0');
    expect(readModuleInfo('x', content)).toEqual({ name: 'x', depends: ['virtio_ring', 'virtio'], aliases: ['pci:v1'] });
  });
});

describe('masterBootRecord', () => {
  it('keeps the boot code and lists the partitions', () => {
    const record = Buffer.from(
      masterBootRecord(Buffer.alloc(512, 0x90), [{ startMiB: 1, sizeMiB: 40, type: 0xef, active: true }]),
    );
    expect(record.subarray(438, 442).toString('hex')).toBe('90900000');
    expect(record.subarray(446, 462).toString('hex')).toBe('80feffffeffeffff0008000000400100');
    expect(record.readUInt16LE(510)).toBe(0xaa55);
  });
});

describe('planGuestImage', () => {
  it('needs no loop device and no mount outside a namespace of its own', () => {
    for (const kind of ['tiny', 'tiny-generic', 'debian'] as const) {
      const commands = planGuestImage(kind).steps.flatMap((step) => (step.kind === 'command' ? [step.argv] : []));
      expect(commands.filter(([program]) => program === 'mount' || program === 'losetup')).toEqual([]);
    }
  });
});

describe('seed handling of the tiny guest', () => {
  const flatten = (text: string): string =>
    execFileSync('busybox', ['awk', SEED_SCRIPTS[0]?.content ?? ''], { input: text, encoding: 'utf8', timeout: 10_000 });

  it.each([
    ['user: ann\npassword: "a: #1"\n', 'user\tann\npassword\ta: #1\n'],
    [
      'chpasswd: { expire: False, list: [\'a:b\', "c:d"] }\nx: y\n',
      'chpasswd.expire\tFalse\nchpasswd.list.0\ta:b\nchpasswd.list.1\tc:d\nx\ty\n',
    ],
    [
      'runcmd:\n- echo a\n- [sh, -c, "b c"]\n- - ls\n  - -l\n',
      'runcmd.0\techo a\nruncmd.1.0\tsh\nruncmd.1.1\t-c\nruncmd.1.2\tb c\nruncmd.2.0\tls\nruncmd.2.1\t-l\n',
    ],
    [
      'write_files:\n  - path: /a\n    content: |\n      x\n        y\n',
      'write_files.0.path\t/a\nwrite_files.0.content\tx\\n  y\\n\n',
    ],
    ['{"instance-id": "i",\n "public_keys": {"0": "k"}}', 'instance-id\ti\npublic_keys.0\tk\n'],
    ['', ''],
  ])('flattens %j', (text, expected) => {
    expect(flatten(text)).toBe(expected);
  });
});
