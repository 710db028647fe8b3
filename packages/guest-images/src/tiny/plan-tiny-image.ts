import type { BuildPlan, BuildStep, HostTool } from '../build-plan.ts';
import { GUEST_SCRIPTS } from './guest-scripts.ts';
import { SEED_SCRIPTS } from './seed-scripts.ts';
import { SIGNED_BOOT_PACKAGES, signedBootSteps } from '../signed-boot.ts';

const BOOT_MODULES = [
  'virtio_pci',
  'virtio_blk',
  'virtio_net',
  'virtio_console',
  'virtio_scsi',
  'sd_mod',
  'sr_mod',
  'button',
  'evdev',
  'virtio_rng',
  'virtio_balloon',
  'virtio_mem',
  'isofs',
  'vfat',
  'nls_cp437',
  'nls_ascii',
  // ext4 asks for it by name only when it mounts
  'crc32c_generic',
  'ext4',
];

// Devices that Windows-like machines have; the cloud kernel has no drivers for them.
const GENERIC_MODULES = [
  'ahci',
  'ata_piix',
  'e1000',
  'e1000e',
  'igb',
  '8139cp',
  'pcnet32',
  'ne2k_pci',
  'xhci_pci',
  'ehci_pci',
  'uhci_hcd',
  'hid_generic',
  'usbhid',
  'usb_storage',
  'i6300esb',
  'snd_hda_intel',
  'snd_hda_codec_generic',
  'snd_intel8x0',
  'virtio_input',
  'virtiofs',
  'vmw_vsock_virtio_transport',
  'pvpanic_mmio',
  'pvpanic_pci',
  'tpm_tis',
  'tpm_crb',
  'qemu_fw_cfg',
  // a file system: loaded when it is mounted
  'efivarfs',
];

const TOOLS: readonly HostTool[] = [
  { program: 'grub-mkimage', package: 'grub-common' },
  { program: 'mkfs.vfat', package: 'dosfstools' },
  { program: 'mcopy', package: 'mtools' },
  { program: 'mke2fs', package: 'e2fsprogs' },
  { program: 'xz', package: 'xz-utils' },
];

const EARLY_BIOS = 'set root=(hd0,msdos1)\nset prefix=($root)/\nconfigfile /grub.cfg\n';
// The signed GRUB carries a disk in memory with a /grub.cfg of its own: the search is for something it does not have.
const EARLY_EFI = 'search --file --set=root /vmlinuz\nconfigfile ($root)/grub.cfg\n';

/** Kernel command line of the tiny guests, also for a direct kernel boot. */
export const TINY_KERNEL_ARGUMENTS = 'console=tty0 console=ttyS0,115200 quiet loglevel=3 panic=5 rdinit=/init';

const GRUB_CFG = `set timeout=0
linux /vmlinuz ${TINY_KERNEL_ARGUMENTS}
initrd /initrd.gz
boot
`;

const BOOT_MIB = { cloud: 40, generic: 40 } as const;

/** The guest that boots in seconds under software emulation; `generic` has the kernel with SATA, USB and e1000 drivers. */
export function planTinyImage(kernel: 'cloud' | 'generic'): BuildPlan {
  const bootMiB = BOOT_MIB[kernel];
  return {
    tools: TOOLS,
    results: { raw: 'disk.raw', kernel: 'vmlinuz', initrd: 'initrd.gz' },
    steps: [
      {
        kind: 'packages',
        title: 'Download Debian packages',
        names: [
          kernel === 'cloud' ? 'linux-image-cloud-amd64' : 'linux-image-amd64',
          'busybox-static',
          'grub-pc-bin',
          ...SIGNED_BOOT_PACKAGES,
        ],
        withLibraries: ['dropbear-bin', 'qemu-guest-agent'],
        target: 'root',
      },
      { kind: 'kernel', title: 'Take the kernel', boot: 'root/boot', path: 'vmlinuz' },
      {
        kind: 'initrd',
        title: 'Write the initial file system',
        path: 'initrd.gz',
        contents: {
          scripts: [...GUEST_SCRIPTS, ...SEED_SCRIPTS],
          programs: [
            { from: 'usr/sbin/dropbear', to: 'usr/sbin/dropbear' },
            { from: 'usr/sbin/qemu-ga', to: 'usr/sbin/qemu-ga' },
          ],
          bootModules: BOOT_MODULES,
          demandModules: kernel === 'generic' ? GENERIC_MODULES : [],
        },
      },
      ...bootLoaderSteps(),
      ...bootPartitionSteps(bootMiB),
      ...diskSteps(bootMiB),
    ],
  };
}

function bootLoaderSteps(): BuildStep[] {
  const format = 'i386-pc';
  const modules = ['biosdisk', 'part_msdos', 'fat', 'linux', 'normal', 'echo', 'configfile'];
  return [
    { kind: 'file', title: 'Configure the boot loader', path: 'early-bios.cfg', content: EARLY_BIOS },
    { kind: 'file', title: 'Configure the boot loader', path: 'early-efi.cfg', content: EARLY_EFI },
    { kind: 'file', title: 'Configure the boot loader', path: 'grub.cfg', content: GRUB_CFG },
    {
      kind: 'command',
      title: 'Make the boot loader for BIOS',
      argv: [
        ...(['grub-mkimage', '-d', `root/usr/lib/grub/${format}`, '-O', format] as const),
        ...['-p', '(hd0,msdos1)/', '-c', 'early-bios.cfg', '-o', 'core.img', ...modules],
      ],
    },
  ];
}

function bootPartitionSteps(sizeMiB: number): BuildStep[] {
  const title = 'Fill the boot partition';
  return [
    { kind: 'command', title, argv: ['truncate', '-s', `${sizeMiB}M`, 'boot.img'] },
    { kind: 'command', title, argv: ['mkfs.vfat', '-n', 'TINYBOOT', '-i', '51197701', '--invariant', 'boot.img'] },
    { kind: 'command', title, argv: ['mcopy', '-i', 'boot.img', 'vmlinuz', 'initrd.gz', 'grub.cfg', '::/'] },
    ...signedBootSteps({ title, partition: 'boot.img', packages: 'root', config: 'early-efi.cfg' }),
  ];
}

function diskSteps(bootMiB: number): BuildStep[] {
  const dataMiB = 64 - 1 - bootMiB;
  return [
    { kind: 'command', title: 'Make the data partition', argv: ['mkdir', '-p', 'data'] },
    {
      kind: 'command',
      title: 'Make the data partition',
      argv: ['mke2fs', '-q', '-F', '-t', 'ext4', '-L', 'data', '-d', 'data', 'data.img', `${dataMiB}M`],
    },
    {
      kind: 'disk',
      title: 'Write the disk',
      path: 'disk.raw',
      layout: {
        sizeMiB: 64,
        bootImage: 'root/usr/lib/grub/i386-pc/boot.img',
        coreImage: 'core.img',
        partitions: [
          { image: 'boot.img', startMiB: 1, sizeMiB: bootMiB, type: 0xef, active: true },
          { image: 'data.img', startMiB: 1 + bootMiB, sizeMiB: dataMiB, type: 0x83, active: false },
        ],
      },
    },
  ];
}
