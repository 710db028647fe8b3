import {
  ControllerRevisionKind,
  DataVolumeKind,
  type kubevirt,
  NodeKind,
  PersistentVolumeClaimKind,
  type VirtualMachine,
  VirtualMachineInstanceKind,
  VirtualMachineKind,
  VirtualMachinePoolKind,
} from '@slipway/api';
import { keyOf } from '@slipway/apimachinery';
import { allow, type ControllerRegistration, owned, watchOf } from '@slipway/runtime';
import { GroupMembers, type GroupTexts } from '../workload/guest-group.ts';
import { PoolReconciler } from './pool-reconciler.ts';

const nameOf = ({ metadata }: VirtualMachine): string => `${metadata.namespace}/${metadata.name}`;

const TEXTS: GroupTexts<VirtualMachine> = {
  created: (vm) => `Created VM ${nameOf(vm)}`,
  deleted: (vm) => `Deleted VM ${nameOf(vm)} with uid ${vm.metadata.uid}`,
  createFailed: ['FailedScaleOut', ''],
  deleteFailed: ['FailedScaleIn', ''],
  paused: ['SuccessfulPaused', 'Pool is paused'],
  resumed: ['SuccessfulResume', 'Pool is unpaused'],
};

/** The VirtualMachinePool controller. */
export const virtualMachinePoolController: ControllerRegistration = {
  name: 'virtualmachinepool-controller',
  rules: [
    ...allow('create update patch delete', VirtualMachineKind),
    ...allow('get', VirtualMachinePoolKind),
    ...allow('update', [VirtualMachineKind, 'status'], [VirtualMachinePoolKind, 'status']),
    ...allow('get create delete', ControllerRevisionKind),
    ...allow('patch', DataVolumeKind, PersistentVolumeClaimKind),
  ],
  create(deps) {
    const { client, informers, events, clock, random } = deps;
    const members = new GroupMembers<kubevirt.VirtualMachinePool, VirtualMachine>(
      deps,
      VirtualMachinePoolKind,
      VirtualMachineKind,
      TEXTS,
    );
    const vms = informers.lister(VirtualMachineKind);
    return {
      kind: VirtualMachinePoolKind,
      watches: [
        owned(VirtualMachineKind, VirtualMachinePoolKind),
        watchOf(VirtualMachineInstanceKind, (vmi) => {
          const vm = vms.get(keyOf(vmi));
          const pool = vm === undefined ? undefined : members.groupOf(vm);
          return pool === undefined ? [] : [pool];
        }),
      ],
      reconciler: new PoolReconciler({
        ...{ client, events, clock, random, members, vms },
        pools: informers.lister(VirtualMachinePoolKind),
        vmis: informers.lister(VirtualMachineInstanceKind),
        nodes: informers.lister(NodeKind),
        revisions: informers.lister(ControllerRevisionKind),
        dataVolumes: informers.lister(DataVolumeKind),
        claims: informers.lister(PersistentVolumeClaimKind),
      }),
    };
  },
};
