import {
  type kubevirt,
  type VirtualMachineInstance,
  VirtualMachineInstanceKind,
  VirtualMachineInstanceReplicaSetKind,
} from '@slipway/api';
import { keyOf } from '@slipway/apimachinery';
import { built, type TestWorld, testWorld } from '@slipway/testkit';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { GROUP_QUIET_START_MS } from '../workload/quiet-start.ts';
import { replicaSetVmiController } from './index.ts';

let world: TestWorld;
const KEY = { namespace: 'default', name: 'web' };
const set = (spec: Partial<kubevirt.VirtualMachineInstanceReplicaSetSpec>) =>
  built(VirtualMachineInstanceReplicaSetKind, 'web', {
    spec: {
      selector: { matchLabels: { app: 'web' } },
      template: { metadata: { labels: { app: 'web' } }, spec: { domain: { devices: {} } } },
      ...spec,
    },
  });

beforeEach(() => {
  world = testWorld({ api: 'server', controllers: [replicaSetVmiController] });
});
afterEach(() => world.close());

/** The first status of a group waits a moment. */
async function settleNew(): Promise<void> {
  await world.settle();
  await world.advance(GROUP_QUIET_START_MS);
}

const members = () => world.list(VirtualMachineInstanceKind);
const status = async () => (await world.get(VirtualMachineInstanceReplicaSetKind, KEY)).status;
const change = async (spec: object): Promise<void> => {
  await world.client.patch(VirtualMachineInstanceReplicaSetKind, KEY, { spec }, { type: 'merge' });
  await world.settle();
};
const setStatus = async (vmi: VirtualMachineInstance, phase: string, ready: boolean): Promise<void> => {
  const conditions = [{ type: 'Ready', status: ready ? 'True' : 'False' }];
  await world.client.update(VirtualMachineInstanceKind, { ...vmi, status: { phase, conditions } });
};

describe('VirtualMachineInstanceReplicaSet', () => {
  it('leaves a new one alone for a moment, so that its author can go on with what he got back', async () => {
    const { object } = set({ replicas: 3 });
    const created = await world.client.create(VirtualMachineInstanceReplicaSetKind, object);
    await world.settle();
    const updated = await world.client.update(VirtualMachineInstanceReplicaSetKind, {
      ...created,
      spec: { ...created.spec, replicas: 4 },
    });
    await settleNew();
    expect(updated.metadata.generation).toBe(2);
    expect((await status())?.replicas).toBe(4);
  });

  it('makes the instances that are asked for, once', async () => {
    await world.with(set({ replicas: 3 }));
    await settleNew();
    const all = await members();
    expect(all).toHaveLength(3);
    expect(all.every(({ metadata }) => metadata.name?.startsWith('web') && metadata.labels?.['app'] === 'web')).toBe(true);
    expect(await status()).toEqual({ replicas: 3, readyReplicas: 0, labelSelector: 'app=web' });
    expect(world.requests.filter((entry) => entry.startsWith('create virtualmachineinstances'))).toHaveLength(3);
  });

  it('removes first what is not ready', async () => {
    await world.with(set({ replicas: 2 }));
    await settleNew();
    const [keep] = await members();
    if (keep === undefined) throw new Error('No member');
    await setStatus(keep, 'Running', true);
    await world.settle();
    expect((await status())?.readyReplicas).toBe(1);
    await change({ replicas: 1 });
    expect((await members()).map(keyOf)).toEqual([keyOf(keep)]);
  });

  it('replaces an instance that has ended', async () => {
    await world.with(set({ replicas: 1 }));
    await settleNew();
    const [first] = await members();
    if (first === undefined) throw new Error('No member');
    await setStatus(first, 'Failed', false);
    await world.settle();
    const after = await members();
    expect(after).toHaveLength(1);
    expect(after[0]?.metadata.uid).not.toBe(first.metadata.uid);
  });

  it('does nothing while paused, and says so', async () => {
    await world.with(set({ replicas: 2, paused: true }));
    await settleNew();
    expect(await members()).toEqual([]);
    expect((await status())?.conditions?.map(({ type }) => type)).toEqual(['ReplicaPaused']);
    await change({ paused: false });
    expect(await members()).toHaveLength(2);
    expect((await status())?.conditions).toBeUndefined();
  });
});
