import { PersistentVolumeClaimKind, VirtualMachineInstanceKind, VirtualMachineKind } from '@slipway/api';
import { allow, type ControllerRegistration } from '@slipway/runtime';
import { FreshObjects } from '../virtual-machine-instance/fresh-objects.ts';
import { MemoryDumpReconciler } from './memory-dump-reconciler.ts';

/** Carries out `status.memoryDumpRequest` of VMs. */
export const memoryDumpController: ControllerRegistration = {
  name: 'memorydump-controller',
  rules: [...allow('patch', [VirtualMachineKind, 'status'], PersistentVolumeClaimKind)],
  create: ({ client, informers, events, clock, nodes }) => ({
    kind: VirtualMachineKind,
    concurrency: 4,
    reconciler: new MemoryDumpReconciler({
      client,
      events,
      clock,
      nodes,
      vms: new FreshObjects(informers.for(VirtualMachineKind)),
      vmis: informers.lister(VirtualMachineInstanceKind),
      claims: informers.lister(PersistentVolumeClaimKind),
    }),
  }),
};
