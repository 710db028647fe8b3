import { KubeVirtKind, VirtualMachineClusterInstancetypeKind, VirtualMachineClusterPreferenceKind } from '@slipway/api';
import { built, type TestWorld, testWorld } from '@slipway/testkit';
import { afterEach, describe, expect, it } from 'vitest';
import { commonTypesController } from './index.ts';

let world: TestWorld;
afterEach(() => world.close());
const counts = async () => [
  (await world.list(VirtualMachineClusterInstancetypeKind)).length,
  (await world.list(VirtualMachineClusterPreferenceKind)).length,
];

describe('the common instance types and preferences', () => {
  it('are those of the bundle, come back when changed, and go when they are not wanted', async () => {
    world = testWorld({ api: 'server', controllers: [commonTypesController] });
    await world.with(built(KubeVirtKind, 'openshift-cnv/kv', { spec: {} }));
    await world.settle();
    await world.advance(2_000);
    expect(await counts()).toEqual([65, 54]);
    const type = await world.get(VirtualMachineClusterInstancetypeKind, 'cx1.large1gi');
    expect(type).toMatchObject({
      metadata: {
        labels: { 'instancetype.kubevirt.io/hugepages': '1Gi', 'instancetype.kubevirt.io/class': 'compute.exclusive' },
      },
      spec: {
        cpu: { guest: 2, maxSockets: 2, dedicatedCPUPlacement: true },
        memory: { guest: '4Gi', hugepages: { pageSize: '1Gi' } },
      },
    });
    expect((await world.get(VirtualMachineClusterPreferenceKind, 'windows.11.virtio')).spec).toMatchObject({
      requirements: { cpu: { guest: 2 }, memory: { guest: '4Gi' } },
      firmware: { preferredEfi: { secureBoot: true, persistent: true } },
      devices: { preferredTPM: { persistent: true }, preferredDiskBus: 'virtio' },
    });
    await world.client.delete(VirtualMachineClusterInstancetypeKind, { namespace: '', name: 'u1.nano' });
    await world.settle();
    expect(await counts()).toEqual([65, 54]);
    const kubevirt = await world.get(KubeVirtKind, 'openshift-cnv/kv');
    const configuration = { commonInstancetypesDeployment: { enabled: false } };
    await world.client.update(KubeVirtKind, { ...kubevirt, spec: { configuration } });
    await world.settle();
    expect(await counts()).toEqual([0, 0]);
  });
});
