import { deleteAndWait } from './bench-world.ts';
import type { Benchmark } from './benchmarks.ts';
import { startPlainLibvirt } from './floors.ts';
import { WATCH_DEVICES } from './guest-log.ts';
import { floorSubject } from './hotplug-floor.ts';
import { ourSubject, VM } from './hotplug-ours.ts';
import { MANY, MEMORY_MIB, noTimes, SOCKETS, type Subject } from './hotplug-subject.ts';
import { startFloorGuest } from './live-floor.ts';
import { makeRow, type Row } from './rows.ts';

const ROUNDS = 5;

/** Devices, vCPUs and memory of a running guest: by the API, and by virsh in turn. */
export const hotplug: Benchmark = async ({ world, image, hideKvm, report }) => {
  const libvirt = await startPlainLibvirt(hideKvm);
  try {
    report('hotplug: one guest of libvirt alone, one of Slipway');
    const guest = await startFloorGuest(libvirt, image, WATCH_DEVICES);
    const floor = await floorSubject(guest, libvirt.dir);
    const { subject: ours, close } = await ourSubject(world);
    try {
      return await compare(ours, floor, report);
    } finally {
      close();
      await guest.stop();
      await deleteAndWait(world, [VM]);
    }
  } finally {
    await libvirt.stop();
  }
};

async function compare(ours: Subject, floor: Subject, report: (text: string) => void): Promise<Row[]> {
  const disk = { ours: noTimes(), floor: noTimes() };
  const nic = { ours: noTimes(), floor: noTimes() };
  for (let round = 0; round < ROUNDS; round++) {
    report(`hotplug round ${round + 1} of ${ROUNDS}`);
    await ours.disk(disk.ours);
    await floor.disk(disk.floor);
    await ours.nic(nic.ours);
    await floor.nic(nic.floor);
  }
  const sizes = {
    sockets: { ours: [] as number[], floor: [] as number[] },
    memory: { ours: [] as number[], floor: [] as number[] },
  };
  for (const count of SOCKETS) {
    sizes.sockets.ours.push(await ours.sockets(count));
    sizes.sockets.floor.push(await floor.sockets(count));
  }
  for (const mib of MEMORY_MIB) {
    sizes.memory.ours.push(await ours.memory(mib));
    sizes.memory.floor.push(await floor.memory(mib));
  }
  report(`hotplug: ${MANY} disks`);
  const many = { ours: [await ours.manyDisks()], floor: [await floor.manyDisks()] };
  const row = (name: string, runs: readonly number[], floorName: string, floorRuns: readonly number[], max?: number): Row =>
    makeRow({
      ...{ promise: 'hotplug', name, unit: 's', runs, floor: { name: floorName, runs: floorRuns } },
      ...(max !== undefined && { goal: { max, of: 'ratio' } }),
    });
  return [
    row('disk: request to Ready', disk.ours.attached, 'virsh attach-device', disk.floor.attached, 3),
    row('disk: request to seen in the guest', disk.ours.seen, 'the same', disk.floor.seen, 2),
    row('disk: request to gone', disk.ours.detached, 'virsh detach-device', disk.floor.detached, 3),
    row('interface: request to up', nic.ours.attached, 'virsh attach-device', nic.floor.attached, 3),
    row('interface: request to seen in the guest', nic.ours.seen, 'the same', nic.floor.seen, 2),
    row('interface: request to gone', nic.ours.detached, 'virsh detach-device', nic.floor.detached, 3),
    row('one more socket, in use', sizes.sockets.ours, 'virsh setvcpus, agent', sizes.sockets.floor, 2),
    row('256 MiB more, in use', sizes.memory.ours, 'virtio-mem, agent', sizes.memory.floor, 2),
    row(`${MANY} disks, last one Ready`, many.ours, `${MANY} × virsh attach-device`, many.floor, 3),
  ];
}
