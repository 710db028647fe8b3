import {
  type kubevirt,
  type VirtualMachineInstance,
  VirtualMachineInstanceKind,
  VirtualMachineInstanceReplicaSetKind,
} from '@slipway/api';
import { allow, type ControllerRegistration, owned } from '@slipway/runtime';
import { GroupMembers, type GroupTexts } from '../workload/guest-group.ts';
import { ReplicaSetReconciler } from './replica-set-reconciler.ts';

const TEXTS: GroupTexts<VirtualMachineInstance> = {
  created: ({ metadata }) => `Started the virtual machine by creating the new virtual machine instance ${metadata.name}`,
  deleted: ({ metadata }) => `Stopped the virtual machine by deleting the virtual machine instance ${metadata.uid}`,
  createFailed: ['FailedCreate', 'Error creating virtual machine instance: '],
  deleteFailed: ['FailedDelete', 'Error deleting virtual machine instance: '],
  paused: ['SuccessfulPaused', 'Paused'],
  resumed: ['SuccessfulResumed', 'Resumed'],
};

/** The VirtualMachineInstanceReplicaSet controller. */
export const replicaSetVmiController: ControllerRegistration = {
  name: 'virtualmachineinstancereplicaset-controller',
  rules: [
    ...allow('create patch delete', VirtualMachineInstanceKind),
    ...allow('get', VirtualMachineInstanceReplicaSetKind),
    ...allow('update', [VirtualMachineInstanceReplicaSetKind, 'status']),
  ],
  create: (deps) => ({
    kind: VirtualMachineInstanceReplicaSetKind,
    watches: [owned(VirtualMachineInstanceKind, VirtualMachineInstanceReplicaSetKind)],
    reconciler: new ReplicaSetReconciler({
      sets: deps.informers.lister(VirtualMachineInstanceReplicaSetKind),
      members: new GroupMembers<kubevirt.VirtualMachineInstanceReplicaSet, VirtualMachineInstance>(
        deps,
        VirtualMachineInstanceReplicaSetKind,
        VirtualMachineInstanceKind,
        TEXTS,
      ),
    }),
  }),
};
