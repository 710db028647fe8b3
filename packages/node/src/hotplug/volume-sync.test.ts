import type { VirtualMachineInstance } from '@slipway/api';
import { silentLogger } from '@slipway/runtime';
import { clusterConfig, type DomainFacts } from '@slipway/virt';
import { describe, expect, it } from 'vitest';
import type { PreparedVolume, VolumeManager } from '../contracts.ts';
import type { LibvirtConnection } from '../libvirt/index.ts';
import { liveDomain } from './live-domain.ts';
import type { GuestNow } from './sync-result.ts';
import { VolumeSync } from './volume-sync.ts';

const FACTS: DomainFacts = {
  config: clusterConfig({}),
  accelerator: { kind: 'tcg' },
  allowEmulation: true,
  volumes: [],
  interfaces: [],
  sockets: { serialConsole: '', vnc: '' },
  logs: {},
  nvramPath: '',
  firmware: [],
};
const EMPTY =
  '<domain><vcpu>1</vcpu><devices><disk type="file"><target dev="sda" bus="scsi"/><alias name="ua-root"/></disk></devices></domain>';
const ATTACHED = EMPTY.replace(
  '</devices>',
  '<disk type="file"><source file="/x"/><target dev="sdb" bus="scsi"/><alias name="ua-data"/></disk></devices>',
);

function vmiIn(phase: string, isWanted = true): VirtualMachineInstance {
  const disk = { name: 'data', disk: { bus: 'scsi' as const }, serial: 'S1', cache: 'none' as const, dedicatedIOThread: true };
  return {
    apiVersion: 'kubevirt.io/v1',
    kind: 'VirtualMachineInstance',
    metadata: { name: 'web', namespace: 'shop' },
    spec: {
      domain: { devices: { disks: isWanted ? [disk] : [] } },
      volumes: isWanted ? [{ name: 'data', dataVolume: { name: 'dv', hotpluggable: true } }] : [],
    },
    status: {
      phase: 'Running',
      volumeStatus: [{ name: 'data', target: '', phase, hotplugVolume: {}, persistentVolumeClaimInfo: { claimName: 'dv' } }],
    },
  };
}

/** A guest whose libvirt and volumes answer as told; `log` is what was asked of them, in order. */
function world(answers: { attach?: string; detach?: string; plug?: string } = {}) {
  const log: string[] = [];
  let now = 0;
  const fail = (message: string | undefined): void => {
    if (message !== undefined) throw new Error(message);
  };
  const libvirt = {
    attachDevice: async (_: unknown, xml: string) => {
      log.push(`attach ${/dev="(\w+)"/.exec(xml)?.[1]} ${/<serial>(\w+)/.exec(xml)?.[1]}`);
      fail(answers.attach);
    },
    detachDevice: async () => {
      log.push('detach');
      fail(answers.detach);
    },
    addIoThread: async (_: unknown, id: number) => void log.push(`add thread ${id}`),
    removeIoThread: async (_: unknown, id: number) => void log.push(`remove thread ${id}`),
  } as unknown as LibvirtConnection; // only these are called
  const prepared: PreparedVolume = {
    ...{ name: 'data', path: '/x', format: 'raw', readOnly: false, sizeBytes: 1 },
    claim: { claimName: 'dv', volumeMode: 'Filesystem', accessModes: [] },
  };
  const volumes = {
    plug: async () => {
      log.push('plug');
      fail(answers.plug);
      return prepared;
    },
    unplug: async ({ namespace, claimName }: { namespace: string; claimName?: string }) =>
      void log.push(`unplug ${namespace}/${claimName}`),
  } as unknown as VolumeManager;
  const events: string[] = [];
  const record = (_: unknown, reason: string): void => void events.push(reason);
  const sync = new VolumeSync({
    volumes,
    events: { normal: record, warning: record },
    log: silentLogger,
    nowMs: () => now,
    pod: () => ({ apiVersion: 'v1', kind: 'Pod', metadata: {} }),
    sandbox: { podUid: 'p', uid: 1, netns: '', dir: '' },
    facts: () => FACTS,
  });
  const guest = (vmi: VirtualMachineInstance, xml: string): GuestNow => ({
    ...{ vmi, libvirt, live: liveDomain(xml) },
    domain: { name: 'shop_web', uuid: Buffer.alloc(16), id: 1 },
  });
  const { signal } = new AbortController();
  return {
    ...{ log, events, sync },
    after: (ms: number) => (now += ms),
    /** One pass; answers the volume's status afterwards and when to look again. */
    pass: async (vmi: VirtualMachineInstance, xml: string) => {
      const { changes, retryInMs } = await sync.sync(guest(vmi, xml), signal);
      const changed = changes.reduce((object, change) => change(object), vmi);
      return { vmi: changed, status: changed.status?.volumeStatus?.[0], retryInMs };
    },
  };
}

describe('VolumeSync', () => {
  it('attaches under the first free name and says so', async () => {
    const { pass, log, events } = world();
    const { status, retryInMs } = await pass(vmiIn('AttachedToNode'), EMPTY);
    expect(status).toMatchObject({ phase: 'Ready', reason: 'VolumeReady', target: 'sdb' });
    expect([log, events, retryInMs]).toEqual([['plug', 'attach sdb S1'], ['VolumeReady'], undefined]);
  });

  it('gives the volume back when the device is refused, tells the remedy once, and tries again later', async () => {
    const { pass, log, events, after } = world({ attach: 'No more available PCI slots' });
    const first = await pass(vmiIn('AttachedToNode'), EMPTY);
    expect(first.status).toMatchObject({
      phase: 'AttachedToNode',
      reason: 'AttachFailed',
      message: expect.stringContaining('use bus scsi'),
    });
    expect([log, first.retryInMs]).toEqual([['plug', 'attach sdb S1', 'unplug shop/dv'], 5_000]);
    await pass(first.vmi, EMPTY);
    expect(log).toHaveLength(3); // not due yet
    after(5_000);
    await pass(first.vmi, EMPTY);
    expect([log.length, events]).toEqual([6, ['AttachFailed']]);
  });

  it('says what keeps a volume from the node', async () => {
    const { pass, log } = world({ plug: 'The disk is written by pod x' });
    const { status } = await pass(vmiIn('AttachedToNode'), EMPTY);
    expect(status).toMatchObject({ reason: 'AttachFailed', message: 'Cannot attach volume data: The disk is written by pod x' });
    expect(log).toEqual(['plug']);
  });

  it('detaches, waits for the guest, and gives the volume back when it is gone', async () => {
    const { pass, log } = world();
    const asked = await pass(vmiIn('Detaching', false), ATTACHED);
    expect([asked.status?.phase, asked.retryInMs, log]).toEqual(['Detaching', 5_000, ['detach']]);
    const gone = await pass(vmiIn('Detaching', false), EMPTY);
    expect(gone.status).toMatchObject({ phase: 'UnMountedFromPod', reason: 'VolumeUnMountedFromPod', target: '' });
    expect(log).toEqual(['detach', 'unplug shop/dv']);
  });

  it('adds the thread that a disk asks for, and takes it away with the disk or when the disk is refused', async () => {
    const onVirtio = (vmi: VirtualMachineInstance): VirtualMachineInstance => {
      const disks = vmi.spec.domain.devices.disks?.map((disk) => ({ ...disk, disk: { bus: 'virtio' as const } })) ?? [];
      return { ...vmi, spec: { ...vmi.spec, domain: { devices: { disks } } } };
    };
    const { pass, log } = world();
    await pass(onVirtio(vmiIn('AttachedToNode')), EMPTY);
    const threads = '<iothreadids><iothread id="1"/></iothreadids>';
    await pass(onVirtio(vmiIn('Detaching', false)), EMPTY.replace('<domain>', `<domain>${threads}`));
    expect(log).toEqual(['plug', 'add thread 1', 'attach vda S1', 'remove thread 1', 'unplug shop/dv']);

    const refused = world({ attach: 'no' });
    await refused.pass(onVirtio(vmiIn('AttachedToNode')), EMPTY);
    expect(refused.log).toEqual(['plug', 'add thread 1', 'attach vda S1', 'remove thread 1', 'unplug shop/dv']);
  });

  it('leaves threads that another disk uses, and those of the start', async () => {
    const { pass, log } = world();
    const vmi = vmiIn('Detaching', false);
    const root = { name: 'root', disk: { bus: 'virtio' as const } };
    const booted = { ...vmi, spec: { ...vmi.spec, domain: { devices: { disks: [root] } } } };
    const threads = '<iothreadids><iothread id="1"/><iothread id="2"/><iothread id="3"/></iothreadids>';
    const other =
      '<disk type="file"><driver iothread="3"/><target dev="vdb" bus="virtio"/><alias name="ua-other"/></disk></devices>';
    await pass(booted, EMPTY.replace('<domain>', `<domain>${threads}`).replace('</devices>', other));
    expect(log).toEqual(['remove thread 2', 'unplug shop/dv']);
  });

  it('tells when the guest does not let go, and when it refuses', async () => {
    const { pass, after, sync, events } = world();
    let { vmi } = await pass(vmiIn('Detaching', false), ATTACHED);
    after(20_000);
    const late = await pass(vmi, ATTACHED);
    expect(late.status).toMatchObject({ phase: 'Detaching', reason: 'DetachTimedOut' });
    sync.refused('ua-data');
    ({ vmi } = await pass(late.vmi, ATTACHED));
    expect(vmi.status?.volumeStatus?.[0]).toMatchObject({ phase: 'Detaching', reason: 'DetachRefused' });
    expect(events).toEqual(['DetachTimedOut', 'DetachRefused']);
  });

  it('does not take a request that is under way for a failure of the guest', async () => {
    const { pass } = world({ detach: 'the device is busy' });
    const { status } = await pass(vmiIn('Detaching', false), ATTACHED);
    expect(status).toMatchObject({ reason: 'DetachRefused', message: expect.stringContaining('the device is busy') });
  });
});
