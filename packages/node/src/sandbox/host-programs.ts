import { existsSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { HostError } from '@slipway/hostapi';

/** Programs and libraries of this host that guests need. */
export interface HostPrograms {
  /** The libvirt daemon for QEMU: the split one where it exists, else the monolithic one. */
  readonly daemon: string;
  /** Name of its socket below the run directory. */
  readonly socketName: string;
  readonly configName: string;
  /** Shared object of libvirt's QEMU driver: the only one a sandbox loads. */
  readonly qemuDriver: string;
  readonly qemu: string;
  /** Shares directories with guests. Absent when it is not installed. */
  readonly virtiofsd?: string;
}

const BINARY_DIRECTORIES = ['/usr/sbin', '/usr/bin', '/usr/libexec', '/usr/lib/qemu', '/usr/local/sbin', '/usr/local/bin'];
const LIBRARY_ROOTS = ['/usr/lib', '/usr/lib64', '/usr/local/lib'];
const DRIVER = 'libvirt/connection-driver/libvirt_driver_qemu.so';

function findBinary(...names: readonly string[]): string | undefined {
  return names.flatMap((name) => BINARY_DIRECTORIES.map((directory) => join(directory, name))).find((path) => existsSync(path));
}

function findDriver(): string | undefined {
  const nested = readdirSync('/usr/lib', { withFileTypes: true }).filter((entry) => entry.isDirectory());
  const roots = [...LIBRARY_ROOTS, ...nested.map(({ name }) => join('/usr/lib', name))];
  return roots.map((root) => join(root, DRIVER)).find((path) => existsSync(path));
}

/** Throws HostError with the remedy when QEMU or libvirt is missing. */
export function findHostPrograms(): HostPrograms {
  const qemu = findBinary('qemu-system-x86_64', 'qemu-kvm');
  if (qemu === undefined)
    throw new HostError('QEMU is not installed: install qemu-system-x86', { command: 'qemu-system-x86_64' });
  const qemuDriver = findDriver();
  const virtiofsd = findBinary('virtiofsd');
  const split = findBinary('virtqemud');
  const daemon = split ?? findBinary('libvirtd');
  if (daemon === undefined || qemuDriver === undefined)
    throw new HostError('libvirt is not installed: install libvirt-daemon and libvirt-daemon-driver-qemu', {
      command: 'libvirtd',
    });
  return {
    qemu,
    ...(virtiofsd !== undefined && { virtiofsd }),
    qemuDriver,
    daemon,
    socketName: split === undefined ? 'libvirt-sock' : 'virtqemud-sock',
    configName: split === undefined ? 'libvirtd.conf' : 'virtqemud.conf',
  };
}
