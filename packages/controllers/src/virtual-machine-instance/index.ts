import {
  DataVolumeKind,
  NodeKind,
  PersistentVolumeClaimKind,
  PodKind,
  StorageClassKind,
  StorageProfileKind,
  VirtualMachineInstanceKind,
  VirtualMachineKind,
  VmiCondition,
} from '@slipway/api';
import type { KubeObject, ObjectKey } from '@slipway/apimachinery';
import { keyOf } from '@slipway/apimachinery';
import {
  allow,
  type ControllerDeps,
  type ControllerRegistration,
  type Informer,
  owned,
  watchOf,
  watchSameKey,
} from '@slipway/runtime';
import type { VirtualMachineInstance } from '@slipway/api';
import { countingSyncs } from '../metrics/sync-counter.ts';
import { claimedVolumes } from './claims.ts';
import { FreshObjects } from './fresh-objects.ts';
import { hasCondition } from './instance-state.ts';
import {
  VirtualMachineInstanceReconciler,
  type VirtualMachineInstanceReconcilerDeps,
} from './virtual-machine-instance-reconciler.ts';

const CLAIM_INDEX = 'claim';
const NODE_INDEX = 'node';

type Informers = ControllerDeps['informers'];
interface Settings extends Pick<VirtualMachineInstanceReconcilerDeps, 'dynamicMetadata'> {
  /** `vmStateStorageClass` of the configuration. */
  readonly stateClass?: () => string | undefined;
}

/** The VMI controller with the given way to render launcher pods. */
export function virtualMachineInstanceController(
  renderer: (informers: Informers) => VirtualMachineInstanceReconcilerDeps['renderPod'],
  settingsFor: (informers: Informers) => Settings = () => ({}),
): ControllerRegistration {
  return {
    name: 'virtualmachineinstance-controller',
    rules: [
      ...allow('update patch', VirtualMachineInstanceKind),
      ...allow('create patch delete', PodKind),
      ...allow('create', PersistentVolumeClaimKind),
      ...allow('update patch', [PodKind, 'status']),
    ],
    create: ({ client, informers, events, clock }) => {
      const vmis = informers.for(VirtualMachineInstanceKind);
      const pods = informers.for(PodKind);
      vmis.addIndex(CLAIM_INDEX, (vmi) =>
        claimedVolumes(vmi.spec).map(({ claimName }) => `${vmi.metadata.namespace ?? ''}/${claimName}`),
      );
      vmis.addIndex(NODE_INDEX, (vmi) => (vmi.status?.nodeName === undefined ? [] : [vmi.status.nodeName]));
      const classes = informers.lister(StorageClassKind);
      const profiles = informers.lister(StorageProfileKind);
      const { stateClass, ...settings } = settingsFor(informers);
      const instance = new VirtualMachineInstanceReconciler({
        client,
        events,
        clock,
        vmis: new FreshObjects(vmis),
        instances: vmis.lister,
        pods: pods.lister,
        freshPods: new FreshObjects(pods),
        vms: informers.lister(VirtualMachineKind),
        dataVolumes: informers.lister(DataVolumeKind),
        claims: informers.lister(PersistentVolumeClaimKind),
        nodes: informers.lister(NodeKind),
        stateStorage: () => ({ className: stateClass?.(), classes: classes.list(), profiles: profiles.list() }),
        renderPod: renderer(informers),
        ...settings,
      });
      const users = (object: KubeObject): readonly ObjectKey[] => usersOfClaim(vmis, object);
      return {
        kind: VirtualMachineInstanceKind,
        ...countingSyncs(instance, vmis.lister),
        concurrency: 8,
        watches: [
          owned(PodKind, VirtualMachineInstanceKind),
          watchOf(DataVolumeKind, users),
          watchOf(PersistentVolumeClaimKind, users),
          watchOf(NodeKind, (node) => concernedBy(vmis, node), hasReadinessChanged),
          { ...watchSameKey(VirtualMachineKind), predicate: ({ type }) => type === 'deleted' },
        ],
      };
    },
  };
}

function usersOfClaim(vmis: Informer<VirtualMachineInstance>, { metadata }: KubeObject): readonly ObjectKey[] {
  return vmis.lister.byIndex(CLAIM_INDEX, `${metadata.namespace ?? ''}/${metadata.name}`).map(keyOf);
}

/** Instances on the node, and those that wait for one. */
function concernedBy(vmis: Informer<VirtualMachineInstance>, { metadata }: KubeObject): readonly ObjectKey[] {
  const waiting = vmis.lister.list().filter((vmi) => hasCondition(vmi, VmiCondition.podScheduled, 'False'));
  return [...vmis.lister.byIndex(NODE_INDEX, metadata.name ?? ''), ...waiting].map(keyOf);
}

interface NodeCondition {
  readonly type: string;
  readonly status: string;
  readonly reason?: string;
  readonly message?: string;
}

interface NodeLike {
  readonly status?: { readonly conditions?: readonly NodeCondition[] };
}

/** Heartbeats change a node every few seconds; only its readiness concerns instances. */
function hasReadinessChanged(event: { readonly object: NodeLike; readonly old?: NodeLike | undefined }): boolean {
  const readiness = (node: NodeLike | undefined): string => {
    const ready = node?.status?.conditions?.find(({ type }) => type === 'Ready');
    return ready?.status === 'True' ? 'True' : `${ready?.status} ${ready?.reason} ${ready?.message}`;
  };
  return readiness(event.object) !== readiness(event.old);
}
