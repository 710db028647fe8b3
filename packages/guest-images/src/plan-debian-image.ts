import type { BuildPlan, BuildStep } from './build-plan.ts';
import { SIGNED_BOOT_PACKAGES, signedBootSteps } from './signed-boot.ts';

const BASE = 'systemd-sysv udev dbus ifupdown iproute2 isc-dhcp-client netbase ca-certificates'.split(' ');
const PACKAGES = (
  'linux-image-cloud-amd64 cloud-init qemu-guest-agent openssh-server cloud-guest-utils e2fsprogs sudo curl procps less ' +
  'iputils-ping'
).split(' ');

const ESP_MIB = 8;
const DISK_MIB = 1280;

// Four host keys and a locale cost half a minute under software emulation.
const CLOUD_CONFIG = `datasource_list: [NoCloud, ConfigDrive, None]
ssh_genkeytypes: [ed25519]
locale: false
`;

const GRUB = `search --label --set=root root
linux /vmlinuz root=LABEL=root ro console=tty0 console=ttyS0,115200 quiet
initrd /initrd.img
boot
`;

/** Debian 12 with real cloud-init, guest agent and ssh server. Needs root: packages are configured inside the new system. */
export function planDebianImage(): BuildPlan {
  return {
    tools: [
      { program: 'debootstrap', package: 'debootstrap' },
      { program: 'grub-mkimage', package: 'grub-common' },
      { program: 'mkfs.vfat', package: 'dosfstools' },
      { program: 'mcopy', package: 'mtools' },
      { program: 'mke2fs', package: 'e2fsprogs' },
    ],
    results: { raw: 'disk.raw', kernel: 'vmlinuz', initrd: 'initrd.gz' },
    steps: [...systemSteps(), ...configurationSteps(), ...bootSteps(), ...diskSteps()],
  };
}

/** In its own mount and process namespaces: nothing stays mounted and nothing keeps running, however it ends. */
const inside = (command: string): [string, ...string[]] => [
  ...(['unshare', '--mount', '--pid', '--fork', '--kill-child', '--mount-proc=root/proc', 'chroot', 'root'] as const),
  ...['env', 'DEBIAN_FRONTEND=noninteractive', 'PATH=/usr/sbin:/usr/bin:/sbin:/bin', 'sh', '-ec', command],
];

function systemSteps(): BuildStep[] {
  return [
    { kind: 'debootstrap', title: 'Install the base system', suite: 'bookworm', include: BASE, target: 'root' },
    // Services must not start while they are installed.
    { kind: 'file', title: 'Install packages', path: 'root/usr/sbin/policy-rc.d', content: '#!/bin/sh\nexit 101\n', mode: 0o755 },
    {
      kind: 'command',
      title: 'Install the kernel, cloud-init and the guest agent',
      argv: inside(`apt-get -q update; apt-get -q -y install --no-install-recommends ${PACKAGES.join(' ')}; apt-get clean`),
    },
  ];
}

function configurationSteps(): BuildStep[] {
  const title = 'Configure the system';
  return [
    { kind: 'file', title, path: 'root/etc/cloud/cloud.cfg.d/90_slipway.cfg', content: CLOUD_CONFIG },
    { kind: 'file', title, path: 'root/etc/fstab', content: 'LABEL=root / ext4 defaults,errors=remount-ro 0 1\n' },
    { kind: 'file', title, path: 'root/etc/hostname', content: 'debian\n' },
    { kind: 'file', title, path: 'root/etc/hosts', content: '127.0.0.1 localhost\n::1 localhost\n' },
    {
      kind: 'command',
      title,
      // What makes one machine different from another is made anew at the first boot.
      argv: inside(
        'systemctl enable serial-getty@ttyS0.service; rm -rf /var/lib/apt/lists/* /etc/ssh/ssh_host_* /usr/sbin/policy-rc.d ' +
          '/var/log/*.log /var/lib/dbus/machine-id /etc/resolv.conf; : > /etc/machine-id; : > /etc/resolv.conf',
      ),
    },
    { kind: 'kernel', title: 'Take the kernel', boot: 'root/boot', path: 'vmlinuz', initrd: 'initrd.gz' },
  ];
}

function bootSteps(): BuildStep[] {
  const title = 'Make the boot loader';
  const format = 'i386-pc';
  const modules = ['biosdisk', 'part_msdos', 'ext2', 'linux', 'normal', 'echo', 'search', 'search_label'];
  return [
    {
      kind: 'packages',
      title: 'Download the boot loader',
      names: ['grub-pc-bin', ...SIGNED_BOOT_PACKAGES],
      withLibraries: [],
      target: 'grub',
    },
    { kind: 'file', title, path: 'boot.cfg', content: GRUB },
    {
      kind: 'command',
      title,
      argv: [
        ...(['grub-mkimage', '-d', `grub/usr/lib/grub/${format}`, '-O', format] as const),
        ...['-p', '/', '-c', 'boot.cfg', '-o', 'core.img', ...modules],
      ],
    },
    { kind: 'command', title, argv: ['truncate', '-s', `${ESP_MIB}M`, 'esp.img'] },
    { kind: 'command', title, argv: ['mkfs.vfat', '-n', 'ESP', '-i', '51197702', '--invariant', 'esp.img'] },
    ...signedBootSteps({ title, partition: 'esp.img', packages: 'grub', config: 'boot.cfg' }),
  ];
}

function diskSteps(): BuildStep[] {
  const rootMiB = DISK_MIB - 1 - ESP_MIB;
  const startMiB = 1 + ESP_MIB;
  return [
    { kind: 'command', title: 'Write the root file system', argv: ['truncate', '-s', `${DISK_MIB}M`, 'disk.raw'] },
    {
      kind: 'command',
      title: 'Write the root file system',
      // straight into the disk: no loop device, no copy
      argv: [
        'mke2fs',
        '-q',
        '-F',
        '-t',
        'ext4',
        '-L',
        'root',
        '-d',
        'root',
        '-E',
        `offset=${startMiB * 1024 * 1024}`,
        'disk.raw',
        `${rootMiB * 1024}k`,
      ],
    },
    {
      kind: 'disk',
      title: 'Write the disk',
      path: 'disk.raw',
      layout: {
        sizeMiB: DISK_MIB,
        bootImage: 'grub/usr/lib/grub/i386-pc/boot.img',
        coreImage: 'core.img',
        partitions: [
          { image: 'esp.img', startMiB: 1, sizeMiB: ESP_MIB, type: 0xef, active: true },
          { startMiB, sizeMiB: rootMiB, type: 0x83, active: false },
        ],
      },
    },
  ];
}
