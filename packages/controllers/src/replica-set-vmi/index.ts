import { type VirtualMachineInstance, VirtualMachineInstanceKind, VirtualMachineInstanceReplicaSetKind } from '@slipway/api';
import { controllerOf, keyString } from '@slipway/apimachinery';
import { allow, type ControllerRegistration, Expectations, owned } from '@slipway/runtime';
import { ReplicaSetReconciler } from './replica-set-reconciler.ts';

/** The VirtualMachineInstanceReplicaSet controller. */
export const replicaSetVmiController: ControllerRegistration = {
  name: 'virtualmachineinstancereplicaset-controller',
  rules: [
    ...allow('create delete', VirtualMachineInstanceKind),
    ...allow('update', [VirtualMachineInstanceReplicaSetKind, 'status']),
  ],
  create({ client, informers, events, clock }) {
    const expectations = new Expectations({ clock });
    const vmis = informers.for(VirtualMachineInstanceKind);
    vmis.addHandler(({ type, object }) => {
      const key = keyOfSet(object);
      if (key === undefined) return;
      if (type === 'added') expectations.creationObserved(key);
      if (type === 'deleted' || object.metadata.deletionTimestamp !== undefined)
        expectations.deletionObserved(key, object.metadata.uid ?? '');
    });
    return {
      kind: VirtualMachineInstanceReplicaSetKind,
      watches: [owned(VirtualMachineInstanceKind, VirtualMachineInstanceReplicaSetKind)],
      reconciler: new ReplicaSetReconciler({
        client,
        events,
        clock,
        expectations,
        sets: informers.lister(VirtualMachineInstanceReplicaSetKind),
        vmis: vmis.lister,
      }),
    };
  },
};

function keyOfSet(vmi: VirtualMachineInstance): string | undefined {
  const owner = controllerOf(vmi);
  if (owner?.kind !== VirtualMachineInstanceReplicaSetKind.kind) return undefined;
  return keyString({ namespace: vmi.metadata.namespace ?? '', name: owner.name });
}
