import { execFile, spawn } from 'node:child_process';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { hostname } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';

const run = promisify(execFile);
const MAX_WAIT_MS = 60_000;

/** A libvirtd without Slipway, with private directories, as an administrator would run one by hand. */
export interface PlainLibvirt {
  readonly uri: string;
  /** Its private directory. */
  readonly dir: string;
  /** Runs virsh against it; answers what it printed. */
  virsh(...args: string[]): Promise<string>;
  /** Seconds for define and start of the same domain that Slipway makes (two virsh calls), then it is removed. */
  measureCreate(image: string): Promise<number>;
  /** Seconds until `virt-install --import` of the same image returns. */
  measureVirtInstall(image: string): Promise<number>;
  stop(): Promise<void>;
}

const LIBVIRTD_CONF = `listen_tls=0
listen_tcp=0
auth_unix_rw="none"
auth_unix_ro="none"
unix_sock_rw_perms="0770"
log_outputs="3:file:/var/log/libvirt/libvirtd.log"
`;
const QEMU_CONF = `security_driver="none"
user="root"
group="root"
dynamic_ownership=0
remember_owner=0
cgroup_controllers=[ ]
namespaces=[ ]
stdio_handler="file"
max_core=0
set_process_name=0
`;

/**
 * Binds private directories over libvirt's, hides a KVM that cannot run guests, and reaps as PID 1 of its namespace. A
 * read-only file in the place of /dev/kvm is what libvirt takes for no KVM: with a device there it would examine QEMU
 * anew for each guest.
 */
const START = `
mount --bind $D/etc /etc/libvirt && mount --bind $D/var /var/lib/libvirt && mount --bind $D/cache /var/cache/libvirt &&
mount --bind $D/log /var/log/libvirt && mount -t tmpfs -o mode=755 tmpfs /run && mkdir /run/libvirt &&
mount --bind $D/run /run/libvirt && mount --bind $D/hosts /etc/hosts && 
{ [ -z "$HIDE_KVM" ] || [ ! -e /dev/kvm ] || { mount --bind $D/hosts /dev/kvm && mount -o remount,bind,ro /dev/kvm; }; } || exit 1
/usr/sbin/libvirtd -f /etc/libvirt/libvirtd.conf -p /run/libvirt/libvirtd.pid & child=$!
while kill -0 $child 2>/dev/null; do wait; done
`;

export async function startPlainLibvirt(hideKvm: boolean): Promise<PlainLibvirt> {
  const dir = mkdtempSync('/tmp/sw-floor-');
  for (const name of ['etc', 'var', 'cache', 'log', 'run']) mkdirSync(join(dir, name));
  writeFileSync(join(dir, 'etc/libvirtd.conf'), LIBVIRTD_CONF);
  writeFileSync(join(dir, 'etc/qemu.conf'), QEMU_CONF);
  // libvirt looks its own host name up at each start of a guest; where no name server knows it, that takes seconds
  writeFileSync(join(dir, 'hosts'), `127.0.0.1 localhost ${hostname()}\n::1 localhost\n`);
  const daemon = spawn(
    'unshare',
    ['-m', '-p', '-f', '--kill-child', '--mount-proc', '--propagation', 'private', 'sh', '-c', START],
    {
      env: { PATH: '/usr/sbin:/usr/bin:/sbin:/bin', D: dir, HIDE_KVM: hideKvm ? '1' : '' },
      stdio: 'ignore',
    },
  );
  const uri = `qemu+unix:///system?socket=${dir}/run/libvirt-sock`;
  const virsh = (...args: string[]) => run('virsh', ['-q', '-c', uri, ...args]);
  const deadline = Date.now() + MAX_WAIT_MS;
  while (
    !(await virsh('version').then(
      () => true,
      () => false,
    ))
  ) {
    if (Date.now() > deadline || daemon.exitCode !== null) {
      const log = readLog(dir);
      daemon.kill('SIGKILL');
      rmSync(dir, { recursive: true, force: true });
      throw new Error(`The plain libvirtd did not start: ${log}`);
    }
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
  let count = 0;
  const floor: PlainLibvirt = {
    uri,
    dir,
    virsh: async (...args) => (await virsh(...args)).stdout,
    async measureCreate(image) {
      const name = `floor-${++count}`;
      const overlay = await makeOverlay(dir, name, image);
      const file = join(dir, `${name}.xml`);
      writeFileSync(file, plainDomain(name, overlay, dir));
      const startedAt = performance.now();
      await virsh('define', file);
      await virsh('start', name);
      const seconds = (performance.now() - startedAt) / 1000;
      await virsh('destroy', name);
      await virsh('undefine', name);
      return seconds;
    },
    async measureVirtInstall(image) {
      const name = `install-${++count}`;
      const overlay = await makeOverlay(dir, name, image);
      const startedAt = performance.now();
      await run('virt-install', [
        ...['--connect', uri, '--name', name, '--memory', '128', '--import', '--osinfo', 'detect=off,require=off'],
        ...['--disk', `path=${overlay},format=qcow2,bus=virtio`, '--network', 'none', '--graphics', 'none', '--noautoconsole'],
        ...['--virt-type', hideKvm ? 'qemu' : 'kvm', '--check', 'all=off'],
      ]);
      const seconds = (performance.now() - startedAt) / 1000;
      await virsh('destroy', name);
      await virsh('undefine', name);
      return seconds;
    },
    async stop() {
      daemon.kill('SIGKILL');
      await new Promise((resolve) =>
        daemon.exitCode === null && daemon.signalCode === null ? daemon.once('exit', resolve) : resolve(undefined),
      );
      rmSync(dir, { recursive: true, force: true });
    },
  };
  return floor;
}

function readLog(dir: string): string {
  try {
    return readFileSync(join(dir, 'log/libvirtd.log'), 'utf8').slice(-2000);
  } catch {
    return 'no log';
  }
}

async function makeOverlay(dir: string, name: string, image: string): Promise<string> {
  const overlay = join(dir, `${name}.qcow2`);
  await run('qemu-img', ['create', '-q', '-f', 'qcow2', '-F', 'qcow2', '-b', image, overlay]);
  return overlay;
}

/** The devices of the bench VM: q35, one disk, serial and VNC on sockets, agent channel, rng, balloon. */
const plainDomain = (name: string, disk: string, dir: string): string => `<domain type='qemu'>
  <name>${name}</name><memory unit='MiB'>128</memory><vcpu>1</vcpu>
  <os><type arch='x86_64' machine='q35'>hvm</type></os>
  <features><acpi/><tcg><tb-cache unit='MiB'>32</tb-cache></tcg></features><cpu mode='maximum'/>
  <devices>
    <emulator>/usr/bin/qemu-system-x86_64</emulator>
    <disk type='file' device='disk'><driver name='qemu' type='qcow2' cache='none'/><source file='${disk}'/><target dev='vda' bus='virtio'/></disk>
    <serial type='unix'><source mode='bind' path='${dir}/${name}.serial'/><target port='0'/></serial>
    <channel type='unix'><target type='virtio' name='org.qemu.guest_agent.0'/></channel>
    <graphics type='vnc'><listen type='socket' socket='${dir}/${name}.vnc'/></graphics>
    <video><model type='vga'/></video>
    <rng model='virtio'><backend model='random'>/dev/urandom</backend></rng>
    <memballoon model='virtio'/>
  </devices>
</domain>
`;

/** Seconds from exec of QEMU to the login prompt on its serial port, with the image under a throw-away overlay. */
export async function measureRawQemuBoot(image: string, pattern: RegExp): Promise<number> {
  const startedAt = performance.now();
  const qemu = spawn(
    'qemu-system-x86_64',
    [
      ...[
        '-machine',
        'q35',
        '-accel',
        'tcg,tb-size=32',
        '-cpu',
        'max',
        '-m',
        '128',
        '-display',
        'none',
        '-no-reboot',
        '-snapshot',
      ],
      ...['-drive', `file=${image},if=virtio,format=qcow2`, '-nic', 'none', '-serial', 'stdio', '-monitor', 'none'],
    ],
    { stdio: ['ignore', 'pipe', 'inherit'] },
  );
  try {
    let output = '';
    for await (const chunk of qemu.stdout) {
      output += String(chunk);
      if (pattern.test(output)) return (performance.now() - startedAt) / 1000;
    }
    throw new Error(`QEMU ended before the login prompt: ${output.slice(-500)}`);
  } finally {
    qemu.kill('SIGKILL');
  }
}
