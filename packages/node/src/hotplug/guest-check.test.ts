import type { VirtualMachineInstance } from '@slipway/api';
import { describe, expect, it } from 'vitest';
import type { LibvirtConnection } from '../libvirt/index.ts';
import { countDisks, GuestCheck } from './guest-check.ts';
import { liveDomain } from './live-domain.ts';
import type { GuestNow } from './sync-result.ts';

const VMI: VirtualMachineInstance = {
  ...{ apiVersion: 'kubevirt.io/v1', kind: 'VirtualMachineInstance', metadata: { name: 'web' } },
  spec: { domain: { devices: {} } },
};
const DISK = '<disk type="file" device="disk"><source file="/x"/><target dev="sda"/><alias name="ua-data"/></disk>';
const NIC = '<interface type="ethernet"><mac address="02:00:00:00:00:AA"/><alias name="ua-blue"/></interface>';
const domainXml = (devices: string): string => `<domain><vcpu>1</vcpu><devices>${devices}</devices></domain>`;

/** A guest whose agent answers as told; undefined: it does not. */
function world(answers: Record<string, unknown>) {
  let now = 0;
  const asked: string[] = [];
  const events: string[] = [];
  const libvirt = {
    agentCommand: async (_: unknown, command: string) => {
      const { execute } = JSON.parse(command) as { execute: string };
      asked.push(execute);
      if (answers[execute] === undefined) throw new Error('the agent does not answer');
      return JSON.stringify({ return: answers[execute] });
    },
  } as unknown as LibvirtConnection; // only this is called
  const record = (_: unknown, reason: string): void => void events.push(reason);
  const check = new GuestCheck({ events: { normal: record, warning: record }, nowMs: () => now });
  const guest = (devices: string): GuestNow => ({
    ...{ vmi: VMI, libvirt, live: liveDomain(domainXml(devices)) },
    domain: { name: 'web', uuid: Buffer.alloc(16), id: 1 },
  });
  return {
    ...{ asked, events, check, answers },
    /** One look after so many milliseconds. */
    look: async (ms: number, devices: string) => {
      now += ms;
      return check.sync(guest(devices));
    },
  };
}

const plugged = { kind: 'disk', name: 'data' } as const;

describe('GuestCheck', () => {
  it('asks a moment after the plugging, and is done when the guest shows the device', async () => {
    const { check, look, asked } = world({ 'guest-get-disks': [{ name: '/dev/sda', partition: false }] });
    expect(check.concerns()).toBe(false);
    check.expect(plugged);
    expect(await look(0, DISK)).toMatchObject({ problems: [], retryInMs: 1_000 });
    expect(asked).toEqual([]);
    expect(await look(1_000, DISK)).toMatchObject({ problems: [], retryInMs: undefined });
    expect([asked, check.concerns()]).toEqual([['guest-get-disks'], false]);
  });

  it('tells once when the guest never shows it, and takes that back when it does', async () => {
    const { check, look, events, answers } = world({ 'guest-get-disks': [] });
    check.expect(plugged);
    expect((await look(1_000, DISK)).problems).toEqual([]);
    const late = await look(20_000, DISK);
    expect(late).toMatchObject({ problems: [expect.stringContaining('disk data')], retryInMs: 60_000 });
    await look(60_000, DISK);
    expect(events).toEqual(['NotSeenByGuest']);
    answers['guest-get-disks'] = [{ name: '/dev/sda' }];
    expect(await look(60_000, DISK)).toMatchObject({ problems: [], retryInMs: undefined });
  });

  it('finds an interface by its address', async () => {
    const answer = [{ name: 'lo' }, { name: 'eth1', 'hardware-address': '02:00:00:00:00:aa' }];
    const { check, look } = world({ 'guest-network-get-interfaces': answer });
    check.expect({ kind: 'interface', name: 'blue' });
    await look(1_000, NIC);
    expect(check.concerns()).toBe(false);
  });

  it('asks nothing of a guest without an agent again, and forgets what was unplugged', async () => {
    const { check, look, asked } = world({});
    check.expect(plugged);
    await look(1_000, DISK);
    expect([asked, check.concerns()]).toEqual([['guest-get-disks'], false]);
    check.expect(plugged);
    await look(0, ''); // plugged after this look at the domain
    expect(check.concerns()).toBe(true);
    await look(0, '');
    expect(check.concerns()).toBe(false);
  });

  it('counts whole disks, and bounds what a guest says', () => {
    const list = ['/dev/vda', '/dev/loop0', '/dev/sr0', '/dev/dm-0', '\\\\.\\PhysicalDrive0'].map((name) => ({ name }));
    expect(countDisks([...list, { name: '/dev/vda1', partition: true }, 'x', null])).toBe(2);
    expect(countDisks({ disks: 3 })).toBeUndefined();
    expect(countDisks(Array.from({ length: 10_000 }, () => ({ name: '/dev/vdb' })))).toBe(4096);
  });
});
