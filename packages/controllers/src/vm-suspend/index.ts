import { PersistentVolumeClaimKind, VirtualMachineInstanceKind, VirtualMachineKind } from '@slipway/api';
import { type KubeObject, keyOf, type ObjectKey } from '@slipway/apimachinery';
import { allow, type ControllerRegistration, watchOf } from '@slipway/runtime';
import { FreshObjects } from '../virtual-machine-instance/fresh-objects.ts';
import { memoryStateOf } from './memory-state.ts';
import { VmSuspendReconciler } from './vm-suspend-reconciler.ts';

/** Suspends VMs to disk, and lets them go on. */
export const vmSuspendController: ControllerRegistration = {
  name: 'virtualmachinesuspend-controller',
  rules: [
    ...allow('patch', VirtualMachineKind, [VirtualMachineKind, 'status']),
    ...allow('get delete', VirtualMachineInstanceKind),
    ...allow('get create delete', PersistentVolumeClaimKind),
  ],
  create: ({ client, informers, events, clock, nodes }) => ({
    kind: VirtualMachineKind,
    concurrency: 4,
    watches: [
      watchOf(VirtualMachineInstanceKind, ({ metadata }) => [keyOf({ metadata })]),
      watchOf(PersistentVolumeClaimKind, (claim) => (memoryStateOf(claim) === undefined ? [] : ownersOf(claim))),
    ],
    reconciler: new VmSuspendReconciler({
      ...{ client, events, clock, nodes },
      vms: new FreshObjects(informers.for(VirtualMachineKind)),
      vmis: informers.lister(VirtualMachineInstanceKind),
      claims: informers.lister(PersistentVolumeClaimKind),
    }),
  }),
};

const ownersOf = ({ metadata }: KubeObject): readonly ObjectKey[] =>
  (metadata.ownerReferences ?? [])
    .filter(({ kind }) => kind === VirtualMachineKind.kind)
    .map(({ name }) => ({ namespace: metadata.namespace ?? '', name }));
