import { LeaseKind, NodeKind } from '@slipway/api';
import { built, node, type TestWorld, testWorld } from '@slipway/testkit';
import { afterEach, describe, expect, it } from 'vitest';
import { nodeLifecycleController } from './index.ts';

let world: TestWorld;
afterEach(() => world.close());

const lease = built(LeaseKind, 'kube-node-lease/node1', { spec: { renewTime: '2026-01-01T00:00:00.000000Z' } });
const readyOf = async () => (await world.get(NodeKind, 'node1')).status?.conditions?.[0];
const taintsOf = async () => (await world.get(NodeKind, 'node1')).spec?.taints ?? [];

async function renew(): Promise<void> {
  const current = await world.get(LeaseKind, 'kube-node-lease/node1');
  const renewTime = new Date(world.clock.now()).toISOString();
  await world.client.update(LeaseKind, { ...current, spec: { ...current.spec, renewTime } });
  await world.settle();
}

describe('node life cycle', () => {
  it('marks a node that stops renewing its lease, and takes the mark away when it returns', async () => {
    world = await testWorld({ api: 'server', controllers: [nodeLifecycleController] }).with(node('node1'), lease);
    await world.settle();
    await world.advance(39_000);
    expect(await readyOf()).toMatchObject({ status: 'True' });
    await world.advance(1_000);
    expect(await readyOf()).toMatchObject({ status: 'Unknown', reason: 'NodeStatusUnknown' });
    expect(await taintsOf()).toEqual([{ key: 'node.kubernetes.io/unreachable', effect: 'NoSchedule' }]);
    const current = await world.get(NodeKind, 'node1');
    const conditions = [{ type: 'Ready', status: 'True', lastHeartbeatTime: '2026-01-01T00:01:00Z' }];
    await world.client.update(NodeKind, { ...current, status: { ...current.status, conditions } }, { subresource: 'status' });
    await renew();
    expect(await taintsOf()).toEqual([]);
  });

  it('believes a node that renews, however old the times in its lease', async () => {
    world = await testWorld({ api: 'server', controllers: [nodeLifecycleController] }).with(node('node1'), lease);
    await world.settle();
    for (let round = 0; round < 4; round++) {
      await world.advance(30_000);
      await renew();
    }
    expect(await readyOf()).toMatchObject({ status: 'True' });
  });

  it('keeps taints of others and taints nodes that say they are not ready', async () => {
    const mine = { key: 'mine', value: 'x', effect: 'NoExecute' };
    world = await testWorld({ api: 'server', controllers: [nodeLifecycleController] }).with(
      node('node1', { spec: { taints: [mine] }, status: { conditions: [{ type: 'Ready', status: 'False' }] } }),
    );
    await world.settle();
    expect(await taintsOf()).toEqual([mine, { key: 'node.kubernetes.io/not-ready', effect: 'NoSchedule' }]);
  });
});
