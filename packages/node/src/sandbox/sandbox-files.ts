import { chown, cp, mkdir, readdir, rm, symlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { HostPrograms } from './host-programs.ts';
import { INSIDE, LOG_DIRECTORY } from './enter-script.ts';

const LIBVIRTD_CONF = `listen_tls=0
auth_unix_rw="none"
auth_unix_ro="none"
log_outputs="3:file:${INSIDE}/${LOG_DIRECTORY}/libvirtd.log"
keepalive_interval=-1
min_workers=1
max_workers=4
prio_workers=1
admin_min_workers=1
admin_max_workers=1
`;

/** The split daemon listens on UNIX sockets alone and refuses keys it does not know. */
const VIRTQEMUD_CONF = LIBVIRTD_CONF.replace('listen_tls=0\n', '');

const QEMU_CONF = `security_driver="none"
security_default_confined=0
dynamic_ownership=0
remember_owner=0
cgroup_controllers=[ ]
namespaces=[ ]
stdio_handler="file"
max_core=0
set_process_name=0
`;

/** Directories that the sandbox's user owns; the one above them belongs to root, so none of them can be exchanged. */
const OWN_DIRECTORIES = [
  'run',
  'run/libvirt',
  'etc',
  'etc/libvirt',
  'cache',
  'cache/libvirt',
  'cache/libvirt/qemu',
  LOG_DIRECTORY,
  'cache/libvirt/qemu/cache',
  'data',
] as const;

export interface SandboxFiles {
  readonly dir: string;
  readonly uid: number;
  readonly hostname: string;
  readonly programs: HostPrograms;
  /** Directory with a seeded capability cache, when there is one. */
  readonly capabilities: string | undefined;
}

/** Makes the private directory anew. */
export async function writeSandboxFiles({ dir, uid, hostname, programs, capabilities }: SandboxFiles): Promise<void> {
  await rm(dir, { recursive: true, force: true });
  await mkdir(dir, { mode: 0o755 });
  for (const name of OWN_DIRECTORIES) {
    await mkdir(join(dir, name), { mode: 0o700 });
  }
  await Promise.all([
    mkdir(join(dir, 'root')),
    mkdir(join(dir, 'drivers')).then(() => symlink(programs.qemuDriver, join(dir, 'drivers/libvirt_driver_qemu.so'))),
    writeFile(join(dir, 'etc-passwd'), `root:x:0:0::/root:/bin/sh\nqemu:x:${uid}:${uid}::${INSIDE}:/bin/false\n`),
    writeFile(join(dir, 'etc-group'), `root:x:0:\nqemu:x:${uid}:\n`),
    // without an entry libvirt asks the name servers for the host name, which may take seconds to fail
    writeFile(join(dir, 'etc-hosts'), `127.0.0.1 localhost ${hostname}\n::1 localhost\n`),
    writeFile(join(dir, 'etc/libvirt/libvirtd.conf'), LIBVIRTD_CONF),
    writeFile(join(dir, 'etc/libvirt/virtqemud.conf'), VIRTQEMUD_CONF),
    writeFile(join(dir, 'etc/libvirt/qemu.conf'), QEMU_CONF),
    capabilities === undefined
      ? undefined
      : cp(capabilities, join(dir, 'cache/libvirt/qemu/cache/capabilities'), { recursive: true, preserveTimestamps: true }),
  ]);
  const cached = capabilities === undefined ? [] : ['cache/libvirt/qemu/cache/capabilities'];
  await Promise.all([...OWN_DIRECTORIES, ...cached].map((name) => chown(join(dir, name), uid, uid)));
  await chownFiles(dir, uid, cached[0]);
}

async function chownFiles(dir: string, uid: number, cached: string | undefined): Promise<void> {
  const names = cached === undefined ? [] : await readdir(join(dir, cached));
  await Promise.all(names.map((name) => chown(join(dir, cached ?? '', name), uid, uid)));
}
