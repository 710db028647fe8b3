import {
  ControllerRevisionKind,
  DataSourceKind,
  DataVolumeKind,
  type kubevirt,
  KubeVirtKind,
  VirtualMachineClusterPreferenceKind,
  VirtualMachineInstanceKind,
  VirtualMachineInstancetypeKind,
  VirtualMachineKind,
} from '@slipway/api';
import { type Built, built, type TestWorld, testWorld, vm } from '@slipway/testkit';
import { SLIPWAY_PROFILE } from '@slipway/virt';
import { afterEach, describe, expect, it } from 'vitest';
import { kubeVirtControllers } from '../virtual-machine/kubevirt-controllers.ts';
import { keptSpec, resolveTypes } from './resolve-types.ts';

const KEY = 'default/web';
let world: TestWorld;

const small = built(VirtualMachineInstancetypeKind, 'default/small', {
  spec: { cpu: { guest: 2, maxSockets: 8 }, memory: { guest: '1Gi' } },
});
const linux = built(VirtualMachineClusterPreferenceKind, '/linux', {
  spec: { devices: { preferredDiskBus: 'virtio' }, volumes: { preferredStorageClassName: 'fast' } },
});

async function start(spec: object, ...others: readonly Built[]): Promise<void> {
  world = await testWorld({ api: 'server', controllers: kubeVirtControllers(SLIPWAY_PROFILE) }).with(...others);
  await world.with(vm(KEY, { spec: { runStrategy: 'Always', template: { spec: { domain: { devices: {} } } }, ...spec } }));
  await world.settle();
}

afterEach(async () => world.close());

const machine = () => world.get(VirtualMachineKind, KEY);
const instance = () => world.get(VirtualMachineInstanceKind, KEY);
const revision = async (ref: kubevirt.InstancetypeStatusRef | undefined) =>
  world.get(ControllerRevisionKind, `default/${ref?.controllerRevisionRef?.name}`);

const typeRecords = async () =>
  (await world.list(ControllerRevisionKind)).filter(
    ({ metadata }) => metadata.labels?.['instancetype.kubevirt.io/object-name'] !== undefined,
  );
const restartMessage = async () => (await machine()).status?.conditions?.find(({ type }) => type === 'RestartRequired')?.message;
const merge = async (patch: object): Promise<void> => {
  await world.client.patch(VirtualMachineKind, { namespace: 'default', name: 'web' }, patch, { type: 'merge' });
  await world.settle();
};
/** Brings another pass of the controller. */
const touch = () => merge({ metadata: { labels: { touched: 'true' } } });
const take = (instancetype: object) => merge({ spec: { instancetype } });
/** The guest runs, as far as the API knows. */
const running = async (): Promise<void> => {
  const vmi = await instance();
  await world.client.update(VirtualMachineInstanceKind, { ...vmi, status: { ...vmi.status, phase: 'Running' } });
  await world.settle();
};

describe('instance types of virtual machines', () => {
  it('are recorded, and the VM keeps what was recorded', async () => {
    await start(
      { instancetype: { name: 'small', kind: 'VirtualMachineInstancetype' }, preference: { name: 'linux' } },
      small,
      linux,
    );
    const { status, metadata } = await machine();
    expect(status?.instancetypeRef).toMatchObject({ name: 'small', kind: 'VirtualMachineInstancetype' });
    expect(status?.preferenceRef).toMatchObject({ name: 'linux', kind: 'virtualmachineclusterpreference' });
    const record = await revision(status?.instancetypeRef);
    const type = await world.get(VirtualMachineInstancetypeKind, 'default/small');
    expect(record.metadata.name).toBe(`web-small-v1beta1-${type.metadata.uid}-${type.metadata.generation}`);
    expect(record.metadata.labels).toEqual({
      'instancetype.kubevirt.io/object-generation': String(type.metadata.generation),
      'instancetype.kubevirt.io/object-kind': 'VirtualMachineInstancetype',
      'instancetype.kubevirt.io/object-name': 'small',
      'instancetype.kubevirt.io/object-uid': type.metadata.uid,
      'instancetype.kubevirt.io/object-version': 'v1beta1',
    });
    expect(record.metadata.ownerReferences?.[0]?.uid).toBe(metadata.uid);
    expect((await instance()).spec.domain.cpu?.sockets).toBe(2);

    await world.client.update(VirtualMachineInstancetypeKind, { ...type, spec: { ...type.spec, cpu: { guest: 4 } } });
    await world.settle();
    const resolved = await resolveTypes(world.client, await machine());
    expect(resolved.instancetype?.spec.cpu.guest).toBe(2);
  });

  it('follow a volume, through the source of its data', async () => {
    const source = built(DataSourceKind, 'default/fedora', {
      metadata: { labels: { 'instancetype.kubevirt.io/default-preference': 'linux' } },
      spec: { source: { pvc: { namespace: 'default', name: 'image' } } },
    });
    await start(
      {
        preference: { inferFromVolume: 'root' },
        dataVolumeTemplates: [
          { metadata: { name: 'web-root' }, spec: { storage: {}, sourceRef: { kind: 'DataSource', name: 'fedora' } } },
        ],
        template: {
          spec: {
            domain: { devices: {}, memory: { guest: '1Gi' } },
            volumes: [{ name: 'root', dataVolume: { name: 'web-root' } }],
          },
        },
      },
      source,
      linux,
    );
    const { status, spec } = await machine();
    expect(status?.preferenceRef).toMatchObject({ name: 'linux', inferFromVolume: 'root' });
    expect(spec.preference).toEqual({ inferFromVolume: 'root' });
    expect((await world.get(DataVolumeKind, 'default/web-root')).spec.storage?.storageClassName).toBe('fast');
  });

  it('that cannot be inferred keep the VM from starting, unless that is said to be no fault', async () => {
    const template = {
      spec: { domain: { devices: {}, memory: { guest: '1Gi' } }, volumes: [{ name: 'root', containerDisk: { image: 'a/b' } }] },
    };
    await start({ instancetype: { inferFromVolume: 'root' }, template });
    expect((await machine()).status?.conditions?.find(({ type }) => type === 'Failure')?.message).toMatch(
      /type is not supported/,
    );
    expect(await world.exists(VirtualMachineInstanceKind, KEY)).toBe(false);
    await world.client.patch(
      VirtualMachineKind,
      { namespace: 'default', name: 'web' },
      { spec: { instancetype: { inferFromVolumeFailurePolicy: 'Ignore' } } },
      { type: 'merge' },
    );
    await world.settle();
    expect((await instance()).spec.domain.memory?.guest).toBe('1Gi');
  });

  it('that are missing are named in the Failure condition', async () => {
    await start({ instancetype: { name: 'huge' } });
    const failure = (await machine()).status?.conditions?.find(({ type }) => type === 'Failure');
    expect(failure).toMatchObject({ status: 'True', reason: 'FailedFindInstancetype' });
  });

  it('are written into the VM when the cluster wants that', async () => {
    const kubevirt = built(KubeVirtKind, 'kubevirt/kubevirt', {
      spec: { configuration: { instancetype: { referencePolicy: 'expandAll' } } },
    });
    await start({ instancetype: { name: 'small', kind: 'VirtualMachineInstancetype' } }, small, kubevirt);
    const { spec, status } = await machine();
    expect(spec.instancetype).toBeUndefined();
    expect(spec.template.spec?.domain.memory?.guest).toBe('1Gi');
    expect(status?.instancetypeRef).toBeUndefined();
    expect((await instance()).spec.domain.cpu?.sockets).toBe(2);
  });

  it('that a VM no longer names leave no record', async () => {
    await start({ instancetype: { name: 'small', kind: 'VirtualMachineInstancetype' }, runStrategy: 'Halted' }, small);
    await world.advance(1_000);
    expect((await machine()).status?.instancetypeRef).toBeDefined();
    const patch = { spec: { instancetype: null, template: { spec: { domain: { memory: { guest: '1Gi' } } } } } };
    await world.client.patch(VirtualMachineKind, { namespace: 'default', name: 'web' }, patch, { type: 'merge' });
    await world.settle();
    expect((await machine()).status?.instancetypeRef).toBeUndefined();
    expect(await world.list(ControllerRevisionKind)).toEqual([]);
  });

  it('written into a running VM ask for no restart, and their records stay until the guest starts again', async () => {
    const kubevirt = built(KubeVirtKind, 'kubevirt/kubevirt', { spec: { configuration: {} } });
    await start({ instancetype: { name: 'small', kind: 'VirtualMachineInstancetype' } }, small, kubevirt);
    const expandAll = { spec: { configuration: { instancetype: { referencePolicy: 'expandAll' } } } };
    await world.client.patch(KubeVirtKind, { namespace: 'kubevirt', name: 'kubevirt' }, expandAll, { type: 'merge' });
    await world.settle();
    await touch();
    const { spec, status } = await machine();
    expect(spec.instancetype).toBeUndefined();
    expect(status?.conditions?.map(({ type }) => type)).not.toContain('RestartRequired');
    expect(await typeRecords()).toHaveLength(1);
    await world.client.delete(VirtualMachineInstanceKind, { namespace: 'default', name: 'web' });
    await world.advance(60_000);
    await world.advance(60_000); // the guest has not run, so the next start waits
    await touch();
    expect(await typeRecords()).toEqual([]);
  });

  it('that grow are followed by the running guest, and others ask for a restart by name', async () => {
    const bigger = built(VirtualMachineInstancetypeKind, 'default/bigger', {
      spec: { cpu: { guest: 4, maxSockets: 8 }, memory: { guest: '1Gi' } },
    });
    const pinned = built(VirtualMachineInstancetypeKind, 'default/pinned', {
      spec: { cpu: { guest: 4, maxSockets: 8, isolateEmulatorThread: true }, memory: { guest: '1Gi' } },
    });
    const kind = 'VirtualMachineInstancetype';
    await start({ instancetype: { name: 'small', kind } }, small, bigger, pinned);
    await running();
    await take({ name: 'bigger', kind });
    expect((await instance()).spec.domain.cpu?.sockets).toBe(4);
    expect(await restartMessage()).toBeUndefined();
    await take({ name: 'pinned', kind });
    expect(await restartMessage()).toMatch(/spec\.instancetype\.name, spec\.template\.spec\.domain\.cpu\.isolateEmulatorThread/);
    await take({ name: 'small', kind });
    expect(await restartMessage()).toBe('Reduction of CPU socket count requires a restart');
  });

  it('recorded by an older release are recorded anew in the present version', async () => {
    await start({ instancetype: { name: 'small', kind: 'VirtualMachineInstancetype' }, runStrategy: 'Halted' }, small);
    await world.advance(1_000);
    const { status } = await machine();
    const record = await revision(status?.instancetypeRef);
    const spec = { cpu: { guest: 3 }, memory: { guest: '2Gi' } };
    const old = {
      ...record,
      metadata: {
        name: 'web-small-v1alpha1-old',
        namespace: 'default',
        ownerReferences: record.metadata.ownerReferences ?? [],
        labels: { ...record.metadata.labels, 'instancetype.kubevirt.io/object-version': 'v1alpha1' },
      },
      data: {
        apiVersion: 'instancetype.kubevirt.io/v1alpha1',
        spec: Buffer.from(JSON.stringify(spec)).toString('base64'),
      },
    };
    await world.client.delete(ControllerRevisionKind, { namespace: 'default', name: record.metadata.name ?? '' });
    await world.client.create(ControllerRevisionKind, old);
    const ref = { ...status?.instancetypeRef, controllerRevisionRef: { name: 'web-small-v1alpha1-old' } };
    const renamed = { ...(await machine()), status: { ...status, instancetypeRef: ref } };
    await world.client.update(VirtualMachineKind, renamed, { subresource: 'status' });
    await world.settle();
    const upgraded = await revision((await machine()).status?.instancetypeRef);
    expect(upgraded.metadata.name).toMatch(/^web-small-v1beta1-/);
    expect(upgraded.data).toMatchObject({ apiVersion: 'instancetype.kubevirt.io/v1beta1', spec });
    expect((await typeRecords()).map(({ metadata }) => metadata.name)).toEqual([upgraded.metadata.name]);
  });

  it('of the first alpha level are read from their records', () => {
    const spec = { cpu: { guest: 1 }, memory: { guest: '1Gi' } };
    const encoded = Buffer.from(JSON.stringify(spec)).toString('base64');
    expect(keptSpec({ apiVersion: 'instancetype.kubevirt.io/v1alpha1', spec: encoded })).toEqual(spec);
    expect(keptSpec({ spec })).toEqual(spec);
    expect(keptSpec({ spec: '%%' })).toBeUndefined();
  });
});
