import { execFile } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { connect } from 'node:net';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { writeIso } from '@slipway/virt';
import { GuestLog } from './guest-log.ts';
import type { PlainLibvirt } from './floors.ts';

const run = promisify(execFile);
const WAIT_MS = 120_000;
const MIB = 1024;

/** A running guest of a plain libvirtd, changed with `virsh` as an administrator changes it by hand. */
export interface FloorGuest {
  readonly name: string;
  /** What the guest says on its serial port. */
  readonly log: GuestLog;
  virsh(...args: string[]): Promise<string>;
  /** An attach of this device document; `action` is the virsh command without `-device`. */
  device(action: 'attach' | 'detach' | 'update', xml: string): Promise<void>;
  /** Polls the domain's document until it is as wanted. */
  untilXml(isThere: (xml: string) => boolean): Promise<void>;
  /** Brings every vCPU or block of memory into use through the guest's agent, as Slipway does. */
  bringOnline(kind: 'vcpus' | 'memory-blocks'): Promise<void>;
  stop(): Promise<void>;
}

/** Starts a guest with room for everything that is plugged into it, and waits for its agent. */
export async function startFloorGuest(libvirt: PlainLibvirt, image: string, userData: string): Promise<FloorGuest> {
  const name = 'live';
  const overlay = join(libvirt.dir, `${name}.qcow2`);
  const seed = join(libvirt.dir, `${name}.iso`);
  await run('qemu-img', ['create', '-q', '-f', 'qcow2', '-F', 'qcow2', '-b', image, overlay]);
  writeFileSync(seed, writeIso({ label: 'cidata', files: seedFiles(userData) }));
  const file = join(libvirt.dir, `${name}.xml`);
  writeFileSync(file, roomyDomain(name, { overlay, seed, dir: libvirt.dir }));
  await libvirt.virsh('define', file);
  await libvirt.virsh('start', name);
  const socket = connect(join(libvirt.dir, `${name}.serial`));
  const log = new GuestLog(socket, () => socket.destroy());
  const ask = async (command: object): Promise<unknown> =>
    JSON.parse(await libvirt.virsh('qemu-agent-command', name, JSON.stringify(command)));
  await until(() =>
    ask({ execute: 'guest-ping' }).then(
      () => true,
      () => false,
    ),
  );
  let count = 0;
  return {
    ...{ name, log },
    virsh: (...args) => libvirt.virsh(...args),
    async device(action, xml) {
      const document = join(libvirt.dir, `device-${++count}.xml`);
      writeFileSync(document, xml);
      await libvirt.virsh(`${action}-device`, name, document, '--live');
    },
    untilXml: (isThere) => until(async () => isThere(await libvirt.virsh('dumpxml', name))),
    bringOnline: (kind) => until(() => bringOnline(ask, kind)),
    async stop() {
      log.close();
      await libvirt.virsh('destroy', name);
      await libvirt.virsh('undefine', name);
    },
  };
}

const encoder = new TextEncoder();

const seedFiles = (userData: string) => [
  { path: 'meta-data', data: encoder.encode('instance-id: floor\nlocal-hostname: floor\n') },
  { path: 'user-data', data: encoder.encode(userData) },
];

async function until(isThere: () => Promise<boolean>): Promise<void> {
  for (const deadline = Date.now() + WAIT_MS; !(await isThere()); )
    if (Date.now() > deadline) throw new Error('The guest of the plain libvirtd did not get there in time');
}

/** True when nothing is left to do. */
async function bringOnline(ask: (command: object) => Promise<unknown>, kind: 'vcpus' | 'memory-blocks'): Promise<boolean> {
  const [argument, id] = kind === 'vcpus' ? ['vcpus', 'logical-id'] : ['mem-blks', 'phys-index'];
  const { return: units } = (await ask({ execute: `guest-get-${kind}` })) as { return: Record<string, unknown>[] }; // qemu-ga's schema
  const offline = units.filter(({ online }) => online === false).map((unit) => ({ [id]: unit[id], online: true }));
  if (offline.length > 0) await ask({ execute: `guest-set-${kind}`, arguments: { [argument]: offline } });
  return offline.length === 0;
}

/** Like the VM of the benchmark: a SCSI controller, spare PCIe ports, four vCPUs of which one is there, memory up to 4 GiB. */
const roomyDomain = (
  name: string,
  { overlay, seed, dir }: { overlay: string; seed: string; dir: string },
): string => `<domain type='qemu'>
  <name>${name}</name><maxMemory slots='4' unit='KiB'>${4096 * MIB}</maxMemory><memory unit='MiB'>1024</memory><vcpu current='1'>4</vcpu>
  <os><type arch='x86_64' machine='q35'>hvm</type></os>
  <features><acpi/><tcg><tb-cache unit='MiB'>32</tb-cache></tcg></features>
  <cpu mode='maximum'><topology sockets='4' cores='1' threads='1'/><numa><cell id='0' cpus='0-3' memory='${1024 * MIB}' unit='KiB'/></numa></cpu>
  <devices>
    <emulator>/usr/bin/qemu-system-x86_64</emulator>
    <controller type='pci' index='0' model='pcie-root'/>
    ${Array.from({ length: 12 }, (_, index) => `<controller type='pci' index='${index + 1}' model='pcie-root-port'/>`).join('')}
    <controller type='scsi' index='0' model='virtio-scsi'/>
    <disk type='file' device='disk'><driver name='qemu' type='qcow2' cache='none'/><source file='${overlay}'/><target dev='vda' bus='virtio'/></disk>
    <disk type='file' device='disk'><driver name='qemu' type='raw'/><source file='${seed}'/><target dev='vdb' bus='virtio'/><readonly/></disk>
    <serial type='unix'><source mode='bind' path='${dir}/${name}.serial'/><target port='0'/></serial>
    <channel type='unix'><target type='virtio' name='org.qemu.guest_agent.0'/></channel>
    <graphics type='vnc'><listen type='socket' socket='${dir}/${name}.vnc'/></graphics>
    <video><model type='vga'/></video>
    <rng model='virtio'><backend model='random'>/dev/urandom</backend></rng>
    <memballoon model='virtio'/>
  </devices>
</domain>
`;
