import { DaemonSetKind, NodeKind, type Pod, PodKind } from '@slipway/api';
import { keyOf } from '@slipway/apimachinery';
import { built, node, startWithNodes, type TestWorld, testWorld } from '@slipway/testkit';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { nodeLifecycleController } from '../node-lifecycle/index.ts';
import { schedulerController } from '../scheduler/index.ts';
import { daemonSetController } from './index.ts';

let world: TestWorld;
beforeEach(() => {
  world = testWorld({ api: 'server', controllers: [daemonSetController, schedulerController, nodeLifecycleController] });
});
afterEach(() => world.close());

const KEY = { namespace: 'a', name: 'agent' };
const set = (spec: object = {}, podSpec: object = {}) =>
  built(DaemonSetKind, 'a/agent', {
    spec: {
      selector: { matchLabels: { app: 'agent' } },
      template: { metadata: { labels: { app: 'agent' } }, spec: { containers: [{ name: 'c', image: 'x:1' }], ...podSpec } },
      ...spec,
    },
  });
const pods = (): Promise<readonly Pod[]> => world.list(PodKind, 'a');
const places = async () => (await pods()).map(({ spec }) => spec?.nodeName ?? '').sort((a, b) => a.localeCompare(b));
const statusOf = async () => (await world.get(DaemonSetKind, KEY)).status;
const count = async (image: string) => (await pods()).filter(({ spec }) => spec?.containers[0]?.image === image).length;

async function makeReady(): Promise<void> {
  for (const pod of await pods()) {
    const status = { phase: 'Running', conditions: [{ type: 'Ready', status: 'True' }] };
    await world.client.patch(PodKind, keyOf(pod), { status }, { type: 'merge', subresource: 'status' });
  }
  await world.settle();
}

describe('DaemonSet', () => {
  it('runs one pod on every node, also on those that come later', async () => {
    await startWithNodes(world, [node('n1'), node('n2', { spec: { unschedulable: true } }), set()]);
    expect(await places()).toEqual(['n1', 'n2']);
    await world.with(node('n3'));
    await world.settle();
    expect(await places()).toEqual(['n1', 'n2', 'n3']);
    await makeReady();
    expect(await statusOf()).toMatchObject({
      desiredNumberScheduled: 3,
      currentNumberScheduled: 3,
      numberReady: 3,
      updatedNumberScheduled: 3,
      numberAvailable: 3,
      numberMisscheduled: 0,
    });
    await world.client.delete(NodeKind, { namespace: '', name: 'n3' });
    await world.settle();
    expect(await statusOf()).toMatchObject({ desiredNumberScheduled: 2 });
  });

  it('keeps to its node selector and away from taints it does not tolerate', async () => {
    const spec = { taints: [{ key: 'mine', effect: 'NoSchedule' }] };
    const metadata = { labels: { disk: 'ssd' } };
    await startWithNodes(world, [
      node('n1', { metadata }),
      node('n2'),
      node('n3', { metadata, spec }),
      set({}, { nodeSelector: { disk: 'ssd' } }),
    ]);
    expect(await places()).toEqual(['n1']);
    await world.client.patch(
      NodeKind,
      { namespace: '', name: 'n1' },
      { metadata: { labels: { disk: null } } },
      { type: 'merge' },
    );
    await world.settle();
    expect((await pods()).filter(({ metadata: { deletionTimestamp } }) => !deletionTimestamp)).toEqual([]);
  });

  it('updates as many at once as may be unavailable', async () => {
    await startWithNodes(world, [node('n1'), node('n2'), node('n3'), set()]);
    await makeReady();
    const template = { spec: { containers: [{ name: 'c', image: 'x:2' }] } };
    await world.client.patch(DaemonSetKind, KEY, { spec: { template } }, { type: 'strategic' });
    await world.settle();
    // bound pods end with a grace period, for which their agent would care
    const leaving = async () => (await pods()).filter(({ metadata }) => metadata.deletionTimestamp);
    for (let round = 1; round <= 3; round++) {
      expect(await leaving()).toHaveLength(1);
      for (const pod of await leaving()) await world.client.delete(PodKind, keyOf(pod), { gracePeriodSeconds: 0 });
      await world.settle();
      expect(await count('x:2')).toBe(round);
      await makeReady();
    }
    expect(await count('x:1')).toBe(0);
    expect(await statusOf()).toMatchObject({ updatedNumberScheduled: 3, numberAvailable: 3 });
  });
});
