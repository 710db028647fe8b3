import {
  NodeVerb,
  PersistentVolumeClaimKind,
  VirtualMachineInstanceKind,
  VirtualMachineKind,
  VirtualMachineSnapshotContentKind,
  VirtualMachineSnapshotKind,
  VolumeSnapshotContentKind,
  VolumeSnapshotKind,
} from '@slipway/api';
import { type Built, built, type TestWorld, testWorld } from '@slipway/testkit';
import { afterEach, describe, expect, it } from 'vitest';
import { volumeSnapshotController } from '../volume-snapshot/index.ts';
import { vmSnapshotContentController, vmSnapshotController } from './index.ts';
import { boundDisk, instance, machine, simulatedStorage, storageObjects, templateSpec } from './testing/simulated-storage.ts';

let world: TestWorld;
afterEach(() => world.close());

const storage = simulatedStorage();

const snapshotOf = (spec: object = {}, name = 'snap'): Built =>
  built(VirtualMachineSnapshotKind, `a/${name}`, {
    spec: { source: { apiGroup: 'kubevirt.io', kind: 'VirtualMachine', name: 'web' }, ...spec },
  });

async function start(...objects: readonly Built[]): Promise<void> {
  storage.fate = 'taken';
  world = testWorld({
    api: 'server',
    controllers: [volumeSnapshotController, vmSnapshotController, vmSnapshotContentController, ...storage.registrations],
  });
  // an instance has its status in the object itself
  const isInstance = ({ kind }: Built): boolean => kind.plural === 'virtualmachineinstances';
  await world.with(...storageObjects);
  for (const { kind, object } of objects.filter(isInstance)) await world.client.create(kind, object);
  await world.with(...objects.filter((each) => !isInstance(each)));
  await world.settle();
}

const snapshot = () => world.get(VirtualMachineSnapshotKind, 'a/snap');
const reasons = async () =>
  Object.fromEntries(
    ((await snapshot()).status?.conditions ?? []).map(({ type, status, reason }) => [type, `${status} ${reason}`]),
  );

/** The node freezes and thaws as the agent does: what it did is in the instance's status. */
function answeringGuest(order: string[]): void {
  const write = (fsFreezeStatus: string | null): Promise<unknown> =>
    world.client.patch(
      VirtualMachineInstanceKind,
      { namespace: 'a', name: 'web' },
      { status: { fsFreezeStatus } },
      { type: 'merge' },
    );
  world.nodes.onCall(NodeVerb.freeze, async ({ unfreezeTimeoutSeconds }) => {
    order.push(`freeze ${String(unfreezeTimeoutSeconds)}, ${(await world.list(VolumeSnapshotKind, 'a')).length} snapshots`);
    return write('frozen');
  });
  world.nodes.onCall(NodeVerb.unfreeze, async () => {
    const all = await world.list(VolumeSnapshotKind, 'a');
    order.push(`thaw, ${all.filter(({ status }) => status?.creationTime).length} cut`);
    return write(null);
  });
}

describe('a snapshot of a VM', () => {
  it('that is off holds its spec and its volumes, without indications', async () => {
    await start(machine(), snapshotOf());
    const { status, metadata } = await snapshot();
    expect(status).toMatchObject({
      phase: 'Succeeded',
      readyToUse: true,
      snapshotVolumes: { includedVolumes: ['root'], excludedVolumes: ['seed'] },
      virtualMachineSnapshotContentName: `vmsnapshot-content-${metadata.uid}`,
    });
    expect(status?.creationTime).toBeDefined();
    expect(status?.indications).toBeUndefined();
    expect(await reasons()).toEqual({ Progressing: 'False Operation complete', Ready: 'True Ready' });
    const content = await world.get(VirtualMachineSnapshotContentKind, `a/vmsnapshot-content-${metadata.uid}`);
    expect(content.spec.source.virtualMachine?.spec?.template.spec?.domain.firmware?.serial).toBe('abc');
    expect(content.spec.volumeBackups).toMatchObject([
      { volumeName: 'root', volumeSnapshotName: `vmsnapshot-${metadata.uid}-volume-root` },
    ]);
    expect(content.status).toMatchObject({ readyToUse: true, volumeSnapshotStatus: [{ readyToUse: true }] });
    const vm = await world.get(VirtualMachineKind, 'a/web');
    expect(vm.status?.snapshotInProgress).toBeUndefined();
    expect(vm.metadata.finalizers ?? []).not.toContain('snapshot.kubevirt.io/snapshot-source-protection');
    const claim = await world.get(PersistentVolumeClaimKind, 'a/disk');
    expect(claim.metadata.finalizers ?? []).not.toContain('snapshot.storage.kubernetes.io/pvc-as-source-protection');
  });

  it('without disks is said to be complete in one write', async () => {
    const { kind, object } = machine();
    const off = { kind, object: structuredClone(object) };
    const { spec } = off.object as unknown as { spec: { template: { spec: { volumes: unknown; domain: { devices: object } } } } };
    spec.template.spec.volumes = [];
    spec.template.spec.domain.devices = {};
    await start(off, snapshotOf());
    const vm = await world.get(VirtualMachineKind, 'a/web');
    expect((await snapshot()).status).toMatchObject({ phase: 'Succeeded', readyToUse: true, sourceUID: vm.metadata.uid });
    expect(world.requests.filter((request) => request === 'patch virtualmachinesnapshots/status snap')).toHaveLength(1);
  });

  it('that runs is frozen before the first and thawed after the last volume', async () => {
    await start(machine('web', { spec: { runStrategy: 'Always' } }), instance(['AgentConnected', 'Ready']));
    const order: string[] = [];
    answeringGuest(order);
    await world.with(snapshotOf());
    await world.settle();
    expect((await snapshot()).status?.indications).toEqual(['Online', 'GuestAgent']);
    expect((await snapshot()).status?.phase).toBe('Succeeded');
    expect(order).toEqual(['freeze 300, 0 snapshots', 'thaw, 1 cut']);
  });

  it.each([
    [['Ready'], ['Online', 'NoGuestAgent']],
    [
      ['AgentConnected', 'Paused'],
      ['Online', 'Paused'],
    ],
  ])('says with conditions %j what was not quiesced', async (conditions, indications) => {
    await start(machine('web', { spec: { runStrategy: 'Always' } }), instance(conditions), snapshotOf());
    const { status } = await snapshot();
    expect(status).toMatchObject({ phase: 'Succeeded', indications });
    expect(status?.sourceIndications?.map(({ indication }) => indication)).toEqual(indications);
    expect(world.nodes.calls).toEqual([]);
  });

  it('that has several disks and no agent stands still while they are cut', async () => {
    const two = structuredClone(instance(['Ready'])) as unknown as { kind: Built['kind']; object: { spec: typeof templateSpec } };
    two.object.spec.volumes.push({ name: 'data', persistentVolumeClaim: { claimName: 'more' } });
    two.object.spec.domain.devices.disks.push({ name: 'data', disk: { bus: 'virtio' } });
    const runs = { kind: VirtualMachineInstanceKind, object: two.object } as unknown as Built; // the same, with a volume
    await start(...boundDisk('more'), machine('web', { spec: { runStrategy: 'Always' } }), runs);
    const order: string[] = [];
    const cut = async (): Promise<number> =>
      (await world.list(VolumeSnapshotKind, 'a')).filter(({ status }) => status?.creationTime !== undefined).length;
    world.nodes.onCall(
      NodeVerb.pause,
      async () => void order.push(`pause, ${(await world.list(VolumeSnapshotKind, 'a')).length}`),
    );
    world.nodes.onCall(NodeVerb.unpause, async () => void order.push(`unpause, ${await cut()} cut`));
    await world.with(snapshotOf());
    await world.settle();
    expect((await snapshot()).status).toMatchObject({ phase: 'Succeeded', indications: ['Online', 'NoGuestAgent'] });
    expect(order).toEqual(['pause, 0', 'unpause, 2 cut']);
    expect((await snapshot()).metadata.annotations).toBeUndefined();
  });

  it('goes on when the guest cannot be quiesced, and says so', async () => {
    await start(machine('web', { spec: { runStrategy: 'Always' } }), instance(['AgentConnected']), snapshotOf());
    expect((await snapshot()).status).toMatchObject({ phase: 'Succeeded', indications: ['Online', 'QuiesceFailed'] });
    expect(world.nodes.calls).toEqual(['node1 freeze']);
  });

  it('says that the guest went on before all was cut', async () => {
    await start(machine('web', { spec: { runStrategy: 'Always' } }), instance(['AgentConnected']));
    const order: string[] = [];
    answeringGuest(order);
    storage.fate = 'waits';
    await world.with(snapshotOf());
    await world.settle();
    await world.client.patch(
      VirtualMachineInstanceKind,
      { namespace: 'a', name: 'web' },
      { status: { fsFreezeStatus: null } },
      { type: 'merge' },
    );
    storage.fate = 'taken';
    const [content] = await world.list(VolumeSnapshotContentKind);
    await touch(content?.metadata.name ?? '');
    expect((await snapshot()).status?.indications).toEqual(['Online', 'GuestAgent', 'QuiesceTimeout']);
    expect(order).toHaveLength(1);
  });

  it('locks its source until all is ready', async () => {
    await start(machine());
    storage.fate = 'cut';
    await world.with(snapshotOf());
    await world.settle();
    expect(await reasons()).toMatchObject({
      Progressing: 'True Source locked and operation in progress',
      Ready: 'False Not ready',
    });
    const key = { namespace: 'a', name: 'web' };
    expect((await world.get(VirtualMachineKind, key)).status?.snapshotInProgress).toBe('snap');
    const change = { spec: { runStrategy: 'Always' } };
    // allowed to nobody while the snapshot is taken; the rule itself belongs to admission
    await world.with(snapshotOf({}, 'second'));
    await world.settle();
    const second = await world.get(VirtualMachineSnapshotKind, 'a/second');
    expect(second.status?.conditions?.find(({ type }) => type === 'Progressing')?.reason).toBe(
      'Source not locked: snapshot "snap" in progress',
    );
    storage.fate = 'taken';
    for (const { metadata } of await world.list(VolumeSnapshotContentKind)) await touch(metadata.name ?? '');
    expect((await snapshot()).status?.phase).toBe('Succeeded');
    await world.advance(3_000);
    expect((await world.get(VirtualMachineSnapshotKind, 'a/second')).status?.phase).toBe('Succeeded');
    await world.client.patch(VirtualMachineKind, key, change, { type: 'merge' });
  });

  it('fails as a whole at its deadline, and thaws the guest', async () => {
    await start(machine('web', { spec: { runStrategy: 'Always' } }), instance(['AgentConnected']));
    const order: string[] = [];
    answeringGuest(order);
    storage.fate = 'fails';
    await world.with(snapshotOf({ failureDeadline: '1m' }));
    await world.settle();
    expect((await snapshot()).status).toMatchObject({ phase: 'InProgress', error: { message: 'no space left' } });
    await world.advance(61_000);
    expect((await snapshot()).status).toMatchObject({ phase: 'Failed', readyToUse: false });
    expect(await reasons()).toMatchObject({ Failure: 'True snapshot deadline exceeded' });
    expect(order).toEqual(['freeze 60, 0 snapshots', 'thaw, 0 cut']);
    expect((await world.get(VirtualMachineKind, 'a/web')).status?.snapshotInProgress).toBeUndefined();
    expect(await world.list(VirtualMachineSnapshotContentKind, 'a')).toEqual([]);
  });

  it('waits for its source, and for claims that are bound', async () => {
    await start(snapshotOf());
    expect((await snapshot()).status).toBeUndefined();
    await world.advance(3_000);
    expect(await reasons()).toMatchObject({ Progressing: 'False Source does not exist' });
    await world.with(machine());
    await world.settle();
    expect((await snapshot()).status?.phase).toBe('Succeeded');
  });

  it('takes its content and its volume snapshots along when it is deleted', async () => {
    await start(machine(), snapshotOf());
    await world.client.delete(VirtualMachineSnapshotKind, { namespace: 'a', name: 'snap' });
    await world.settle();
    expect(await world.list(VirtualMachineSnapshotKind, 'a')).toEqual([]);
    expect(await world.list(VirtualMachineSnapshotContentKind, 'a')).toEqual([]);
    expect(await world.list(VolumeSnapshotKind, 'a')).toEqual([]);
    expect(await world.list(VolumeSnapshotContentKind)).toEqual([]);
  });

  it('leaves its content behind when that is to be kept', async () => {
    await start(machine(), snapshotOf({ deletionPolicy: 'Retain' }));
    await world.client.delete(VirtualMachineSnapshotKind, { namespace: 'a', name: 'snap' });
    await world.settle();
    expect(await world.list(VirtualMachineSnapshotKind, 'a')).toEqual([]);
    expect(await world.list(VirtualMachineSnapshotContentKind, 'a')).toHaveLength(1);
    expect(await world.list(VolumeSnapshotKind, 'a')).toHaveLength(1);
  });

  it('that loses a volume is none any more, and says which', async () => {
    await start(machine(), snapshotOf());
    const { uid } = (await snapshot()).metadata;
    const name = `vmsnapshot-${uid}-volume-root`;
    expect(await world.events(snapshotOf())).toContainEqual(
      `Normal SuccessfulVolumeSnapshotCreate Successfully created VolumeSnapshot ${name}`,
    );
    await world.client.delete(VolumeSnapshotKind, { namespace: 'a', name });
    await world.settle();
    expect((await snapshot()).status).toMatchObject({ phase: 'Failed', readyToUse: false });
    expect(await world.events(snapshotOf())).toContainEqual(`Warning VolumeSnapshotMissing VolumeSnapshots (${name}) missing`);
  });
});

/** Makes the snapshotter look again. */
async function touch(name: string): Promise<void> {
  await world.client.patch(
    VolumeSnapshotContentKind,
    { namespace: '', name },
    { metadata: { annotations: { touched: 'yes' } } },
    { type: 'merge' },
  );
  await world.settle();
}
