import {
  type kubevirt,
  PersistentVolumeClaimKind,
  type Pod,
  PodKind,
  type VirtualMachineInstance,
  VirtualMachineInstanceKind,
} from '@slipway/api';
import { type TestWorld, pod, pvc, testWorld, vmi } from '@slipway/testkit';
import { SLIPWAY_PROFILE } from '@slipway/virt';
import { afterEach, describe, expect, it } from 'vitest';
import { hotplugController } from './index.ts';

let world: TestWorld;
afterEach(() => world.close());

const KEY = 'default/web';
const DATA: kubevirt.Volume = { name: 'data', persistentVolumeClaim: { claimName: 'claim', hotpluggable: true } };

/** A running guest in its launcher pod; its controller is not part of this world. */
async function start(volumes: kubevirt.Volume[], claimPhase = 'Bound'): Promise<void> {
  world = await testWorld({ api: 'server', controllers: [hotplugController(SLIPWAY_PROFILE)] }).with(
    pvc('default/claim', { status: { phase: claimPhase } }),
  );
  // instances have no status of their own in the API
  const { kind, object } = vmi(KEY, { spec: { volumes }, status: { phase: 'Running', nodeName: 'node-a' } });
  await world.client.create(kind, object);
  const { uid = '' } = (await instance()).metadata;
  await world.with(
    pod('default/launcher', {
      metadata: {
        labels: { 'kubevirt.io': 'virt-launcher' },
        ownerReferences: [{ apiVersion: 'kubevirt.io/v1', kind: 'VirtualMachineInstance', name: 'web', uid, controller: true }],
      },
      spec: { nodeName: 'node-a', tolerations: [{ key: 'x', operator: 'Exists' }] },
      status: { phase: 'Running' },
    }),
  );
  await world.settle();
}

const instance = (): Promise<VirtualMachineInstance> => world.get(VirtualMachineInstanceKind, KEY);
const entry = async (): Promise<kubevirt.VolumeStatus | undefined> => (await instance()).status?.volumeStatus?.[0];
const attachments = async (): Promise<readonly Pod[]> =>
  (await world.list(PodKind, 'default')).filter(({ metadata }) => metadata.labels?.['kubevirt.io'] === 'hotplug-disk');
const only = async (): Promise<Pod> => {
  const [first, ...others] = await attachments();
  if (first === undefined || others.length > 0) throw new Error(`${others.length + 1} attachment pods`);
  return first;
};

/** What a node does with the pod, and what the agent writes into the VMI. */
async function setPodRunning(): Promise<void> {
  const key = { namespace: 'default', name: (await only()).metadata.name ?? '' };
  await world.client.patch(PodKind, key, { status: { phase: 'Running' } }, { type: 'merge', subresource: 'status' });
  await world.settle();
}
async function write(change: (vmi: VirtualMachineInstance) => VirtualMachineInstance): Promise<void> {
  await world.client.update(VirtualMachineInstanceKind, change(await instance()));
  await world.settle();
}
const setPhase = (phase: string): Promise<void> =>
  write((now) => ({
    ...now,
    status: { ...now.status, volumeStatus: (now.status?.volumeStatus ?? []).map((status) => ({ ...status, phase })) },
  }));
const setVolumes = (volumes: kubevirt.Volume[]): Promise<void> => write((now) => ({ ...now, spec: { ...now.spec, volumes } }));

describe('hotplugController', () => {
  it('gives a volume its pod on the node of the guest and hands it to the agent', async () => {
    await start([DATA]);
    const made = await only();
    expect(made.metadata).toMatchObject({
      annotations: { 'kubevirt.io/owner-vmi-name': 'web' },
      ownerReferences: [{ kind: 'Pod', name: 'launcher', controller: true }],
    });
    expect(made.spec).toMatchObject({
      containers: [{ image: 'slipway/hotplug-disk' }],
      volumes: expect.arrayContaining([{ name: 'data', persistentVolumeClaim: { claimName: 'claim' } }]),
    });
    expect(await entry()).toMatchObject({ phase: 'Bound', reason: 'PVCNotReady' });
    await setPodRunning();
    expect(await entry()).toMatchObject({
      ...{ name: 'data', phase: 'AttachedToNode', reason: 'SuccessfulCreate' },
      hotplugVolume: { attachPodName: made.metadata.name, attachPodUID: made.metadata.uid },
      persistentVolumeClaimInfo: { claimName: 'claim', accessModes: ['ReadWriteOnce'] },
    });
    expect(await world.events()).toContainEqual(expect.stringContaining('Created hotplug attachment pod'));
  });

  it('leaves a volume that the guest has alone, and writes nothing more', async () => {
    await start([DATA]);
    await setPodRunning();
    await setPhase('Ready');
    const writes = world.requests.length;
    await world.client.patch(
      PersistentVolumeClaimKind,
      { namespace: 'default', name: 'claim' },
      { metadata: { labels: { touched: 'yes' } } },
      { type: 'merge' },
    );
    await world.settle();
    expect([(await entry())?.phase, world.requests.length - writes]).toEqual(['Ready', 1]);
  });

  it('leaves it to the agent to say why a volume is not attached', async () => {
    await start([DATA]);
    await setPodRunning();
    await write((now) => ({
      ...now,
      status: {
        ...now.status,
        volumeStatus: (now.status?.volumeStatus ?? []).map((status) => ({ ...status, reason: 'AttachFailed', message: 'no' })),
      },
    }));
    expect(await entry()).toMatchObject({ phase: 'AttachedToNode', reason: 'AttachFailed', message: 'no' });
  });

  it('takes a volume away only after the agent has let it go', async () => {
    await start([DATA]);
    await setPodRunning();
    await setPhase('Ready');
    await setVolumes([]);
    expect([(await entry())?.phase, (await attachments()).length]).toEqual(['Detaching', 1]);
    await setPhase('UnMountedFromPod');
    const gone = (await attachments())[0];
    // the node removes the pod; nobody plays it here
    if (gone !== undefined)
      await world.client.delete(PodKind, { namespace: 'default', name: gone.metadata.name ?? '' }, { gracePeriodSeconds: 0 });
    await world.settle();
    expect([await entry(), await attachments()]).toEqual([undefined, []]);
  });

  it('makes the pod again when somebody deletes it, and says nothing of it to the guest', async () => {
    await start([DATA]);
    await setPodRunning();
    await setPhase('Ready');
    const before = await only();
    await world.client.delete(PodKind, { namespace: 'default', name: before.metadata.name ?? '' }, { gracePeriodSeconds: 0 });
    await world.settle();
    const after = await only();
    expect(after.metadata.uid).not.toBe(before.metadata.uid);
    expect(await entry()).toMatchObject({ phase: 'Ready', hotplugVolume: { attachPodUID: after.metadata.uid } });
  });

  it('says what is missing', async () => {
    await start([{ name: 'data', persistentVolumeClaim: { claimName: 'nowhere', hotpluggable: true } }]);
    expect(await entry()).toMatchObject({
      ...{ phase: 'Pending', reason: 'FailedPvcNotFound' },
      message: 'PVC nowhere does not exist, create it or remove the volume',
    });
    expect(await attachments()).toEqual([]);
  });

  it('is the first consumer of a claim that waits for one', async () => {
    await start([DATA], 'Pending');
    await setPodRunning();
    expect([(await attachments()).length, await entry()]).toEqual([1, expect.objectContaining({ phase: 'Pending' })]);
  });

  it('drops what was never attached at once', async () => {
    await start([{ name: 'data', persistentVolumeClaim: { claimName: 'nowhere', hotpluggable: true } }]);
    await setVolumes([]);
    expect((await instance()).status?.volumeStatus).toEqual([]);
  });
});
