import { hasFinalizer, type KubeObject, type ObjectKey, type ResourceKind } from '@slipway/apimachinery';
import {
  type PersistentVolume,
  type PersistentVolumeClaim,
  PersistentVolumeClaimKind,
  PersistentVolumeKind,
  type Pod,
  type VirtualMachineInstance,
} from '@slipway/api';
import type { Client } from '@slipway/client';
import { done, type Lister, type Reconciler } from '@slipway/runtime';
import { isFinished } from '../scheduler/resources.ts';

export const CLAIM_PROTECTION = 'kubernetes.io/pvc-protection';
export const VOLUME_PROTECTION = 'kubernetes.io/pv-protection';
export const BY_USED_CLAIM = 'persistent-volume/used-claim';
/** On a launcher's pod: its instance. */
const DOMAIN_ANNOTATION = 'kubevirt.io/domain';

/**
 * Claims of a running guest's disks; both of each disk that moves from one to another, and afterwards not the old one, which
 * its pod names for ever. Undefined as long as the pod alone counts. Pure.
 */
export function claimsOfGuest({ spec, status }: VirtualMachineInstance): readonly string[] | undefined {
  if (status?.phase !== 'Running') return undefined;
  const now = (spec.volumes ?? []).flatMap(({ name, dataVolume, persistentVolumeClaim, ephemeral }) => {
    const used = status.volumeStatus?.find((volume) => volume.name === name)?.persistentVolumeClaimInfo?.claimName;
    return [dataVolume?.name, persistentVolumeClaim?.claimName, ephemeral?.persistentVolumeClaim?.claimName, used];
  });
  const moving = (status.migratedVolumes ?? []).flatMap(({ sourcePVCInfo, destinationPVCInfo }) => [
    sourcePVCInfo?.claimName,
    destinationPVCInfo?.claimName,
  ]);
  return [...new Set([...now, ...moving].filter((name) => name !== undefined))];
}

export interface ProtectionDeps<T extends KubeObject> {
  readonly client: Client;
  readonly lister: Lister<T>;
}

/** Keeps claims that running pods use: deletion waits until the last of these pods has ended. */
export function claimProtection(
  deps: ProtectionDeps<PersistentVolumeClaim> & {
    readonly pods: Lister<Pod>;
    readonly guests: Lister<VirtualMachineInstance>;
  },
): Reconciler {
  const isUsed = ({ metadata }: PersistentVolumeClaim): boolean => {
    const claim = `${metadata.namespace}/${metadata.name}`;
    if (deps.guests.byIndex(BY_USED_CLAIM, claim).length > 0) return true;
    return (
      deps.pods
        .byIndex(BY_USED_CLAIM, claim)
        // a pod without a node will not get one that has this claim
        .some((pod) => Boolean(pod.spec?.nodeName) && !isFinished(pod) && !hasLeft(pod, metadata.name ?? ''))
    );
  };
  const hasLeft = ({ metadata, spec }: Pod, claim: string): boolean => {
    const name = metadata.annotations?.[DOMAIN_ANNOTATION];
    const guest = name && deps.guests.get({ namespace: metadata.namespace ?? '', name });
    if (!guest || guest.status?.activePods?.[metadata.uid ?? ''] === undefined) return false;
    const volumes = (spec?.volumes ?? []).filter(({ persistentVolumeClaim }) => persistentVolumeClaim?.claimName === claim);
    // claims that the pod has besides those of the guest's volumes stay
    const isVolume = volumes.every((volume) =>
      guest.spec.volumes?.some((own) => own.name === volume.name && (own.dataVolume ?? own.persistentVolumeClaim) !== undefined),
    );
    return isVolume && claimsOfGuest(guest)?.includes(claim) === false;
  };
  return protection(PersistentVolumeClaimKind, CLAIM_PROTECTION, isUsed, deps);
}

/** Keeps volumes that are bound: deletion waits until their claim is gone. */
export function volumeProtection(deps: ProtectionDeps<PersistentVolume>): Reconciler {
  return protection(PersistentVolumeKind, VOLUME_PROTECTION, ({ status }) => status?.phase === 'Bound', deps);
}

function protection<T extends KubeObject>(
  kind: ResourceKind<T>,
  finalizer: string,
  isUsed: (object: T) => boolean,
  { client, lister }: ProtectionDeps<T>,
): Reconciler {
  const write = async (object: T, finalizers: readonly string[], signal: AbortSignal): Promise<void> => {
    await client.update(kind, { ...object, metadata: { ...object.metadata, finalizers: [...finalizers] } }, { signal });
  };
  return {
    async reconcile(key: ObjectKey, signal: AbortSignal) {
      const object = lister.get(key);
      if (object === undefined) return done;
      const { finalizers = [], deletionTimestamp } = object.metadata;
      const isProtected = hasFinalizer(object, finalizer);
      if (deletionTimestamp === undefined && !isProtected && isUsed(object))
        await write(object, [...finalizers, finalizer], signal);
      if (deletionTimestamp !== undefined && isProtected && !isUsed(object)) {
        await write(
          object,
          finalizers.filter((other) => other !== finalizer),
          signal,
        );
      }
      return done;
    },
  };
}
