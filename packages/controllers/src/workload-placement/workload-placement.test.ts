import { KubeVirtKind, NodeKind } from '@slipway/api';
import { built, node, type TestWorld, testWorld } from '@slipway/testkit';
import { afterEach, describe, expect, it } from 'vitest';
import { workloadPlacementController } from './index.ts';

let world: TestWorld;
afterEach(() => world.close());

const VIRTUALIZATION = 'node-role.kubernetes.io/virtualization';
const labelled = (name: string, labels: Record<string, string>) => node(name, { metadata: { name, labels } });
const schedulable = async (name: string) => (await world.get(NodeKind, name)).metadata.labels?.['kubevirt.io/schedulable'];

describe('placement of workloads', () => {
  it('says which nodes take guests, and changes its mind with the placement and the labels', async () => {
    const nodePlacement = {
      nodeSelector: { [VIRTUALIZATION]: '' },
      tolerations: [{ key: 'virtualization', value: 'true', effect: 'PreferNoSchedule', operator: 'Equal' }],
    };
    world = await testWorld({ api: 'server', controllers: [workloadPlacementController] }).with(
      labelled('guests', { 'kubevirt.io/schedulable': 'true', [VIRTUALIZATION]: '' }),
      labelled('others', { 'kubevirt.io/schedulable': 'true' }),
      labelled('foreign', {}),
      built(KubeVirtKind, 'openshift-cnv/kubevirt', { spec: { workloads: { nodePlacement } } }),
    );
    await world.settle();
    expect([await schedulable('guests'), await schedulable('others'), await schedulable('foreign')]).toEqual([
      'true',
      'false',
      undefined,
    ]);

    const label = { metadata: { labels: { [VIRTUALIZATION]: '' } } };
    await world.client.patch(NodeKind, { namespace: '', name: 'others' }, label, { type: 'merge' });
    await world.settle();
    expect(await schedulable('others')).toBe('true');

    const key = { namespace: 'openshift-cnv', name: 'kubevirt' };
    const other = { spec: { workloads: { nodePlacement: { nodeSelector: { [VIRTUALIZATION]: null, rack: '7' } } } } };
    await world.client.patch(KubeVirtKind, key, other, { type: 'merge' });
    await world.settle();
    expect([await schedulable('guests'), await schedulable('others')]).toEqual(['false', 'false']);

    await world.client.patch(KubeVirtKind, key, { spec: { workloads: null } }, { type: 'merge' });
    await world.settle();
    expect([await schedulable('guests'), await schedulable('others')]).toEqual(['true', 'true']);
  });
});
