import {
  COPIED_FROM,
  DataVolumeKind,
  PersistentVolumeClaimKind,
  PersistentVolumeKind,
  type VirtualMachine,
  type VirtualMachineInstance,
  VirtualMachineInstanceKind,
  VirtualMachineKind,
} from '@slipway/api';
import { keyOf } from '@slipway/apimachinery';
import type { Client } from '@slipway/client';
import { allow, type ControllerRegistration, done } from '@slipway/runtime';
import { built, pv, pvc, storageClass, type TestWorld, testWorld, vm } from '@slipway/testkit';
import { clusterConfig, SLIPWAY_PROFILE } from '@slipway/virt';
import { afterEach, describe, expect, it } from 'vitest';
import { virtAdmissionHandlers } from '../admission/index.ts';
import { kubeVirtControllers } from '../virtual-machine/kubevirt-controllers.ts';
import { VOLUME_MIGRATION } from './migration-record.ts';
import { volumeMigrationController } from './index.ts';

let world: TestWorld;
afterEach(() => world.close());

const KEY = { namespace: 'a', name: 'box' };
const PLATFORM = 'system:serviceaccount:openshift-cnv:';

/** CDI's part: a clone gets its claim, and is complete when the test says so. */
const cdi = { fate: 'Succeeded' };
/** Whoever may write the status of instances. */
let platform: Client | undefined;
const clones: ControllerRegistration = {
  name: 'clones',
  rules: [...allow('update', VirtualMachineInstanceKind), ...allow('patch', [DataVolumeKind, 'status'])],
  create: ({ client, informers }) => {
    const dataVolumes = informers.lister(DataVolumeKind);
    platform = client;
    return {
      kind: DataVolumeKind,
      reconciler: {
        async reconcile(key) {
          const dataVolume = dataVolumes.get(key);
          if (dataVolume === undefined || dataVolume.status?.phase === cdi.fate) return done;
          await client.patch(
            DataVolumeKind,
            keyOf(dataVolume),
            { status: { phase: cdi.fate } },
            { type: 'merge', subresource: 'status' },
          );
          return done;
        },
      },
    };
  },
};

const disk = (name: string, parts: Parameters<typeof pvc>[1] = {}) =>
  pvc(`a/${name}`, { ...parts, status: { phase: 'Bound', capacity: { storage: '1Gi' } } });

const machine = vm('a/box', {
  spec: {
    runStrategy: 'Halted',
    updateVolumesStrategy: 'Migration',
    template: {
      spec: {
        domain: { devices: { disks: [{ name: 'root', disk: { bus: 'virtio' } }] }, memory: { guest: '128Mi' } },
        volumes: [{ name: 'root', persistentVolumeClaim: { claimName: 'old' } }],
      },
    },
  },
});

async function start(): Promise<void> {
  cdi.fate = 'Succeeded';
  world = testWorld({
    api: 'server',
    controllers: [volumeMigrationController, clones, ...kubeVirtControllers(SLIPWAY_PROFILE)],
    admission: (client) =>
      virtAdmissionHandlers({
        client,
        config: () => clusterConfig(),
        now: () => new Date(0),
        newUuid: () => '00000000-0000-4000-8000-000000000000',
        isPlatform: ({ username }) => username.startsWith(PLATFORM),
      }),
  });
  const volume = pv('pv-old', { spec: { claimRef: { namespace: 'a', name: 'old' } } });
  await world.with(storageClass('local'), volume, disk('old', { spec: { volumeName: 'pv-old' } }), machine);
  await world.settle();
}

const blank = (name: string) =>
  built(DataVolumeKind, `a/${name}`, {
    metadata: { labels: { mine: 'yes' } },
    spec: { source: { blank: {} }, storage: { resources: { requests: { storage: '1Gi' } } } },
  });

async function use(claimName: string, spec: object = {}): Promise<void> {
  const volumes = [{ name: 'root', persistentVolumeClaim: { claimName } }];
  await world.client.patch(VirtualMachineKind, KEY, { spec: { ...spec, template: { spec: { volumes } } } }, { type: 'merge' });
  await world.settle();
}

const box = (): Promise<VirtualMachine> => world.get(VirtualMachineKind, 'a/box');
const change = async () => (await box()).status?.conditions?.find(({ type }) => type === 'VolumesChange');

describe('a volume of a stopped VM', () => {
  it('moves into a blank DataVolume, which a clone of the old claim takes the place of', async () => {
    await start();
    await world.with(blank('new'));
    await world.settle();
    const first = await world.get(DataVolumeKind, 'a/new');
    await use('new');
    const clone = await world.get(DataVolumeKind, 'a/new');
    expect(clone.metadata.uid).not.toBe(first.metadata.uid);
    expect(clone.metadata.labels).toMatchObject({ mine: 'yes' });
    expect(clone.spec.source).toEqual({ pvc: { namespace: 'a', name: 'old' } });
    expect(await change()).toMatchObject({
      status: 'False',
      reason: 'VolumesChangeCompleted',
      message: 'Moved: volume root from old to new. What was there before is kept: delete old when the VM runs as it should',
    });
    const after = await box();
    expect(after.metadata.annotations?.[VOLUME_MIGRATION]).toBeUndefined();
    expect(after.status?.volumeUpdateState).toBeUndefined();
    expect(await world.exists(PersistentVolumeClaimKind, 'a/old')).toBe(true);
    expect(await world.events(machine)).toContain('Normal VolumeMigrationStarted Volume root moves from claim old to new');
  });

  it('keeps the VM from starting until it is complete', async () => {
    await start();
    cdi.fate = 'CloneInProgress';
    await use('new', { runStrategy: 'Always' });
    expect((await change())?.message).toContain('claim new does not exist yet');
    await world.with(blank('new'));
    await world.settle();
    expect(await change()).toMatchObject({ status: 'True', reason: 'VolumesChangeInProgress' });
    expect((await change())?.message).toContain('CloneInProgress');
    const state = (await box()).status?.volumeUpdateState?.volumeMigrationState;
    expect(state?.migratedVolumes).toMatchObject([
      { volumeName: 'root', sourcePVCInfo: { claimName: 'old' }, destinationPVCInfo: { claimName: 'new' } },
    ]);
    expect(await world.exists(VirtualMachineInstanceKind, 'a/box')).toBe(false);
    const phase = { status: { phase: 'Succeeded' } };
    cdi.fate = 'Succeeded';
    await world.client.patch(DataVolumeKind, { namespace: 'a', name: 'new' }, phase, { type: 'merge', subresource: 'status' });
    await world.settle();
    expect(await world.exists(VirtualMachineInstanceKind, 'a/box')).toBe(true);
  });

  it('stays where it is when the spec goes back, and what was begun goes', async () => {
    await start();
    cdi.fate = 'CloneInProgress';
    await world.with(blank('new'));
    await use('new');
    expect((await change())?.status).toBe('True');
    await use('old', { runStrategy: 'Always' });
    expect(await change()).toMatchObject({
      status: 'False',
      reason: 'VolumesChangeCancellation',
      message: 'The move was cancelled: volume root from old to new',
    });
    expect(await world.exists(DataVolumeKind, 'a/new')).toBe(false);
    expect(await world.exists(VirtualMachineInstanceKind, 'a/box')).toBe(true);
  });

  it('is not moved into content of its own, until a person decides', async () => {
    await start();
    const imported = built(DataVolumeKind, 'a/new', {
      spec: { source: { http: { url: 'http://h/i' } }, storage: { resources: { requests: { storage: '1Gi' } } } },
    });
    await world.with(imported);
    await use('new', { runStrategy: 'Always' });
    expect(await change()).toMatchObject({ status: 'False', reason: 'VolumesUpdateError' });
    expect((await change())?.message).toContain('DataVolume new has content of its own');
    expect(await world.exists(VirtualMachineInstanceKind, 'a/box')).toBe(false);
    await use('new', { updateVolumesStrategy: 'Replacement' });
    expect((await change())?.reason).toBe('VolumesChangeCancellation');
    expect(await world.exists(VirtualMachineInstanceKind, 'a/box')).toBe(true);
    expect(await world.exists(DataVolumeKind, 'a/new')).toBe(true);
  });

  it('keeps its record when somebody writes the VM without it, and takes none from a new VM', async () => {
    await start();
    await use('new');
    const { [VOLUME_MIGRATION]: record, ...annotations } = (await box()).metadata.annotations ?? {};
    expect(record).toBe('{"root":{"from":"old"}}');
    const stored = await box();
    await world.client.update(VirtualMachineKind, { ...stored, metadata: { ...stored.metadata, annotations } });
    expect((await box()).metadata.annotations?.[VOLUME_MIGRATION]).toBe(record);
    const forged = vm('a/forged', { ...machine.object, metadata: { annotations: { [VOLUME_MIGRATION]: record ?? '' } } });
    await world.with(forged);
    expect((await world.get(VirtualMachineKind, 'a/forged')).metadata.annotations?.[VOLUME_MIGRATION]).toBeUndefined();
  });
});

describe('a volume of a running VM', () => {
  const onNode = (name: string) => ({
    required: {
      nodeSelectorTerms: [{ matchExpressions: [{ key: 'kubernetes.io/hostname', operator: 'In' as const, values: [name] }] }],
    },
  });
  const vmi = () => world.get(VirtualMachineInstanceKind, 'a/box');
  const isMoving = { volumeName: 'root', sourcePVCInfo: { claimName: 'old' }, destinationPVCInfo: { claimName: 'new' } };

  /** The guest runs, its volume names a blank claim of this node, and its agent has been told. */
  async function told(node?: string): Promise<void> {
    await start();
    await use('old', { runStrategy: 'Always' });
    await agentSays(({ status, ...rest }) => ({
      ...rest,
      status: { ...status, phase: 'Running', volumeStatus: inClaim('old') },
    }));
    const claimRef = { namespace: 'a', name: 'new' };
    const ofAll = { local: undefined, nodeAffinity: undefined, csi: { driver: 'shared.slipway.dev', volumeHandle: 'new' } };
    const spec = { claimRef, ...(node === undefined ? ofAll : { nodeAffinity: onNode(node) }) } as never;
    await world.with(blank('new'), pv('pv-new', { spec }), disk('new', { spec: { volumeName: 'pv-new' } }));
    await use('new');
  }
  const inClaim = (claimName: string) => [{ name: 'root', target: 'vda', persistentVolumeClaimInfo: { claimName } }];
  async function agentSays(change: (now: VirtualMachineInstance) => VirtualMachineInstance): Promise<void> {
    await platform?.update(VirtualMachineInstanceKind, change(await vmi()));
    await world.settle();
  }
  const arrives = (): Promise<void> =>
    agentSays(({ status, ...rest }) => ({ ...rest, status: { ...status, volumeStatus: inClaim('new') } }));
  /** The agent has left the guest where it was. */
  const letGo = (): Promise<void> =>
    agentSays(({ status, ...rest }) => {
      const { migratedVolumes: _, conditions = [], ...left } = status ?? {};
      return { ...rest, status: { ...left, conditions: conditions.filter(({ type }) => type !== 'VolumesChange') } };
    });
  const cancelling = { type: 'VolumesChange', status: 'False', reason: 'VolumesChangeCancellation' };

  it('is copied by the agent of its guest, which then has the new claim', async () => {
    await told();
    expect(await change()).toMatchObject({ status: 'True', reason: 'VolumesChangeInProgress' });
    expect((await vmi()).status?.migratedVolumes).toMatchObject([isMoving]);
    expect((await vmi()).status?.conditions).toContainEqual(expect.objectContaining({ type: 'VolumesChange', status: 'True' }));
    expect((await vmi()).spec.volumes).toMatchObject([{ persistentVolumeClaim: { claimName: 'old' } }]);
    const { uid } = (await world.get(DataVolumeKind, 'a/new')).metadata;
    await arrives();
    expect((await vmi()).spec.volumes).toEqual([{ name: 'root', persistentVolumeClaim: { claimName: 'new' } }]);
    expect((await vmi()).status?.migratedVolumes).toBeUndefined();
    expect(await change()).toMatchObject({ status: 'False', reason: 'VolumesChangeCompleted' });
    const after = await box();
    expect(after.metadata.annotations?.[VOLUME_MIGRATION]).toBeUndefined();
    expect(after.status?.conditions?.map(({ type }) => type)).not.toContain('RestartRequired');
    expect((await world.get(DataVolumeKind, 'a/new')).metadata.uid).toBe(uid);
  });

  it('stays in the old claim when the spec goes back, as soon as its agent says so', async () => {
    await told();
    await use('old');
    expect((await vmi()).status?.conditions).toContainEqual(expect.objectContaining(cancelling));
    expect((await box()).metadata.annotations?.[VOLUME_MIGRATION]).toContain('"tried":"new"');
    await letGo();
    expect(await change()).toMatchObject({ status: 'False', reason: 'VolumesChangeCancellation' });
    expect((await box()).metadata.annotations?.[VOLUME_MIGRATION]).toBeUndefined();
    expect((await vmi()).spec.volumes).toMatchObject([{ persistentVolumeClaim: { claimName: 'old' } }]);
  });

  it('whose copy was complete before it was called off has its content in the new claim', async () => {
    await told();
    await use('old');
    await arrives();
    expect((await vmi()).spec.volumes).toEqual([{ name: 'root', persistentVolumeClaim: { claimName: 'new' } }]);
    expect((await vmi()).status?.conditions?.map(({ type }) => type)).not.toContain('VolumesChange');
    expect((await box()).metadata.annotations?.[VOLUME_MIGRATION]).toBe('{"root":{"from":"new"}}');
    expect(await change()).toMatchObject({ status: 'False', reason: 'VolumesUpdateError' });
    expect((await box()).status?.conditions).toContainEqual(expect.objectContaining({ type: 'RestartRequired' }));
  });

  it('goes to a third claim only when it is known where it is', async () => {
    await told();
    await world.with(blank('third'));
    await use('third');
    expect((await vmi()).status?.migratedVolumes).toMatchObject([isMoving]);
    expect((await vmi()).status?.conditions).toContainEqual(expect.objectContaining(cancelling));
    await arrives();
    expect((await box()).metadata.annotations?.[VOLUME_MIGRATION]).toContain('"from":"new"');
  });

  it('waits until its guest runs', async () => {
    await start();
    await use('old', { runStrategy: 'Always' });
    await world.with(blank('new'));
    await use('new');
    expect((await change())?.message).toContain('the guest is Pending');
    expect((await vmi()).status?.migratedVolumes).toBeUndefined();
  });

  it('is not copied to a node where its guest is not', async () => {
    await told('elsewhere');
    expect(await change()).toMatchObject({ status: 'False', reason: 'VolumesUpdateError' });
    expect((await change())?.message).toContain('claim new is on node elsewhere');
    expect((await vmi()).status?.migratedVolumes).toBeUndefined();
  });

  it('whose guest ends meanwhile is where its agent has said', async () => {
    await told();
    await agentSays(({ status, ...rest }) => ({ ...rest, status: { ...status, phase: 'Failed' } }));
    expect((await change())?.message).toContain('nobody can tell yet whether that copy was complete');
    const annotations = { [COPIED_FROM]: 'old' };
    await world.client.patch(
      PersistentVolumeKind,
      { namespace: '', name: 'pv-new' },
      { metadata: { annotations } },
      { type: 'merge' },
    );
    await world.client.patch(VirtualMachineKind, KEY, { metadata: { labels: { looked: 'again' } } }, { type: 'merge' });
    await world.settle();
    expect(await change()).toMatchObject({ status: 'False', reason: 'VolumesChangeCompleted' });
  });
});
