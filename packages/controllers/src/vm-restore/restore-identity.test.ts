import type { kubevirt, VirtualMachine } from '@slipway/api';
import { clusterConfig, renderInstance } from '@slipway/virt';
import { describe, expect, it } from 'vitest';
import { manifestList } from '../vm-export/export-manifests.ts';
import type { VmSnapshotContent } from '../vm-snapshot/snapshot-state.ts';
import { newVm, planRestores, restoredSpec, type VmRestore } from './restore-plan.ts';

const spec: kubevirt.VirtualMachineSpec = {
  runStrategy: 'Halted',
  dataVolumeTemplates: [{ apiVersion: 'cdi.kubevirt.io/v1beta1', kind: 'DataVolume', metadata: { name: 'root' }, spec: {} }],
  template: {
    spec: {
      domain: { devices: { interfaces: [{ name: 'default', masquerade: {} }] } },
      networks: [{ name: 'default', pod: {} }],
      volumes: [
        { name: 'root', dataVolume: { name: 'root' } },
        { name: 'data', dataVolume: { name: 'data', hotpluggable: true } },
      ],
    },
  },
};
const metadata = { name: 'web', namespace: 'a', uid: 'first' };
const web: VirtualMachine = { apiVersion: 'kubevirt.io/v1', kind: 'VirtualMachine', metadata, spec };
const content = (annotations: Record<string, string> = {}): VmSnapshotContent => ({
  apiVersion: 'snapshot.kubevirt.io/v1beta1',
  kind: 'VirtualMachineSnapshotContent',
  metadata: { name: 'content' },
  spec: {
    source: { virtualMachine: { metadata: { ...metadata, annotations }, spec } },
    volumeBackups: ['root', 'data'].map((name) => ({
      volumeName: name,
      volumeSnapshotName: `snap-${name}`,
      persistentVolumeClaim: { metadata: { name }, spec: {} },
    })),
  },
});
const restoreTo = (name: string, policy?: 'InPlace'): VmRestore => ({
  apiVersion: 'snapshot.kubevirt.io/v1beta1',
  kind: 'VirtualMachineRestore',
  metadata: { name: 'back', namespace: 'a', uid: 'u' },
  spec: {
    target: { apiGroup: 'kubevirt.io', kind: 'VirtualMachine', name },
    virtualMachineSnapshotName: 'snap',
    ...(policy && { volumeRestorePolicy: policy }),
  },
});

/** Address of the first interface and firmware UUID that an instance of the VM has. */
function identityOf(vm: VirtualMachine): readonly (string | undefined)[] {
  const { domain } = renderInstance(vm, clusterConfig()).spec;
  return [domain.devices.interfaces?.[0]?.macAddress, domain.firmware?.uuid];
}
const made = (vm: VirtualMachine): VirtualMachine => ({ ...vm, metadata: { ...vm.metadata, uid: 'second' } });

describe('a VM that comes back', () => {
  it.each([{}, { 'slipway.dev/identity': 'zeroth' }])(
    'under its own name is the same machine, annotated %j before',
    (annotations) => {
      const before = { ...web, metadata: { ...web.metadata, annotations } };
      const back = made(newVm(restoreTo('web'), content(annotations), spec));
      expect(identityOf(back)).toEqual(identityOf(before));
    },
  );

  it.each([{}, { 'slipway.dev/identity': 'zeroth' }])('under another name is another one, annotated %j before', (annotations) => {
    const before = { ...web, metadata: { ...web.metadata, annotations } };
    const back = made(newVm(restoreTo('copy'), content(annotations), spec));
    expect(back.metadata.annotations?.['slipway.dev/identity']).toBeUndefined();
    for (const [index, value] of identityOf(back).entries()) expect(value).not.toBe(identityOf(before)[index]);
  });

  it('by the manifests of an export is the same, also on other clusters', () => {
    const vmExport = {
      apiVersion: 'export.kubevirt.io/v1',
      kind: 'VirtualMachineExport',
      metadata: { name: 'out' },
      spec: { source: { apiGroup: 'kubevirt.io', kind: 'VirtualMachine', name: 'web' } },
    };
    const list = manifestList({ vmExport, link: { cert: '' }, vm: { metadata, spec }, claims: [] }) as {
      items: VirtualMachine[];
    };
    const vm = list.items.find(({ kind }) => kind === 'VirtualMachine');
    expect(vm && identityOf(made(vm))).toEqual(identityOf(web));
    const [mac] = identityOf(web);
    expect(vm?.spec.template.spec?.domain.devices.interfaces?.[0]?.macAddress).toBe(mac);
  });

  it('in place has the manifest of its author', () => {
    const restore = restoreTo('web', 'InPlace');
    expect(restoredSpec(content(), planRestores(restore, content()))).toEqual(spec);
  });

  it('on other claims keeps what can be unplugged', () => {
    const { template } = restoredSpec(content(), planRestores(restoreTo('web'), content()));
    expect(template.spec?.volumes?.[1]).toEqual({
      name: 'data',
      persistentVolumeClaim: { hotpluggable: true, claimName: 'restore-u-data' },
    });
  });
});
