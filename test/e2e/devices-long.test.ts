import { execFileSync } from 'node:child_process';
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { type ImageServer, serveImages } from '@slipway/daemon';
import { TINY_KERNEL_ARGUMENTS } from '@slipway/guest-images';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { bootableDisc, registryFiles, unsignedDisk } from './src/boot-media.ts';
import { MOUNT_EFI, readEfi, writeEfi } from './src/efi-commands.ts';
import { enableGates, guestShell, shellVm, SHELL_USER_DATA } from './src/guest-shell.ts';
import { guestImage, type Platform, startPlatform } from './src/platform.ts';
import { tpm, TPM_DEFINE, TPM_READ, TPM_WRITE } from './src/tpm-commands.ts';

/** `SLIPWAY_E2E_LONG=1`: some ten boots. */
const isLong = process.env['SLIPWAY_E2E_LONG'] === '1';
const HUGE_PAGES = '/proc/sys/vm/nr_hugepages';
const WAIT_MS = 240_000;

interface Vmi {
  metadata: { uid: string };
  status?: {
    phase?: string;
    reason?: string;
    conditions?: { type: string; status: string; reason?: string; message?: string }[];
  };
}
const condition = (vmi: Vmi, type: string) => vmi.status?.conditions?.find((entry) => entry.type === type);

/** Threads that the QEMU of this domain has for disks. */
function ioThreadsOf(domain: string): number {
  const pid = readdirSync('/proc').find((name) => /^\d+$/.test(name) && commandOf(name).includes(`guest=${domain},`));
  if (pid === undefined) throw new Error(`There is no QEMU of ${domain}`);
  const names = readdirSync(`/proc/${pid}/task`).map((task) => readFileSync(`/proc/${pid}/task/${task}/comm`, 'utf8'));
  return names.filter((name) => name.startsWith('IO iothread')).length;
}

function commandOf(pid: string): string {
  try {
    return readFileSync(`/proc/${pid}/cmdline`, 'utf8');
  } catch {
    return ''; // ended meanwhile
  }
}

describe.runIf(isLong)('devices that need a boot of their own', () => {
  let platform: Platform;
  let images: ImageServer;
  let url: string;
  let media: string;
  let hugePagesBefore = '';

  beforeAll(async () => {
    hugePagesBefore = readFileSync(HUGE_PAGES, 'utf8');
    writeFileSync(HUGE_PAGES, String(Number(hugePagesBefore) + 140));
    media = mkdtempSync('/tmp/sw-e2e-media-');
    const image = JSON.parse(JSON.stringify(await guestImage('tiny-generic'))) as Record<string, string>;
    const { rawPath = '', qcow2Path = '', kernelPath = '', initrdPath = '' } = image;
    unsignedDisk(rawPath, join(media, 'unsigned.raw'));
    const discArguments = `${TINY_KERNEL_ARGUMENTS} slipway.disc=1`;
    bootableDisc(media, join(media, 'boot.iso'), { path: kernelPath, initrd: initrdPath, arguments: discArguments });
    images = await serveImages({
      '/disk.qcow2': qcow2Path,
      '/unsigned.raw': join(media, 'unsigned.raw'),
      '/boot.iso': join(media, 'boot.iso'),
      ...registryFiles(media, { vmlinuz: kernelPath, 'initrd.gz': initrdPath }),
    });
    url = `${images.url}/disk.qcow2`;
    platform = await startPlatform();
    await enableGates(platform, 'EnableVirtioFsStorageVolumes', 'VSOCK');
  }, 480_000);

  afterAll(async () => {
    writeFileSync(HUGE_PAGES, hugePagesBefore);
    rmSync(media, { recursive: true, force: true });
    await images?.close();
    await platform?.destroy();
  });

  const remove = (name: string): Promise<string> => platform.kubectl('delete', 'vm', name, '--timeout=120s');

  it('boots a signed loader with secure boot, and keeps EFI variables and the TPM over a restart', async () => {
    const networkData = JSON.stringify({ links: [], networks: [], services: [] });
    await platform.apply(
      shellVm('efi', url, {
        memory: '512Mi',
        domain: {
          features: { smm: { enabled: true } },
          firmware: { bootloader: { efi: { secureBoot: true, persistent: true } } },
        },
        devices: { tpm: { persistent: true } },
        seed: { cloudInitConfigDrive: { userData: SHELL_USER_DATA, networkData } },
      }),
    );
    const guest = await guestShell(platform, 'efi', '', 2 * WAIT_MS);
    const before = await guest.run(
      [
        `${MOUNT_EFI}; tail -c 1 /sys/firmware/efi/efivars/SecureBoot-* | xxd -p`,
        `${writeEfi('Kept', 'kept-efi')}; ${readEfi('Kept')}`,
        ...[TPM_DEFINE, TPM_WRITE, TPM_READ].map(tpm),
        'mkdir -p /m; mount -o ro /dev/vdb /m; cat /m/openstack/latest/network_data.json; grep -o "efi.default" /m/openstack/latest/meta_data.json',
      ].join('\n'),
    );
    const kept = Buffer.from('kept-tpm').toString('hex');
    expect(before).toMatch(/^01\nkept-efi\n/);
    expect(before).toContain(kept);
    expect(before).toContain(networkData);
    expect(before).toContain('efi.default');
    await platform.slipway('virt', 'restart', 'efi');
    const again = await guestShell(platform, 'efi', guest.instanceUid, 2 * WAIT_MS);
    const after = await again.run(`${MOUNT_EFI}; ${readEfi('Kept')}; ${tpm(TPM_READ)}`);
    expect(after).toMatch(/^kept-efi\n/);
    expect(after).toContain(kept);
    await remove('efi');
    // the state goes with its VM
    await platform.until<{ items: unknown[] }>('pvc -l persistent-state-for=efi', ({ items }) => items.length === 0, 120_000);
  }, 1_500_000);

  it('says that secure boot refused a loader whose signature is wrong', async () => {
    await platform.apply(
      shellVm('unsigned', `${images.url}/unsigned.raw`, {
        memory: '512Mi',
        domain: { features: { smm: { enabled: true } }, firmware: { bootloader: { efi: {} } } },
      }),
    );
    const isRefused = (vmi: Vmi): boolean => condition(vmi, 'SecureBootRefused')?.status === 'True';
    const vmi = await platform.until<Vmi>('vmi unsigned', isRefused, WAIT_MS);
    expect(condition(vmi, 'SecureBootRefused')?.message).toMatch(/Secure boot refused Boot\d+.*not signed/);
    expect(condition(vmi, 'AgentConnected')).toBeUndefined();
    await remove('unsigned');
  }, 600_000);

  it('boots a kernel from a container image, with its arguments', async () => {
    const registry = images.url.replace('http://', '');
    await platform.kubectl(
      ...['-n', 'openshift-cnv', 'patch', 'hco', 'kubevirt-hyperconverged', '--type=merge'],
      ...['-p', JSON.stringify({ spec: { storageImport: { insecureRegistries: [registry] } } })],
    );
    await platform.until<{ spec?: { insecureRegistries?: string[] } }>(
      'cdiconfig config',
      ({ spec }) => spec?.insecureRegistries?.includes(registry) === true,
    );
    const container = { image: `${registry}/boot/files:1`, kernelPath: '/boot/vmlinuz', initrdPath: '/boot/initrd.gz' };
    const kernelArgs = `${TINY_KERNEL_ARGUMENTS} slipway.mark=1`;
    await platform.apply(shellVm('kernel', url, { domain: { firmware: { kernelBoot: { kernelArgs, container } } } }));
    const guest = await guestShell(platform, 'kernel', '', WAIT_MS);
    expect(await guest.run('cat /proc/cmdline')).toContain('slipway.mark=1');
    await remove('kernel');
  }, 600_000);

  it('boots a disc before a disk, as the boot order says, and shares a claim that keeps its files', async () => {
    const claim = (name: string, source: object): object => ({
      ...{ apiVersion: 'cdi.kubevirt.io/v1beta1', kind: 'DataVolume', metadata: { name, namespace: 'default' } },
      spec: { source, storage: { resources: { requests: { storage: '64Mi' } } } },
    });
    await platform.apply(claim('disc', { http: { url: `${images.url}/boot.iso` } }));
    await platform.apply(claim('shared', { blank: {} }));
    const withShare = (name: string, extra: object): object =>
      shellVm(name, url, {
        devices: { filesystems: [{ name: 'shared', virtiofs: {} }], watchdog: { name: 'dog', i6300esb: { action: 'poweroff' } } },
        ...extra,
      });
    const vm = withShare('disc', {
      runStrategy: 'Once',
      disks: [{ name: 'disc', bootOrder: 1, cdrom: { bus: 'sata' } }],
      volumes: [
        { name: 'disc', dataVolume: { name: 'disc' } },
        { name: 'shared', dataVolume: { name: 'shared' } },
      ],
    }) as { spec: { template: { spec: { domain: { devices: { disks: { bootOrder?: number }[] } } } } } };
    const [root] = vm.spec.template.spec.domain.devices.disks;
    if (root) root.bootOrder = 2;
    await platform.apply(vm);
    const guest = await guestShell(platform, 'disc', '', WAIT_MS);
    expect(await guest.run('cat /proc/cmdline; mkdir /s; mount -t virtiofs shared /s && echo kept > /s/file; sync')).toContain(
      'slipway.disc=1',
    );
    await guest.run('(sleep 1; busybox watchdog -T 1 -t 100 /dev/watchdog) >/dev/null 2>&1 &');
    const dead = await platform.until<Vmi>('vmi disc', ({ status }) => status?.phase === 'Failed', WAIT_MS);
    expect(dead.status?.reason).toBe('GuestWatchdogExpired');
    await remove('disc');
    await platform.apply(withShare('reader', { volumes: [{ name: 'shared', dataVolume: { name: 'shared' } }] }));
    const reader = await guestShell(platform, 'reader', '', WAIT_MS);
    expect(await reader.run('mkdir /s; mount -t virtiofs shared /s; cat /s/file')).toBe('kept\n');
    await remove('reader');
  }, 1_200_000);

  it('gives a guest huge pages where the host has reserved some', async () => {
    const memory = { guest: '256Mi', hugepages: { pageSize: '2Mi' } };
    await platform.apply(shellVm('huge', url, { domain: { memory } }));
    await guestShell(platform, 'huge', '', WAIT_MS);
    const free = Number(/HugePages_Free:\s+(\d+)/.exec(readFileSync('/proc/meminfo', 'utf8'))?.[1]);
    const total = Number(/HugePages_Total:\s+(\d+)/.exec(readFileSync('/proc/meminfo', 'utf8'))?.[1]);
    expect(total - free).toBeGreaterThan(20);
    await remove('huge');
  }, 600_000);

  it.each([
    ['shared', {}, 1],
    ['auto', {}, 2],
    ['supplementalPool', { ioThreads: { supplementalPoolThreadCount: 3 } }, 3],
  ])(
    'starts the IO threads of policy %s',
    async (ioThreadsPolicy, more, count) => {
      const name = `io-${ioThreadsPolicy.toLowerCase()}`;
      const scratch = ['a', 'b'];
      await platform.apply({
        ...{ apiVersion: 'kubevirt.io/v1', kind: 'VirtualMachineInstance', metadata: { name, namespace: 'default' } },
        spec: {
          terminationGracePeriodSeconds: 0,
          domain: {
            ...{ memory: { guest: '64Mi' }, ioThreadsPolicy, ...more },
            devices: { disks: scratch.map((disk) => ({ name: disk, disk: { bus: 'virtio' } })) },
          },
          volumes: scratch.map((disk) => ({ name: disk, emptyDisk: { capacity: '16Mi' } })),
        },
      });
      await platform.until<Vmi>(`vmi ${name}`, ({ status }) => status?.phase === 'Running', WAIT_MS);
      expect(ioThreadsOf(`default_${name}`)).toBe(count);
      await platform.kubectl('delete', 'vmi', name, '--timeout=120s');
    },
    300_000,
  );

  it('stops or tells the guest when the storage is full, as each disk says', async () => {
    const podVolumes = join(platform.dataDir, 'nodes', readdirSync(join(platform.dataDir, 'nodes'))[0] ?? '', 'podvolumes');
    execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=24m,mode=711', 'tmpfs', podVolumes]);
    try {
      const disk = (name: string, errorPolicy: string): object => ({
        ...{ name, serial: name, disk: { bus: 'virtio' }, cache: 'writethrough', errorPolicy },
      });
      await platform.apply(
        shellVm('full', url, {
          disks: [disk('report', 'report'), disk('stop', 'stop')],
          volumes: ['report', 'stop'].map((name) => ({ name, emptyDisk: { capacity: '64Mi' } })),
        }),
      );
      const guest = await guestShell(platform, 'full', '', WAIT_MS);
      const write = (serial: string): string =>
        `for b in /sys/block/vd?; do [ "$(cat $b/serial)" = ${serial} ] && dd if=/dev/zero of=/dev/\${b##*/} bs=1M count=40 conv=fsync; done; echo over`;
      expect(await guest.run(write('report'))).toMatch(/error[\s\S]*over/i);
      await guest.run(`(sleep 1; ${write('stop')}) >/tmp/stop.log 2>&1 &`);
      const isStopped = (vmi: Vmi): boolean => condition(vmi, 'Paused')?.reason === 'PausedIOError';
      await platform.until<Vmi>('vmi full', isStopped, WAIT_MS);
      execFileSync('mount', ['-o', 'remount,size=256m', podVolumes]);
      await platform.slipway('virt', 'unpause', 'vmi', 'full');
      await platform.until<Vmi>('vmi full', (vmi) => condition(vmi, 'Paused') === undefined, WAIT_MS);
      expect(await guest.run('until grep -q over /tmp/stop.log; do sleep 0.2; done; cat /tmp/stop.log')).not.toMatch(/error/i);
      await remove('full');
    } finally {
      execFileSync('umount', ['-l', podVolumes]);
    }
  }, 900_000);
});
