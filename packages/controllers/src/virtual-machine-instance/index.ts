import {
  DataVolumeKind,
  NodeKind,
  PersistentVolumeClaimKind,
  PodKind,
  VirtualMachineInstanceKind,
  VirtualMachineKind,
} from '@slipway/api';
import type { KubeObject, ObjectKey } from '@slipway/apimachinery';
import { keyOf } from '@slipway/apimachinery';
import { allow, type ControllerRegistration, type Informer, owned, watchOf, watchSameKey } from '@slipway/runtime';
import type { VirtualMachineInstance } from '@slipway/api';
import { claimedVolumes } from './claims.ts';
import { FreshObjects } from './fresh-objects.ts';
import {
  VirtualMachineInstanceReconciler,
  type VirtualMachineInstanceReconcilerDeps,
} from './virtual-machine-instance-reconciler.ts';

const CLAIM_INDEX = 'claim';
const NODE_INDEX = 'node';

/** The VMI controller with the given way to render launcher pods. */
export function virtualMachineInstanceController(
  renderer: (
    informers: Parameters<ControllerRegistration['create']>[0]['informers'],
  ) => VirtualMachineInstanceReconcilerDeps['renderPod'],
): ControllerRegistration {
  return {
    name: 'virtualmachineinstance-controller',
    rules: [
      ...allow('update patch', VirtualMachineInstanceKind),
      ...allow('create patch delete', PodKind),
      ...allow('update patch', [PodKind, 'status']),
    ],
    create: ({ client, informers, events, clock }) => {
      const vmis = informers.for(VirtualMachineInstanceKind);
      const pods = informers.for(PodKind);
      vmis.addIndex(CLAIM_INDEX, (vmi) =>
        claimedVolumes(vmi.spec).map(({ claimName }) => `${vmi.metadata.namespace ?? ''}/${claimName}`),
      );
      vmis.addIndex(NODE_INDEX, (vmi) => (vmi.status?.nodeName === undefined ? [] : [vmi.status.nodeName]));
      const reconciler = new VirtualMachineInstanceReconciler({
        client,
        events,
        clock,
        vmis: new FreshObjects(vmis),
        pods: pods.lister,
        freshPods: new FreshObjects(pods),
        vms: informers.lister(VirtualMachineKind),
        dataVolumes: informers.lister(DataVolumeKind),
        claims: informers.lister(PersistentVolumeClaimKind),
        nodes: informers.lister(NodeKind),
        renderPod: renderer(informers),
      });
      const users = (object: KubeObject): readonly ObjectKey[] => usersOfClaim(vmis, object);
      return {
        kind: VirtualMachineInstanceKind,
        reconciler,
        concurrency: 8,
        watches: [
          owned(PodKind, VirtualMachineInstanceKind),
          watchOf(DataVolumeKind, users),
          watchOf(PersistentVolumeClaimKind, users),
          watchOf(NodeKind, (node) => vmis.lister.byIndex(NODE_INDEX, node.metadata.name ?? '').map(keyOf), hasReadinessChanged),
          { ...watchSameKey(VirtualMachineKind), predicate: ({ type }) => type === 'deleted' },
        ],
      };
    },
  };
}

function usersOfClaim(vmis: Informer<VirtualMachineInstance>, { metadata }: KubeObject): readonly ObjectKey[] {
  return vmis.lister.byIndex(CLAIM_INDEX, `${metadata.namespace ?? ''}/${metadata.name}`).map(keyOf);
}

interface NodeLike {
  readonly status?: { readonly conditions?: readonly { readonly type: string; readonly status: string }[] };
}

/** Heartbeats change a node every few seconds; only its readiness concerns instances. */
function hasReadinessChanged(event: { readonly object: NodeLike; readonly old?: NodeLike | undefined }): boolean {
  const readiness = (node: NodeLike | undefined): string | undefined =>
    node?.status?.conditions?.find(({ type }) => type === 'Ready')?.status;
  return readiness(event.object) !== readiness(event.old);
}
