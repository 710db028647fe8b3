import {
  PersistentVolumeClaimKind,
  VirtualMachineCloneKind,
  VirtualMachineKind,
  VirtualMachineRestoreKind,
  VirtualMachineSnapshotContentKind,
  VirtualMachineSnapshotKind,
} from '@slipway/api';
import { allow, type ControllerRegistration, owned, watchOf } from '@slipway/runtime';
import { waitingFor } from '../vm-snapshot/objects.ts';
import { VmCloneReconciler } from './vm-clone-reconciler.ts';

const BY_SOURCE = 'vm-clone/source';

/** Clones VMs. */
export const vmCloneController: ControllerRegistration = {
  name: 'virtualmachineclone-controller',
  rules: [
    ...allow('patch', [VirtualMachineCloneKind, 'status']),
    ...allow('get create delete', VirtualMachineSnapshotKind),
    ...allow('create delete', VirtualMachineRestoreKind),
  ],
  create({ client, events, clock, informers }) {
    const clones = informers.for(VirtualMachineCloneKind);
    clones.addIndex(BY_SOURCE, ({ metadata, spec }) => [`${metadata.namespace}/${spec.source.name}`]);
    const ofSource = waitingFor(clones.lister, BY_SOURCE, ({ status }) => status?.phase === 'Succeeded');
    return {
      kind: VirtualMachineCloneKind,
      concurrency: 3,
      watches: [
        owned(VirtualMachineSnapshotKind, VirtualMachineCloneKind),
        owned(VirtualMachineRestoreKind, VirtualMachineCloneKind),
        watchOf(VirtualMachineSnapshotKind, ofSource),
        watchOf(VirtualMachineKind, ofSource, ({ type }) => type === 'added'),
      ],
      reconciler: new VmCloneReconciler({
        ...{ client, events, clock },
        clones: clones.lister,
        snapshots: informers.lister(VirtualMachineSnapshotKind),
        contents: informers.lister(VirtualMachineSnapshotContentKind),
        restores: informers.lister(VirtualMachineRestoreKind),
        vms: informers.lister(VirtualMachineKind),
        claims: informers.lister(PersistentVolumeClaimKind),
      }),
    };
  },
};
