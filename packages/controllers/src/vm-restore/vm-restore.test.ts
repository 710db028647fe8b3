import {
  DataVolumeKind,
  PersistentVolumeClaimKind,
  VirtualMachineInstanceKind,
  VirtualMachineKind,
  VirtualMachineRestoreKind,
  VirtualMachineSnapshotKind,
} from '@slipway/api';
import { type Built, built, type TestWorld, testWorld } from '@slipway/testkit';
import { afterEach, describe, expect, it } from 'vitest';
import { vmSnapshotContentController, vmSnapshotController } from '../vm-snapshot/index.ts';
import { instance, machine, simulatedStorage, storageObjects, templateSpec } from '../vm-snapshot/testing/simulated-storage.ts';
import { volumeSnapshotController } from '../volume-snapshot/index.ts';
import { vmRestoreController } from './index.ts';

let world: TestWorld;
afterEach(() => world.close());

const KEY = { namespace: 'a', name: 'web' };
const snapshot = built(VirtualMachineSnapshotKind, 'a/snap', {
  spec: { source: { apiGroup: 'kubevirt.io', kind: 'VirtualMachine', name: 'web' } },
});
const restoreOf = (spec: object = {}, target = 'web'): Built =>
  built(VirtualMachineRestoreKind, 'a/back', {
    spec: {
      target: { apiGroup: 'kubevirt.io', kind: 'VirtualMachine', name: target },
      virtualMachineSnapshotName: 'snap',
      ...spec,
    },
  });

/** A VM with a snapshot, whose memory was changed afterwards. */
async function start(vm: Built = machine()): Promise<void> {
  const controllers = [
    volumeSnapshotController,
    vmSnapshotController,
    vmSnapshotContentController,
    vmRestoreController,
    ...simulatedStorage().registrations,
  ];
  world = testWorld({ api: 'server', controllers });
  await world.with(...storageObjects, vm, snapshot);
  await world.settle();
  const patch = { spec: { template: { spec: { domain: { memory: { guest: '1Gi' } } } } } };
  await world.client.patch(VirtualMachineKind, KEY, patch, { type: 'merge' });
}

async function restored(spec: object = {}, target = 'web') {
  await world.with(restoreOf(spec, target));
  await world.settle();
  return world.get(VirtualMachineRestoreKind, 'a/back');
}

const reasons = (restore: { status?: { conditions?: readonly { type: string; status: string; reason?: string }[] } }) =>
  Object.fromEntries((restore.status?.conditions ?? []).map(({ type, status, reason }) => [type, `${status} ${reason}`]));

describe('a restore', () => {
  it('into the same VM puts spec and disks back, and keeps whether it runs', async () => {
    await start();
    const restore = await restored();
    const name = `restore-${restore.metadata.uid}-root`;
    expect(restore.status).toMatchObject({
      complete: true,
      restores: [{ volumeName: 'root', persistentVolumeClaim: name }],
    });
    expect(restore.status?.restoreTime).toBeDefined();
    expect(reasons(restore)).toEqual({ Progressing: 'False Operation complete', Ready: 'True Operation complete' });
    expect(restore.metadata.ownerReferences).toMatchObject([{ kind: 'VirtualMachine', name: 'web', controller: true }]);
    const vm = await world.get(VirtualMachineKind, KEY);
    expect(vm.spec.runStrategy).toBe('Halted');
    expect(vm.spec.template.spec?.domain.memory?.guest).toBe('128Mi');
    expect(vm.spec.template.spec?.volumes?.[0]).toEqual({ name: 'root', persistentVolumeClaim: { claimName: name } });
    expect(vm.metadata.annotations?.['restore.kubevirt.io/lastRestoreUID']).toBe(restore.metadata.uid);
    expect(vm.status?.restoreInProgress).toBeUndefined();
    const claim = await world.get(PersistentVolumeClaimKind, `a/${name}`);
    expect(claim.spec?.dataSource).toMatchObject({ kind: 'VolumeSnapshot', apiGroup: 'snapshot.storage.k8s.io' });
    expect(claim.metadata.annotations).toMatchObject({ 'restore.kubevirt.io/name': 'back', 'example.com/kept': 'yes' });
    expect(claim.metadata.annotations?.['cdi.kubevirt.io/storage.import.source']).toBeUndefined();
    expect(claim.metadata.ownerReferences).toMatchObject([{ kind: 'VirtualMachine', name: 'web' }]);
    expect(await world.exists(PersistentVolumeClaimKind, 'a/disk')).toBe(true);
  });

  it('into another name makes a VM that is off, with its patches', async () => {
    await start();
    const patches = ['{"op": "replace", "path": "/spec/template/spec/domain/firmware/uuid", "value": ""}'];
    const restore = await restored({ patches, volumeRestorePolicy: 'PrefixTargetName' }, 'copy');
    expect(restore.status?.complete).toBe(true);
    const vm = await world.get(VirtualMachineKind, 'a/copy');
    expect(vm.spec.runStrategy).toBe('Halted');
    expect(vm.metadata.labels).toEqual({ team: 'blue', tier: 'web' });
    expect(vm.spec.template.spec?.domain.firmware?.uuid ?? '').toBe('');
    expect(vm.spec.template.spec?.volumes?.[0]).toEqual({ name: 'root', persistentVolumeClaim: { claimName: 'copy-root' } });
    const claim = await world.get(PersistentVolumeClaimKind, 'a/copy-root');
    expect(claim.metadata.ownerReferences).toMatchObject([{ kind: 'VirtualMachine', name: 'copy' }]);
    expect((await world.get(VirtualMachineKind, KEY)).spec.template.spec?.domain.memory?.guest).toBe('1Gi');
  });

  it('gives templates other names, and takes the disks of the old ones away', async () => {
    const dataVolumeTemplates = [
      {
        metadata: { name: 'disk' },
        spec: { source: { blank: {} }, storage: { resources: { requests: { storage: '1Gi' } } } },
      },
    ];
    const volumes = [{ name: 'root', dataVolume: { name: 'disk' } }, templateSpec.volumes[1]];
    await start(machine('web', { spec: { dataVolumeTemplates, template: { spec: { ...templateSpec, volumes } } } }));
    await world.with(built(DataVolumeKind, 'a/disk', { spec: dataVolumeTemplates[0]?.spec, status: { phase: 'Succeeded' } }));
    const { metadata, status } = await restored();
    const name = `restore-${metadata.uid}-root`;
    expect(status).toMatchObject({ complete: true, deletedDataVolumes: ['disk'], restores: [{ dataVolumeName: name }] });
    const vm = await world.get(VirtualMachineKind, KEY);
    expect(vm.spec.dataVolumeTemplates?.[0]?.metadata).toMatchObject({
      name,
      annotations: { 'cdi.kubevirt.io/storage.prePopulated': name },
    });
    expect(vm.spec.template.spec?.volumes?.[0]).toEqual({ name: 'root', dataVolume: { name } });
    expect(await world.exists(DataVolumeKind, 'a/disk')).toBe(false);
  });

  it('in place uses the old names again', async () => {
    await start();
    const { metadata: old } = await world.get(PersistentVolumeClaimKind, 'a/disk');
    const { metadata } = await restored({ volumeRestorePolicy: 'InPlace' });
    // what protects the claim is not part of this world
    await world.client.patch(
      PersistentVolumeClaimKind,
      { namespace: 'a', name: 'disk' },
      { metadata: { finalizers: null } },
      { type: 'merge' },
    );
    await world.advance(3_000);
    expect((await world.get(VirtualMachineRestoreKind, 'a/back')).status?.complete).toBe(true);
    const claim = await world.get(PersistentVolumeClaimKind, 'a/disk');
    expect(claim.metadata.uid).not.toBe(old.uid);
    expect(claim.metadata.annotations?.['restore.kubevirt.io/name']).toBe(metadata.name);
  });

  describe('while its target runs', () => {
    async function running(spec: object): Promise<void> {
      await start();
      const { kind, object } = instance([]);
      await world.client.create(kind, object);
      await world.with(restoreOf(spec));
      await world.settle();
    }
    const restore = () => world.get(VirtualMachineRestoreKind, 'a/back');

    it('waits for it, locked against a start, and goes on when it has stopped', async () => {
      await running({});
      expect(reasons(await restore())).toMatchObject({ Progressing: 'True Waiting for target to be ready' });
      expect((await world.get(VirtualMachineKind, KEY)).status?.restoreInProgress).toBe('back');
      await world.client.delete(VirtualMachineInstanceKind, KEY);
      await world.settle();
      expect((await restore()).status?.complete).toBe(true);
    });

    it('gives up after five minutes', async () => {
      await running({});
      await world.advance(299_000);
      expect(reasons(await restore())['Failure']).toBeUndefined();
      await world.advance(2_000);
      expect(reasons(await restore())['Failure']).toBe('True Restore target web failed to be ready within 5m0s');
      expect((await world.get(VirtualMachineKind, KEY)).status?.restoreInProgress).toBeUndefined();
    });

    it('gives up at once, or waits for ever, as asked', async () => {
      await running({ targetReadinessPolicy: 'FailImmediate' });
      expect(reasons(await restore())['Failure']).toContain('must be powered off');
      await world.client.delete(VirtualMachineRestoreKind, { namespace: 'a', name: 'back' });
      await world.settle();
      await world.with(restoreOf({ targetReadinessPolicy: 'WaitEventually' }));
      await world.advance(3_600_000);
      expect(reasons(await restore())['Failure']).toBeUndefined();
    });
  });

  it('never overwrites another VM or another claim', async () => {
    await start();
    await world.with(machine('other'));
    expect(reasons(await restored({}, 'other'))['Failure']).toContain('is not the source of the snapshot');
    await world.client.delete(VirtualMachineRestoreKind, { namespace: 'a', name: 'back' });
    await world.settle();
    const volumeRestoreOverrides = [{ volumeName: 'root', restoreName: 'disk' }];
    expect(reasons(await restored({ volumeRestoreOverrides }, 'third'))['Failure']).toContain('PVC disk exists already');
  });
});
