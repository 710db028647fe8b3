import { PersistentVolumeClaimKind, VirtualMachineInstanceKind, VirtualMachineKind } from '@slipway/api';
import type { PersistentVolumeClaim, VirtualMachine, VirtualMachineInstance } from '@slipway/api';
import { type TestWorld, testWorld, vm as builtVm } from '@slipway/testkit';
import { afterEach, describe, expect, it } from 'vitest';
import { vmSuspendController } from './index.ts';
import { renderMemoryClaim, resumedInstance } from './memory-state.ts';
import { planSuspend, type SuspendStep, suspendObstacle } from './suspend-plan.ts';

interface Shape {
  readonly wish?: string;
  readonly runStrategy?: string;
  readonly requests?: readonly { action: string }[];
  readonly condition?: { status: string; reason: string };
}

const machine = ({ wish, runStrategy = 'Always', requests, condition }: Shape = {}): VirtualMachine =>
  ({
    metadata: { name: 'box', namespace: 'a', uid: 'vm', annotations: wish === undefined ? {} : { 'slipway.dev/suspend': wish } },
    spec: { runStrategy, template: {} },
    status: {
      ...(requests && { stateChangeRequests: requests }),
      ...(condition && { conditions: [{ type: 'Suspended', ...condition }] }),
    },
  }) as unknown as VirtualMachine; // what the plan looks at

const instance = (
  phase = 'Running',
  fields: { spec?: object; uid?: string; annotations?: object } = {},
): VirtualMachineInstance =>
  ({
    metadata: { name: 'box', namespace: 'a', uid: fields.uid ?? 'first', annotations: fields.annotations ?? {} },
    spec: { domain: { devices: {}, memory: { guest: '128Mi' } }, ...fields.spec },
    status: { phase, nodeName: 'node1', virtualMachineRevisionName: 'start' },
  }) as unknown as VirtualMachineInstance;

const claimOf = (vmi = instance(), phase = 'Bound'): PersistentVolumeClaim => ({
  ...renderMemoryClaim(machine(), vmi, 'local'),
  status: { phase },
});

const WANTED = { wish: 'true' };

describe('the next step of a suspension', () => {
  it.each<[string, Parameters<typeof planSuspend>[0], Partial<SuspendStep> & { report?: object }]>([
    ['nobody asked', { vm: machine(), vmi: instance(), claim: undefined }, { action: 'forget' }],
    ['runs', { vm: machine(WANTED), vmi: instance(), claim: undefined }, { action: 'createClaim' }],
    [
      'has an unbound claim',
      { vm: machine(WANTED), vmi: instance(), claim: claimOf(instance(), 'Pending') },
      { action: 'await' },
    ],
    [
      'has its claim',
      { vm: machine(WANTED), vmi: instance(), claim: claimOf() },
      { action: 'save', claimName: 'box-memory-state' },
    ],
    [
      'has memory of an earlier instance',
      { vm: machine(WANTED), vmi: instance('Running', { uid: 'second' }), claim: claimOf() },
      { action: 'deleteClaim' },
    ],
    ['has ended', { vm: machine(WANTED), vmi: instance('Succeeded'), claim: claimOf() }, { action: 'deleteInstance' }],
    [
      'is off with memory',
      { vm: machine(WANTED), vmi: undefined, claim: claimOf() },
      { action: 'report', report: expect.objectContaining({ isSuspended: true, reason: 'MemoryStateSaved' }) },
    ],
    [
      'was off before',
      { vm: machine(WANTED), vmi: undefined, claim: undefined },
      { action: 'report', report: expect.objectContaining({ isSuspended: true, reason: 'NoMemoryState' }) },
    ],
    [
      'is started',
      { vm: machine({ ...WANTED, requests: [{ action: 'Start' }] }), vmi: undefined, claim: claimOf() },
      { action: 'dropWish' },
    ],
    [
      'could not be saved',
      { vm: machine({ ...WANTED, condition: { status: 'False', reason: 'SaveFailed' } }), vmi: instance(), claim: undefined },
      { action: 'none' },
    ],
    [
      'is starting',
      { vm: machine(WANTED), vmi: instance('Scheduled'), claim: undefined },
      { action: 'report', report: expect.objectContaining({ isSuspended: false, reason: 'NotSuspendable' }) },
    ],
    ['shall go on', { vm: machine(), vmi: undefined, claim: claimOf() }, { action: 'none' }],
    ['shall go on, by hand', { vm: machine({ runStrategy: 'Manual' }), vmi: undefined, claim: claimOf() }, { action: 'start' }],
    ['stays halted', { vm: machine({ runStrategy: 'Halted' }), vmi: undefined, claim: claimOf() }, { action: 'none' }],
    ['is loading', { vm: machine(), vmi: instance('Scheduled', { uid: 'second' }), claim: claimOf() }, { action: 'none' }],
    [
      'goes on',
      { vm: machine(), vmi: instance('Running', { uid: 'second' }), claim: claimOf() },
      { action: 'deleteClaim', why: 'the guest goes on with its memory' },
    ],
    ['was called off', { vm: machine(), vmi: instance(), claim: claimOf() }, { action: 'deleteClaim' }],
    ['gives its memory up', { vm: machine({ wish: 'discard' }), vmi: undefined, claim: claimOf() }, { action: 'deleteClaim' }],
    [
      'gives up what it cannot load',
      {
        vm: machine({ wish: 'discard' }),
        vmi: instance('Scheduled', { annotations: { 'slipway.dev/memory-state-claim': 'box-memory-state' } }),
        claim: claimOf(),
      },
      { action: 'deleteInstance' },
    ],
    ['has given it up', { vm: machine({ wish: 'discard' }), vmi: undefined, claim: undefined }, { action: 'dropWish' }],
  ])('of a VM that %s', (_, facts, expected) => {
    expect(planSuspend(facts)).toMatchObject(expected);
  });

  it.each([
    ['devices', { hostDevices: [{ name: 'x', deviceName: 'y' }] }, 'host devices'],
    ['devices', { gpus: [{ name: 'x', deviceName: 'y' }] }, 'GPUs'],
    ['devices', { interfaces: [{ name: 'x', sriov: {} }] }, 'SR-IOV'],
    ['devices', { filesystems: [{ name: 'x', virtiofs: {} }] }, 'shared file systems'],
    ['devices', { tpm: {} }, 'TPM'],
    ['devices', { disks: [{ name: 'x', shareable: true }] }, 'disk x is shared'],
    ['volumes', [{ name: 'x', emptyDisk: { capacity: '1Mi' } }], 'volume x does not outlive'],
    ['volumes', [{ name: 'x', containerDisk: { image: 'y' } }], 'volume x does not outlive'],
    ['volumes', [{ name: 'x', hostDisk: { path: '/y', type: 'Disk' } }], 'volume x belongs to the host'],
  ])('is refused because of its %s %j', (where, value, expected) => {
    const spec = where === 'devices' ? { domain: { devices: value } } : { volumes: value };
    expect(suspendObstacle(machine(), instance('Running', { spec }))).toContain(expected);
  });
});

describe('an instance that goes on', () => {
  it('is the one that was suspended, whatever its VM says by now', () => {
    const claim = claimOf();
    const next = resumedInstance(machine(), claim, () => true);
    expect(next?.spec.domain.memory?.guest).toBe('128Mi');
    expect(next?.metadata.annotations).toEqual({ 'slipway.dev/memory-state-claim': 'box-memory-state' });
    expect(next?.status?.virtualMachineRevisionName).toBe('start');
    expect(resumedInstance(machine(), claim, () => false)?.status).toBeUndefined();
    expect(resumedInstance(machine({ wish: 'discard' }), claim, () => true)).toBeUndefined();
    expect(resumedInstance(machine(), undefined, () => true)).toBeUndefined();
  });
});

let world: TestWorld | undefined;
afterEach(() => world?.close());

const KEY = { namespace: 'default', name: 'web' };

/** A running VM whose node answers, or refuses, to save its memory. */
async function start(save: () => void): Promise<TestWorld> {
  const made = testWorld({ api: 'server', controllers: [vmSuspendController] });
  world = made;
  made.nodes.onCall('savememory', () => {
    save();
    return {};
  });
  await made.with(builtVm('default/web', { spec: { runStrategy: 'Always' } }));
  await made.client.create(VirtualMachineInstanceKind, {
    apiVersion: 'kubevirt.io/v1',
    kind: 'VirtualMachineInstance',
    metadata: KEY,
    spec: { domain: { devices: {}, memory: { guest: '128Mi' } } },
    status: { phase: 'Running', nodeName: 'node-a' },
  });
  const patch = { metadata: { annotations: { 'slipway.dev/suspend': 'true' } } };
  await made.client.patch(VirtualMachineKind, KEY, patch, { type: 'merge' });
  await made.settle();
  return made;
}

const claimKey = { ...KEY, name: 'web-memory-state' };
const suspended = async (made: TestWorld) =>
  (await made.get(VirtualMachineKind, KEY)).status?.conditions?.find(({ type }) => type === 'Suspended');

async function bind(made: TestWorld): Promise<void> {
  const options = { type: 'merge', subresource: 'status' } as const;
  await made.client.patch(PersistentVolumeClaimKind, claimKey, { status: { phase: 'Bound' } }, options);
  await made.settle();
}

describe('the controller', () => {
  it('makes room, lets the node save, and says that the VM is suspended', async () => {
    const saves: string[] = [];
    const made = await start(() => saves.push('saved'));
    const claim = await made.get(PersistentVolumeClaimKind, claimKey);
    expect(claim.metadata).toMatchObject({
      annotations: { 'volume.kubernetes.io/selected-node': 'node-a' },
      ownerReferences: [{ kind: 'VirtualMachine', name: 'web' }],
    });
    expect(await suspended(made)).toMatchObject({ status: 'False', reason: 'Saving' });
    await bind(made);
    expect(saves).toEqual(['saved']);
    await made.client.delete(VirtualMachineInstanceKind, KEY);
    await made.settle();
    expect(await suspended(made)).toMatchObject({ status: 'True', reason: 'MemoryStateSaved' });
  });

  it('says why the memory was not written, and does not try again', async () => {
    let saves = 0;
    const made = await start(() => {
      saves += 1;
      throw new Error('No space left on device');
    });
    await bind(made);
    expect(await suspended(made)).toMatchObject({ status: 'False', reason: 'SaveFailed' });
    expect((await suspended(made))?.message).toContain('No space left');
    expect((await made.get(PersistentVolumeClaimKind, claimKey)).metadata.deletionTimestamp).toBeDefined();
    expect(saves).toBe(1);
  });
});
