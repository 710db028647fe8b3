import { type ImageServer, serveImages } from '@slipway/daemon';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { enableGates, type GuestShell, guestShell, shellVm } from './src/guest-shell.ts';
import { guestImage, type Platform, startPlatform } from './src/platform.ts';

interface Vmi {
  status?: { phase?: string; reason?: string; conditions?: { type: string; status: string; message?: string }[] };
}

const UUID = '5d307ca9-b3ef-428c-8861-06e72d69f223';
const EFI = { bootloader: { efi: { secureBoot: false } } };
const emptyDisk = (name: string): object => ({ name, emptyDisk: { capacity: '16Mi' } });

const objects: readonly object[] = [
  { apiVersion: 'v1', kind: 'ConfigMap', metadata: { name: 'conf' }, data: { greeting: 'from-a-config-map' } },
  { apiVersion: 'v1', kind: 'ConfigMap', metadata: { name: 'answers' }, data: { 'autounattend.xml': '<unattend/>' } },
  { apiVersion: 'v1', kind: 'Secret', metadata: { name: 'token' }, stringData: { token: 'from-a-secret' } },
];

/** Every device of a guest that costs no boot of its own, in one guest; it ends by a panic. */
const everything = (url: string): object =>
  shellVm('full', url, {
    runStrategy: 'Once',
    spec: { hostname: 'full-host', subdomain: 'lab' },
    domain: {
      ioThreadsPolicy: 'auto',
      cpu: { cores: 2 },
      firmware: { serial: 'serial-1', uuid: UUID, bootloader: { bios: { useSerial: true } } },
      chassis: { manufacturer: 'Acme', asset: 'asset-1' },
      clock: { utc: { offsetSeconds: 3600 }, timer: { hpet: { present: true }, rtc: { tickPolicy: 'catchup' } } },
    },
    devices: {
      blockMultiQueue: true,
      networkInterfaceMultiqueue: true,
      rng: {},
      tpm: {},
      sound: { name: 'audio', model: 'ich9' },
      watchdog: { name: 'dog', i6300esb: { action: 'reset' } },
      panicDevices: [{ model: 'pvpanic' }],
      downwardMetrics: {},
      inputs: [
        { name: 'tablet', type: 'tablet', bus: 'usb' },
        { name: 'virtio-tablet', type: 'tablet', bus: 'virtio' },
      ],
      filesystems: ['conf-share', 'token-share'].map((name) => ({ name, virtiofs: {} })),
    },
    disks: [
      { name: 'd-sata', serial: 'sata-serial', disk: { bus: 'sata' } },
      { name: 'd-scsi', serial: 'scsi-serial', disk: { bus: 'scsi' }, cache: 'writeback' },
      { name: 'd-usb', serial: 'usb-serial', disk: { bus: 'usb' } },
      {
        ...{ name: 'd-virtio', serial: 'virtio-serial', disk: { bus: 'virtio' }, dedicatedIOThread: true },
        ...{ blockSize: { custom: { logical: 4096, physical: 4096 } }, cache: 'none', io: 'threads', errorPolicy: 'report' },
      },
      { name: 'conf-disc', cdrom: { bus: 'sata' } },
      { name: 'answers', cdrom: { bus: 'scsi' } },
      { name: 'metrics', disk: { bus: 'virtio' } },
    ],
    volumes: [
      ...['d-sata', 'd-scsi', 'd-usb', 'd-virtio'].map(emptyDisk),
      { name: 'conf-disc', configMap: { name: 'conf', volumeLabel: 'settings' } },
      { name: 'answers', sysprep: { configMap: { name: 'answers' } } },
      { name: 'metrics', downwardMetrics: {} },
      { name: 'conf-share', configMap: { name: 'conf' } },
      { name: 'token-share', secret: { secretName: 'token' } },
    ],
  });

/** Instances that ask for what no node here has: what their condition says, or their events. */
const unmet: readonly (readonly [name: string, domain: object, text: RegExp])[] = [
  ['sev', { firmware: EFI, launchSecurity: { sev: {} } }, /needs a node with an AMD processor with SEV/],
  ['snp', { firmware: EFI, launchSecurity: { snp: {} } }, /SEV-SNP/],
  ['tdx', { firmware: EFI, launchSecurity: { tdx: {} } }, /Intel processor with TDX/],
  ['dedicated', { cpu: { cores: 1, dedicatedCpuPlacement: true } }, /dedicated CPUs/],
  ['gibibytes', { memory: { guest: '1Gi', hugepages: { pageSize: '1Gi' } } }, /hugepages-1Gi: huge pages: reserve them/],
  ['gpu', { devices: { gpus: [{ name: 'gpu', deviceName: 'example.org/GPU' }] } }, /GPU example\.org\/GPU is not permitted/],
];

const instance = (name: string, domain: object): object => ({
  ...{ apiVersion: 'kubevirt.io/v1', kind: 'VirtualMachineInstance', metadata: { name, namespace: 'default' } },
  spec: { terminationGracePeriodSeconds: 0, domain: { memory: { guest: '64Mi' }, devices: {}, ...domain } },
});

describe('devices', () => {
  let platform: Platform;
  let images: ImageServer;
  let guest: GuestShell;

  beforeAll(async () => {
    const { qcow2Path } = await guestImage('tiny-generic');
    images = await serveImages({ '/disk.qcow2': qcow2Path });
    platform = await startPlatform();
    await enableGates(platform, 'DownwardMetrics', 'WorkloadEncryptionTDX');
    for (const object of objects) await platform.apply(object);
    await platform.apply(everything(`${images.url}/disk.qcow2`));
    guest = await guestShell(platform, 'full');
  }, 480_000);

  afterAll(async () => {
    await images?.close();
    await platform?.destroy();
  });

  it('shows disks on every bus with their serial numbers, block sizes and queues', async () => {
    const bySerial =
      'for b in /sys/block/*; do n=${b##*/}; s=$(cat $b/serial 2>/dev/null || tail -c +5 $b/device/vpd_pg80 2>/dev/null); ' +
      'echo "$s $(readlink -f $b | grep -oE "ata[0-9]+/|usb[0-9]|virtio[0-9]+/(host|block)" | head -n 1) ' +
      'lbs=$(cat $b/queue/logical_block_size) queues=$(ls $b/mq | wc -l)"; done; cat /sys/bus/usb/devices/*/serial';
    const seen = await guest.run(bySerial);
    expect(seen).toMatch(/sata-serial +ata\d+\/ lbs=512/);
    expect(seen).toMatch(/scsi-serial +virtio\d+\/host lbs=512 queues=2/);
    expect(seen).toMatch(/usb\d lbs=512/);
    expect(seen).toContain('usb-serial');
    expect(seen).toMatch(/virtio-serial virtio\d+\/block lbs=4096 queues=2/);
    const written = await guest.run(
      'for d in sda sdb sdc; do echo data-of-$d | dd of=/dev/$d conv=sync,fsync 2>/dev/null && head -c 11 /dev/$d; echo; done',
    );
    expect(written.trim().split('\n')).toEqual(['data-of-sda', 'data-of-sdb', 'data-of-sdc']);
  });

  it('reads its discs: a ConfigMap with its label and the answers of a setup', async () => {
    const seen = await guest.run(
      'mkdir -p /m; for d in sr0 sr1; do dd if=/dev/$d bs=1 skip=32808 count=10 2>/dev/null; mount -o ro /dev/$d /m && ls /m; umount /m; done',
    );
    expect(seen).toMatch(/settings/);
    expect(seen).toMatch(/greeting/);
    expect(seen).toMatch(/unattendCD\s*autounattend\.xml/);
  });

  it('shares a ConfigMap and a Secret as directories, which it cannot write', async () => {
    const seen = await guest.run(
      'for n in conf-share token-share; do mkdir -p /$n; mount -t virtiofs $n /$n; cat /$n/*; echo; echo x > /$n/own || echo refused; done',
    );
    expect(seen).toMatch(/from-a-config-map[\s\S]*refused[\s\S]*from-a-secret[\s\S]*refused/);
  });

  it('has every other device, and they work', async () => {
    const seen = await guest.run(
      [
        'modprobe -a hid-generic; ls /dev/watchdog0 /dev/snd/pcmC0D0p; cat /sys/class/tpm/tpm0/tpm_version_major',
        'cat /sys/class/misc/hw_random/rng_current; head -c 8 /dev/hwrng | wc -c; ls /sys/class/net/eth0/queues | wc -l',
        'until grep -q "USB Tablet" /proc/bus/input/devices; do sleep 0.2; done; grep -h Name /proc/bus/input/devices',
        'ls -d /sys/bus/acpi/devices/QEMU0001:00; dmesg | grep -i "free page reporting"; nproc',
      ].join('\n'),
    );
    expect(seen).toMatch(/\/dev\/snd\/pcmC0D0p[\s\S]*\/dev\/watchdog0[\s\S]*\n2\nvirtio_rng\.0\n8\n4\n/);
    expect(seen).toContain('QEMU Virtio Tablet');
    expect(seen).toContain('QEMU0001:00');
    expect(seen).toMatch(/Free page reporting enabled\n2\n/);
  });

  it('knows its name, numbers and clock', async () => {
    const seen = await guest.run(
      'cd /sys/class/dmi/id; cat product_serial product_uuid sys_vendor chassis_vendor chassis_asset_tag; hostname; ' +
        'cat /sys/devices/system/clocksource/clocksource0/available_clocksource; cat /sys/class/rtc/rtc0/since_epoch',
    );
    expect(seen.split('\n').slice(0, 6)).toEqual(['serial-1', UUID, 'KubeVirt', 'Acme', 'asset-1', 'full-host']);
    expect(seen).toMatch(/\bhpet\b/);
    const aheadSeconds = Number(seen.trim().split('\n').at(-1)) - Date.now() / 1000;
    expect(Math.round(aheadSeconds / 600) * 600).toBe(3600);
  });

  it('is told of its host by disk and port', async () => {
    const seen = await guest.run(
      'for b in /sys/block/vd?; do d=/dev/${b##*/}; [ "$(head -c 4 $d)" = mvbd ] && dd if=$d bs=256k count=1 2>/dev/null | tail -c +17 | tr -d "\\0"; done; ' +
        'for p in /sys/class/virtio-ports/*; do [ "$(cat $p/name)" = org.github.vhostmd.1 ] && port=/dev/${p##*/}; done; ' +
        'exec 3<>$port; printf "GET /metrics/XML\\n\\n" >&3; while read -r line <&3; do echo "port: $line"; [ "$line" = "</metrics>" ] && break; done',
    );
    expect(seen).toMatch(/<metrics>[\s\S]*<name>HostName<\/name>\s+<value>[^<]+<\/value>[\s\S]*<\/metrics>/);
    expect(seen).toMatch(
      /port: <metrics>[\s\S]*port: <name>PhysicalMemoryAllocatedToVirtualSystem<\/name>\nport: <value>262144</,
    );
  });

  it('are refused with a reason when no node has them', async () => {
    for (const [name, domain] of unmet) await platform.apply(instance(name, domain));
    for (const [name, , text] of unmet) {
      const says = ({ status }: Vmi): boolean => (status?.conditions ?? []).some(({ message }) => text.test(message ?? ''));
      await platform.until<Vmi>(`vmi ${name}`, says);
      expect(await platform.kubectl('describe', 'vmi', name)).toMatch(text);
    }
    await platform.kubectl('delete', 'vmi', ...unmet.map(([name]) => name));
  });

  it('says why when its kernel panics', async () => {
    await guest.run('(sleep 1; echo c > /proc/sysrq-trigger) >/dev/null 2>&1 &');
    const vmi = await platform.until<Vmi>('vmi full', ({ status }) => status?.phase === 'Failed', 90_000);
    expect(vmi.status?.reason).toBe('GuestPanicked');
    expect(await platform.kubectl('get', 'events')).toContain('its kernel panicked');
  });
});
