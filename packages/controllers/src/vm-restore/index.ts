import {
  DataVolumeKind,
  PersistentVolumeClaimKind,
  StorageClassKind,
  VirtualMachineInstanceKind,
  VirtualMachineKind,
  VirtualMachineRestoreKind,
  VirtualMachineSnapshotContentKind,
  VirtualMachineSnapshotKind,
  VolumeSnapshotContentKind,
  VolumeSnapshotKind,
} from '@slipway/api';
import { allow, type ControllerRegistration, watchOf } from '@slipway/runtime';
import { waitingFor } from '../vm-snapshot/objects.ts';
import { RESTORE_NAME } from './restore-plan.ts';
import { isComplete } from './restore-state.ts';
import { VmRestoreReconciler } from './vm-restore-reconciler.ts';

const BY_TARGET = 'vm-restore/target';

/** Restores VMs from their snapshots. */
export const vmRestoreController: ControllerRegistration = {
  name: 'virtualmachinerestore-controller',
  rules: [
    ...allow('patch', VirtualMachineRestoreKind, [VirtualMachineRestoreKind, 'status']),
    ...allow('get create update', VirtualMachineKind),
    ...allow('patch', [VirtualMachineKind, 'status']),
    ...allow('get create patch delete', PersistentVolumeClaimKind),
    ...allow('get delete', DataVolumeKind),
    { apiGroups: ['subresources.kubevirt.io'], resources: ['virtualmachines/stop'], verbs: ['update'] },
  ],
  create({ client, events, clock, informers }) {
    const restores = informers.for(VirtualMachineRestoreKind);
    restores.addIndex(BY_TARGET, ({ metadata, spec }) => [`${metadata.namespace}/${spec.target.name}`]);
    const classes = informers.lister(StorageClassKind);
    const ofTarget = waitingFor(restores.lister, BY_TARGET, isComplete);
    return {
      kind: VirtualMachineRestoreKind,
      concurrency: 4,
      watches: [
        watchOf(VirtualMachineKind, ofTarget),
        watchOf(VirtualMachineInstanceKind, ofTarget, ({ type }) => type === 'deleted'),
        watchOf(PersistentVolumeClaimKind, ({ metadata }) => {
          const name = metadata.annotations?.[RESTORE_NAME];
          return name === undefined ? [] : [{ namespace: metadata.namespace ?? '', name }];
        }),
      ],
      reconciler: new VmRestoreReconciler({
        ...{ client, events, clock },
        restores: restores.lister,
        snapshots: informers.lister(VirtualMachineSnapshotKind),
        contents: informers.lister(VirtualMachineSnapshotContentKind),
        vms: informers.lister(VirtualMachineKind),
        vmis: informers.lister(VirtualMachineInstanceKind),
        claims: informers.lister(PersistentVolumeClaimKind),
        volumeSnapshots: informers.lister(VolumeSnapshotKind),
        volumeContents: informers.lister(VolumeSnapshotContentKind),
        waitsForConsumer: ({ metadata, spec }) =>
          metadata.annotations?.['volume.kubernetes.io/selected-node'] === undefined &&
          classes.get({ namespace: '', name: spec?.storageClassName ?? '' })?.volumeBindingMode === 'WaitForFirstConsumer',
      }),
    };
  },
};
