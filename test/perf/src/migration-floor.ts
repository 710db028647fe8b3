import { execFileSync } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { writeIso } from '@slipway/virt';
import { SHELL_USER_DATA } from '../../e2e/src/guest-shell.ts';
import { type Beats, listenForBeats } from '../../e2e/src/beats.ts';
import { type PlainLibvirt, startPlainLibvirt } from './floors.ts';
import { answering } from './network-floor.ts';

const NAME = 'mover';
const BRIDGE = 'swbenchmig';
const NETWORK = { host: '198.18.77.1', guest: '198.18.77.2', bits: 24 } as const;
const encoder = new TextEncoder();

/** A guest of two plain libvirtd, moved with `virsh migrate` as an administrator moves it by hand. */
export interface MigrationFloor {
  readonly beats: Beats;
  /** Moves the guest to the other daemon; seconds that virsh took. */
  move(how: 'shared' | 'copied'): Promise<number>;
  stop(): Promise<void>;
}

interface Side {
  readonly libvirt: PlainLibvirt;
  readonly tap: string;
}

const ip = (...args: string[]): void => void execFileSync('ip', args, { stdio: 'pipe' });

export async function startMigrationFloor(image: string, hideKvm: boolean): Promise<MigrationFloor> {
  const sides: Side[] = [];
  const undo: (() => Promise<void> | void)[] = [];
  const stop = async (): Promise<void> => {
    for (const act of undo.reverse()) await act();
  };
  try {
    ip('link', 'add', BRIDGE, 'type', 'bridge');
    undo.push(() => ip('link', 'delete', BRIDGE));
    ip('address', 'add', `${NETWORK.host}/${NETWORK.bits}`, 'dev', BRIDGE);
    ip('link', 'set', BRIDGE, 'up');
    for (const tap of [`${BRIDGE}0`, `${BRIDGE}1`]) {
      ip('tuntap', 'add', tap, 'mode', 'tap');
      undo.push(() => ip('link', 'delete', tap));
      ip('link', 'set', tap, 'master', BRIDGE, 'up');
      const libvirt = await startPlainLibvirt(hideKvm);
      undo.push(() => libvirt.stop());
      sides.push({ libvirt, tap });
    }
    const move = await startGuest(sides, image);
    const beats = listenForBeats(NETWORK.guest);
    undo.push(() => beats.stop());
    return { beats, move, stop };
  } catch (error) {
    await stop();
    throw error;
  }
}

/** Starts the guest at the first daemon, waits until it is heard, and returns what moves it to and fro. */
async function startGuest(sides: readonly Side[], image: string): Promise<MigrationFloor['move']> {
  const [first] = sides;
  if (first === undefined) throw new Error('No daemon');
  const disk = (side: Side): string => join(side.libvirt.dir, 'disk.raw');
  const sizeBytes = String(
    JSON.parse(execFileSync('qemu-img', ['info', '--output=json', image], { encoding: 'utf8' }))['virtual-size'],
  );
  execFileSync('qemu-img', ['convert', '-O', 'raw', image, disk(first)]);
  // nobody leases addresses on a plain bridge
  const userData = `${SHELL_USER_DATA}  - ip addr add ${NETWORK.guest}/${NETWORK.bits} dev eth0\n`;
  const files = [
    { path: 'meta-data', data: encoder.encode('instance-id: mover\nlocal-hostname: mover\n') },
    { path: 'user-data', data: encoder.encode(userData) },
  ];
  for (const { libvirt } of sides) writeFileSync(join(libvirt.dir, 'seed.iso'), writeIso({ label: 'cidata', files }));
  let [at, path] = [0, disk(first)];
  let copies = 0;
  const document = (index: number, diskPath: string): string => {
    const side = sides[index] ?? first;
    const file = join(side.libvirt.dir, `${NAME}.xml`);
    writeFileSync(file, domain(side, diskPath));
    return file;
  };
  await first.libvirt.virsh('create', document(0, path));
  await answering(NETWORK.guest);
  return async (how) => {
    const to = sides[1 - at] ?? first;
    const target = how === 'copied' ? join(to.libvirt.dir, `disk-${++copies}.raw`) : path;
    if (how === 'copied') execFileSync('qemu-img', ['create', '-q', '-f', 'raw', target, sizeBytes]);
    const run = (name: string): string => join(to.libvirt.dir, name);
    const copied = how === 'copied' ? ['--copy-storage-all', '--disks-uri', `unix://${run('disks.sock')}`] : ['--unsafe'];
    const startedAt = performance.now();
    await (sides[at] ?? first).libvirt.virsh(
      ...['migrate', NAME, '--live', '--p2p', '--desturi', to.libvirt.uri, '--migrateuri', `unix://${run('memory.sock')}`],
      ...['--xml', document(1 - at, target), ...copied],
    );
    const seconds = (performance.now() - startedAt) / 1000;
    [at, path] = [1 - at, target];
    return seconds;
  };
}

const domain = ({ libvirt: { dir }, tap }: Side, disk: string): string => `<domain type='qemu'>
  <name>${NAME}</name><uuid>7d3f6f0e-1111-4222-8333-5f1f3a0c9d01</uuid><memory unit='MiB'>128</memory><vcpu>1</vcpu>
  <os><type arch='x86_64' machine='q35'>hvm</type></os>
  <features><acpi/><tcg><tb-cache unit='MiB'>32</tb-cache></tcg></features><cpu mode='maximum'/>
  <devices>
    <emulator>/usr/bin/qemu-system-x86_64</emulator>
    <disk type='file' device='disk'><driver name='qemu' type='raw' cache='none'/><source file='${disk}'/><target dev='vda' bus='virtio'/></disk>
    <disk type='file' device='disk'><driver name='qemu' type='raw'/><source file='${dir}/seed.iso'/><target dev='vdb' bus='virtio'/><readonly/></disk>
    <interface type='ethernet'><mac address='52:54:00:77:00:02'/><target dev='${tap}' managed='no'/><model type='virtio'/></interface>
    <serial type='unix'><source mode='bind' path='${dir}/${NAME}.serial'/><target port='0'/></serial>
    <channel type='unix'><target type='virtio' name='org.qemu.guest_agent.0'/></channel>
    <graphics type='vnc'><listen type='socket' socket='${dir}/${NAME}.vnc'/></graphics>
    <video><model type='vga'/></video>
    <rng model='virtio'><backend model='random'>/dev/urandom</backend></rng>
    <memballoon model='virtio'/>
  </devices>
</domain>
`;
