import type { BuildStep } from './build-plan.ts';

/** Debian's boot loaders as Microsoft and Debian signed them: a VM has Secure Boot on unless its manifest says otherwise. */
export const SIGNED_BOOT_PACKAGES: readonly string[] = ['shim-signed', 'grub-efi-amd64-signed'];

export interface SignedBoot {
  readonly title: string;
  /** Image of the EFI system partition, already formatted. */
  readonly partition: string;
  /** Directory in which the packages were unpacked. */
  readonly packages: string;
  /** GRUB's first configuration file. */
  readonly config: string;
}

/** Puts shim and GRUB where firmware looks on a disk that it does not know yet, and the configuration where GRUB looks. */
export function signedBootSteps({ title, partition, packages, config }: SignedBoot): BuildStep[] {
  const copy = (from: string, to: string): BuildStep => ({
    kind: 'command',
    title,
    argv: ['mcopy', '-i', partition, from, `::/EFI/${to}`],
  });
  return [
    { kind: 'command', title, argv: ['mmd', '-i', partition, '::/EFI', '::/EFI/BOOT', '::/EFI/debian'] },
    copy(`${packages}/usr/lib/shim/shimx64.efi.signed`, 'BOOT/BOOTX64.EFI'),
    copy(`${packages}/usr/lib/grub/x86_64-efi-signed/grubx64.efi.signed`, 'BOOT/grubx64.efi'),
    copy(config, 'debian/grub.cfg'),
  ];
}
