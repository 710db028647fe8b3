import {
  type kubevirt,
  VirtualMachineCloneKind,
  VirtualMachineKind,
  VirtualMachineRestoreKind,
  VirtualMachineSnapshotKind,
} from '@slipway/api';
import { type Built, built, type TestWorld, testWorld } from '@slipway/testkit';
import { afterEach, describe, expect, it } from 'vitest';
import { vmRestoreController } from '../vm-restore/index.ts';
import { vmSnapshotContentController, vmSnapshotController } from '../vm-snapshot/index.ts';
import { machine, simulatedStorage, storageObjects, templateSpec } from '../vm-snapshot/testing/simulated-storage.ts';
import { volumeSnapshotController } from '../volume-snapshot/index.ts';
import { clonePatches, isKept, type VmClone } from './clone-plan.ts';
import { vmCloneController } from './index.ts';

describe('filters of a clone', () => {
  it.each([
    ['a', undefined, true],
    ['a', [], false],
    ['a', ['*'], true],
    ['a', ['*', '!a'], false],
    ['ab', ['a*'], true],
    ['b', ['a*'], false],
    ['ab', ['a*', '!ab*'], false],
    ['example.com/x', ['example.com/*'], true],
    ['key1', ['key.'], true],
    ['a', ['!b'], false],
  ])('%s with %j is kept: %s', (key, filters, kept) => {
    expect(isKept(key, filters)).toBe(kept);
  });
});

const cloneOf = (spec: Partial<kubevirt.VirtualMachineCloneSpec> = {}): Built<VmClone> =>
  built(VirtualMachineCloneKind, 'a/again', {
    spec: {
      source: { apiGroup: 'kubevirt.io', kind: 'VirtualMachine', name: 'web' },
      target: { apiGroup: 'kubevirt.io', kind: 'VirtualMachine', name: 'copy' },
      ...spec,
    },
  });

describe('patches of a clone', () => {
  const source = {
    metadata: { labels: { keep: '1', 'example.com/drop': '2' } },
    spec: { template: { spec: templateSpec } },
  } as unknown as kubevirt.V1beta1VirtualMachine; // only what patches look at

  it('leave out labels, addresses and identities of the source', () => {
    expect(clonePatches(cloneOf({ labelFilters: ['*', '!example.com/*'] }).object, source)).toEqual([
      '{"op":"remove","path":"/metadata/labels/example.com~1drop"}',
      '{"op":"remove","path":"/spec/template/spec/domain/devices/interfaces/0/macAddress"}',
      '{"op":"remove","path":"/spec/template/spec/domain/firmware/uuid"}',
      '{"op":"remove","path":"/spec/template/spec/domain/firmware/serial"}',
    ]);
  });

  it('put in what the clone asks for, its own patches last', () => {
    const own = '{"op": "add", "path": "/spec/template/metadata/labels/x", "value": "y"}';
    const clone = cloneOf({ newMacAddresses: { default: '02:00:00:00:00:02' }, newSMBiosSerial: 'new', patches: [own] });
    expect(clonePatches(clone.object, source)).toEqual([
      '{"op":"replace","path":"/spec/template/spec/domain/devices/interfaces/0/macAddress","value":"02:00:00:00:00:02"}',
      '{"op":"remove","path":"/spec/template/spec/domain/firmware/uuid"}',
      '{"op":"replace","path":"/spec/template/spec/domain/firmware/serial","value":"new"}',
      own,
    ]);
  });
});

describe('a clone', () => {
  let world: TestWorld;
  afterEach(() => world.close());

  async function start(...objects: readonly Built[]): Promise<void> {
    const controllers = [
      volumeSnapshotController,
      vmSnapshotController,
      vmSnapshotContentController,
      vmRestoreController,
      vmCloneController,
      ...simulatedStorage().registrations,
    ];
    world = testWorld({ api: 'server', controllers });
    await world.with(...storageObjects, ...objects);
    await world.settle();
  }
  const clone = () => world.get(VirtualMachineCloneKind, 'a/again');

  it('of a VM is another VM, and leaves nothing behind', async () => {
    await start(machine('web', { spec: { runStrategy: 'Halted' } }), cloneOf({ labelFilters: ['t*', '!tier'] }));
    const { status } = await clone();
    expect(status).toMatchObject({ phase: 'Succeeded', targetName: 'copy' });
    expect(status?.conditions?.map(({ type, status: is }) => `${type} ${is}`)).toEqual(['Progressing False', 'Ready True']);
    const vm = await world.get(VirtualMachineKind, 'a/copy');
    expect(vm.metadata.labels).toEqual({ team: 'blue' });
    expect(vm.spec.runStrategy).toBe('Halted');
    expect(vm.spec.template.spec?.domain.firmware).toEqual({});
    expect(vm.spec.template.spec?.volumes?.[0]?.persistentVolumeClaim?.claimName).toMatch(/^restore-/);
    expect(await world.list(VirtualMachineSnapshotKind, 'a')).toEqual([]);
    expect(await world.list(VirtualMachineRestoreKind, 'a')).toEqual([]);
    expect(status?.snapshotName).toBeUndefined();
  });

  it('of a snapshot leaves that alone', async () => {
    const snapshot = built(VirtualMachineSnapshotKind, 'a/snap', {
      spec: { source: { apiGroup: 'kubevirt.io', kind: 'VirtualMachine', name: 'web' } },
    });
    await start(machine(), snapshot);
    const source = { apiGroup: 'snapshot.kubevirt.io', kind: 'VirtualMachineSnapshot', name: 'snap' };
    await world.with(cloneOf({ source, volumeNamePolicy: 'PrefixTargetName' }));
    await world.settle();
    expect((await clone()).status?.phase).toBe('Succeeded');
    const vm = await world.get(VirtualMachineKind, 'a/copy');
    expect(vm.spec.template.spec?.volumes?.[0]?.persistentVolumeClaim?.claimName).toBe('copy-root');
    expect(await world.exists(VirtualMachineSnapshotKind, 'a/snap')).toBe(true);
  });

  it('waits for its source', async () => {
    await start(cloneOf());
    expect((await clone()).status?.phase).toBe('Unknown');
    await world.with(machine());
    await world.settle();
    expect((await clone()).status?.phase).toBe('Succeeded');
  });

  it('never overwrites a VM', async () => {
    await start(machine(), machine('copy'), cloneOf());
    expect((await clone()).status?.phase).toBe('Failed');
  });

  it('is refused to VMs with variables or a TPM of their own', async () => {
    const domain = { ...templateSpec.domain, devices: { ...templateSpec.domain.devices, tpm: { persistent: true } } };
    await start(machine('web', { spec: { template: { spec: { ...templateSpec, domain } } } }), cloneOf());
    expect((await clone()).status?.phase).toBe('Failed');
    expect((await world.events(cloneOf())).join('\n')).toContain('SourceVMWithBackendStorageInvalid');
  });
});
