import {
  ControllerRevisionKind,
  DataVolumeKind,
  NodeKind,
  PersistentVolumeClaimKind,
  type VirtualMachine,
  VirtualMachineInstanceKind,
  VirtualMachineKind,
  VirtualMachinePoolKind,
} from '@slipway/api';
import { controllerOf, keyOf, keyString, type ObjectKey } from '@slipway/apimachinery';
import { allow, type ControllerRegistration, Expectations, owned, watchOf } from '@slipway/runtime';
import { PoolReconciler } from './pool-reconciler.ts';

/** The VirtualMachinePool controller. */
export const virtualMachinePoolController: ControllerRegistration = {
  name: 'virtualmachinepool-controller',
  rules: [
    ...allow('create update delete', VirtualMachineKind),
    ...allow('update', [VirtualMachineKind, 'status'], [VirtualMachinePoolKind, 'status']),
    ...allow('get create delete', ControllerRevisionKind),
    ...allow('patch', DataVolumeKind, PersistentVolumeClaimKind),
  ],
  create({ client, informers, events, clock, random }) {
    const expectations = new Expectations({ clock });
    const vms = informers.for(VirtualMachineKind);
    vms.addHandler(({ type, object }) => {
      const key = poolOf(object);
      if (key === undefined) return;
      if (type === 'added') expectations.creationObserved(keyString(key));
      if (type === 'deleted' || object.metadata.deletionTimestamp !== undefined)
        expectations.deletionObserved(keyString(key), object.metadata.uid ?? '');
    });
    const poolOfVm = (key: ObjectKey): readonly ObjectKey[] => {
      const vm = vms.lister.get(key);
      const pool = vm === undefined ? undefined : poolOf(vm);
      return pool === undefined ? [] : [pool];
    };
    return {
      kind: VirtualMachinePoolKind,
      watches: [
        owned(VirtualMachineKind, VirtualMachinePoolKind),
        watchOf(VirtualMachineInstanceKind, (vmi) => poolOfVm(keyOf(vmi))),
      ],
      reconciler: new PoolReconciler({
        client,
        events,
        clock,
        random,
        expectations,
        pools: informers.lister(VirtualMachinePoolKind),
        vms: vms.lister,
        vmis: informers.lister(VirtualMachineInstanceKind),
        nodes: informers.lister(NodeKind),
        revisions: informers.lister(ControllerRevisionKind),
        dataVolumes: informers.lister(DataVolumeKind),
        claims: informers.lister(PersistentVolumeClaimKind),
      }),
    };
  },
};

function poolOf(vm: VirtualMachine): ObjectKey | undefined {
  const owner = controllerOf(vm);
  if (owner?.kind !== VirtualMachinePoolKind.kind) return undefined;
  return { namespace: vm.metadata.namespace ?? '', name: owner.name };
}
