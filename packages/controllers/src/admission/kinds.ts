import type { kubevirt } from '@slipway/api';
import type { KubeObject, ResourceKind } from '@slipway/apimachinery';

const kind = <T extends KubeObject>(group: string, version: string, name: string, plural: string): ResourceKind<T> => ({
  group,
  version,
  kind: name,
  plural,
  namespaced: true,
});

export const SnapshotKind = kind<kubevirt.VirtualMachineSnapshot>(
  'snapshot.kubevirt.io',
  'v1beta1',
  'VirtualMachineSnapshot',
  'virtualmachinesnapshots',
);
export const RestoreKind = kind<kubevirt.VirtualMachineRestore>(
  'snapshot.kubevirt.io',
  'v1beta1',
  'VirtualMachineRestore',
  'virtualmachinerestores',
);
export const PresetKind = kind<kubevirt.VirtualMachineInstancePreset>(
  'kubevirt.io',
  'v1',
  'VirtualMachineInstancePreset',
  'virtualmachineinstancepresets',
);
