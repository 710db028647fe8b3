import type { ControllerRevision, VirtualMachine } from '@slipway/api';

const PREFIX = 'revision-start-vm-';

/** Name of the record of what the VM looked like at a start. */
export function startRevisionName(vm: VirtualMachine, generation = vm.metadata.generation ?? 0): string {
  return `${PREFIX}${vm.metadata.uid}-${generation}`;
}

export function isStartRevision(revision: ControllerRevision): boolean {
  return revision.metadata.name?.startsWith(PREFIX) === true;
}

/** The record itself; instance type and preference are pinned to the revisions in use. */
export function startRevision(vm: VirtualMachine): ControllerRevision {
  const { instancetype, preference } = vm.spec;
  const instancetypeRevision = vm.status?.instancetypeRef?.controllerRevisionRef?.name;
  const preferenceRevision = vm.status?.preferenceRef?.controllerRevisionRef?.name;
  const spec: VirtualMachine['spec'] = {
    ...vm.spec,
    ...(instancetype && instancetypeRevision && { instancetype: { ...instancetype, revisionName: instancetypeRevision } }),
    ...(preference && preferenceRevision && { preference: { ...preference, revisionName: preferenceRevision } }),
  };
  return {
    apiVersion: 'apps/v1',
    kind: 'ControllerRevision',
    metadata: {
      name: startRevisionName(vm),
      namespace: vm.metadata.namespace ?? '',
      ownerReferences: [ownerReferenceTo(vm)],
    },
    revision: vm.metadata.generation ?? 0,
    data: { spec },
  };
}

/** Controlling owner reference to a VM. */
export function ownerReferenceTo(vm: VirtualMachine) {
  return {
    apiVersion: 'kubevirt.io/v1',
    kind: 'VirtualMachine',
    name: vm.metadata.name ?? '',
    uid: vm.metadata.uid ?? '',
    controller: true,
    blockOwnerDeletion: true,
  };
}

/** The VM spec inside a start revision; undefined when the record is not one of ours. */
export function recordedSpec(revision: ControllerRevision | undefined): VirtualMachine['spec'] | undefined {
  const data: unknown = revision?.data;
  if (typeof data !== 'object' || data === null || !('spec' in data)) return undefined;
  const { spec } = data;
  // written by startRevision above; a foreign object with this name is compared like any other and asks for a restart
  return typeof spec === 'object' && spec !== null && 'template' in spec ? (spec as VirtualMachine['spec']) : undefined;
}
