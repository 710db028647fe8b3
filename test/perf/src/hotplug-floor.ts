import { execFile } from 'node:child_process';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { BOOT_MIB, MANY, MEMORY_MIB, type Subject, type Times } from './hotplug-subject.ts';
import type { FloorGuest } from './live-floor.ts';
import { measure } from './watched.ts';

const run = promisify(execFile);

const diskXml = (file: string, target: string): string =>
  `<disk type='file' device='disk'><driver name='qemu' type='raw' cache='none'/><source file='${file}'/>` +
  `<target dev='${target}' bus='scsi'/></disk>`;
const nicXml = (tap: string): string =>
  `<interface type='ethernet'><mac address='52:54:00:ab:cd:ef'/><target dev='${tap}'/><model type='virtio'/></interface>`;
const memoryXml = (requestedMib: number): string =>
  `<memory model='virtio-mem'><target><size unit='MiB'>3072</size><node>0</node><block unit='MiB'>2</block>` +
  `<requested unit='MiB'>${requestedMib}</requested></target><alias name='ua-mem'/></memory>`;

/** A guest of a plain libvirtd that is changed with virsh. */
export async function floorSubject(guest: FloorGuest, dir: string): Promise<Subject> {
  const file = async (name: string): Promise<string> => {
    const path = join(dir, name);
    await run('qemu-img', ['create', '-q', '-f', 'raw', path, '16M']);
    return path;
  };
  const single = await file('extra.img');
  const many = await Promise.all(Array.from({ length: MANY }, (_, index) => file(`many-${index}.img`)));
  const plug = async (xml: string, device: string, mark: string, times: Times): Promise<void> => {
    const startedAt = performance.now();
    await guest.device('attach', xml);
    times.attached.push((performance.now() - startedAt) / 1000);
    await guest.log.until(`[+${device}]`);
    times.seen.push((performance.now() - startedAt) / 1000);
    times.detached.push(
      await measure(async () => {
        await guest.device('detach', xml);
        await guest.untilXml((document) => !document.includes(mark));
      }),
    );
    await guest.log.until(`[-${device}]`);
  };
  return {
    disk: (times) => plug(diskXml(single, 'sda'), 'sda', single, times),
    nic: (times) => plug(nicXml('swfloor0'), 'eth0', '52:54:00:ab:cd:ef', times),
    sockets: (count) =>
      measure(async () => {
        await guest.virsh('setvcpus', guest.name, String(count), '--live');
        await guest.bringOnline('vcpus');
      }),
    memory: (mib) =>
      measure(async () => {
        const requested = mib - BOOT_MIB;
        if (mib === MEMORY_MIB[0]) await guest.device('attach', memoryXml(requested));
        else await guest.virsh('update-memory-device', guest.name, '--requested-size', `${requested}MiB`);
        await guest.bringOnline('memory-blocks');
        await guest.untilXml((document) => document.includes(`<current unit='KiB'>${requested * 1024}</current>`));
      }),
    manyDisks: () =>
      measure(async () => {
        for (const [index, path] of many.entries())
          await guest.device('attach', diskXml(path, `sd${String.fromCodePoint(97 + index)}`));
      }),
  };
}
