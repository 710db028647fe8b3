import {
  ClusterResourceQuotaKind,
  NamespaceKind,
  PodKind,
  ResourceQuotaKind,
  VirtualMachineInstanceKind,
  VirtualMachineKind,
} from '@slipway/api';
import { built, simulatedNode, type TestWorld, testWorld, vm } from '@slipway/testkit';
import { SLIPWAY_PROFILE } from '@slipway/virt';
import { afterEach, describe, expect, it } from 'vitest';
import { virtAdmission } from '../admission/testing/virt-admission.ts';
import { kubeVirtControllers } from '../virtual-machine/kubevirt-controllers.ts';
import { clusterResourceQuotaController, resourceQuotaController } from './index.ts';

let world: TestWorld;
afterEach(() => world.close());

/** Longer than a refused pod waits before it is tried again. */
const RETRY_MS = 60_000;

async function start(): Promise<void> {
  world = testWorld({
    api: 'server',
    controllers: [
      ...kubeVirtControllers(SLIPWAY_PROFILE),
      resourceQuotaController,
      clusterResourceQuotaController,
      simulatedNode().registration,
    ],
    admission: virtAdmission,
  });
  await world.settle();
}

const guest = (key: string, memory: string) =>
  vm(key, {
    spec: {
      runStrategy: 'Always',
      template: { spec: { domain: { devices: {}, cpu: { cores: 1 }, memory: { guest: memory } } } },
    },
  });
/** Why an instance has no pod. */
async function refusal(key: string): Promise<string | undefined> {
  const { status } = await world.get(VirtualMachineInstanceKind, key);
  return status?.conditions?.find(({ reason }) => reason === 'FailedCreate')?.message;
}
const podsOf = async (namespace: string): Promise<number> => (await world.list(PodKind, namespace)).length;

describe('a quota', () => {
  it('refuses a guest by its size, and lets it start once there is room', async () => {
    await start();
    await world.with(built(ResourceQuotaKind, 'a/small', { spec: { hard: { 'requests.memory': '2Gi' } } }));
    await world.settle();
    await world.with(guest('a/fits', '1Gi'));
    await world.settle();
    await world.with(guest('a/large', '1Gi'));
    await world.settle();
    expect(await podsOf('a')).toBe(1);
    expect(await refusal('a/large')).toMatch(
      /^pods "virt-launcher-large-\w+" is forbidden: exceeded quota: small, requested: requests.memory=\d+Mi, used: requests.memory=\d+Mi, limited: requests.memory=2Gi$/,
    );
    await world.client.delete(VirtualMachineKind, { namespace: 'a', name: 'fits' });
    await world.client.patch(
      ResourceQuotaKind,
      { namespace: 'a', name: 'small' },
      { spec: { hard: { 'requests.memory': '4Gi' } } },
      { type: 'merge' },
    );
    await world.settle();
    await world.advance(RETRY_MS);
    expect(await refusal('a/large')).toBeUndefined();
    expect((await world.get(VirtualMachineInstanceKind, 'a/large')).status?.phase).toBe('Running');
  });
});

describe('a quota of several namespaces', () => {
  const namespace = (name: string, requester: string, labels = {}) =>
    built(NamespaceKind, name, { metadata: { name, labels, annotations: { 'openshift.io/requester': requester } } });
  const perUser = (hard: Record<string, string>) =>
    built(ClusterResourceQuotaKind, 'ann', {
      spec: { selector: { annotations: { 'openshift.io/requester': 'ann' } }, quota: { hard } },
    });
  const statusOf = async (name: string) => (await world.get(ClusterResourceQuotaKind, name)).status;

  it('counts all namespaces of one user together', async () => {
    await start();
    await world.with(namespace('a', 'ann'), namespace('b', 'ann'), namespace('c', 'bob'));
    await world.with(perUser({ 'requests.memory': '2Gi', pods: '5' }));
    await world.settle();
    const none = { 'requests.memory': '0', pods: '0' };
    expect(await statusOf('ann')).toMatchObject({ total: { used: none }, namespaces: [{ namespace: 'a' }, { namespace: 'b' }] });
    for (const key of ['a/one', 'b/two', 'c/three']) await world.with(guest(key, '1Gi'));
    await world.settle();
    const refused = [await refusal('a/one'), await refusal('b/two')].filter((text) => text !== undefined);
    expect(refused).toEqual([expect.stringContaining('exceeded quota: ann, requested: requests.memory=')]);
    expect(await refusal('c/three')).toBeUndefined();
    expect((await podsOf('a')) + (await podsOf('b'))).toBe(1);
    expect(await podsOf('c')).toBe(1);
    const status = await statusOf('ann');
    expect(status?.total?.used?.['pods']).toBe('1');
    expect(status?.namespaces?.map((entry) => entry.status.used?.['pods']).sort()).toEqual(['0', '1']);
  });

  it.each([{ pods: 'many' }, { pods: '-1' }, { pods: -1 }])('is refused with a limit such as %j', async (hard) => {
    await start();
    const wrong = built(ClusterResourceQuotaKind, 'wrong', { spec: { selector: {}, quota: { hard } } });
    await expect(world.with(wrong)).rejects.toThrow('spec.quota.hard.pods');
  });

  it('follows the labels of namespaces, and what is deleted', async () => {
    await start();
    await world.with(namespace('a', 'x', { team: 'red' }), namespace('b', 'x', { team: 'blue' }));
    await world.with(
      built(ClusterResourceQuotaKind, 'red', {
        spec: { selector: { labels: { matchLabels: { team: 'red' } } }, quota: { hard: { pods: '9' } } },
      }),
    );
    await world.settle();
    for (const key of ['a/one', 'b/two']) await world.with(guest(key, '512Mi'));
    await world.settle();
    expect((await statusOf('red'))?.total?.used).toEqual({ pods: '1' });
    const label = { metadata: { labels: { team: 'red' } } };
    await world.client.patch(NamespaceKind, { namespace: '', name: 'b' }, label, { type: 'merge' });
    await world.settle();
    expect(await statusOf('red')).toMatchObject({
      total: { used: { pods: '2' } },
      namespaces: [{ namespace: 'a' }, { namespace: 'b', status: { hard: { pods: '9' }, used: { pods: '1' } } }],
    });
    for (const { metadata } of await world.list(PodKind, 'b'))
      await world.client.delete(PodKind, { namespace: 'b', name: metadata.name ?? '' }, { gracePeriodSeconds: 0 });
    await world.client.patch(
      VirtualMachineKind,
      { namespace: 'b', name: 'two' },
      { spec: { runStrategy: 'Halted' } },
      { type: 'merge' },
    );
    await world.settle();
    expect((await statusOf('red'))?.total?.used).toEqual({ pods: '1' });
  });
});
