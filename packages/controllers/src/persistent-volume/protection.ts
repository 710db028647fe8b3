import { hasFinalizer, type KubeObject, type ObjectKey, type ResourceKind } from '@slipway/apimachinery';
import {
  type PersistentVolume,
  type PersistentVolumeClaim,
  PersistentVolumeClaimKind,
  PersistentVolumeKind,
  type Pod,
} from '@slipway/api';
import type { Client } from '@slipway/client';
import { done, type Lister, type Reconciler } from '@slipway/runtime';
import { isFinished } from '../scheduler/resources.ts';

export const CLAIM_PROTECTION = 'kubernetes.io/pvc-protection';
export const VOLUME_PROTECTION = 'kubernetes.io/pv-protection';
export const BY_USED_CLAIM = 'persistent-volume/used-claim';

export interface ProtectionDeps<T extends KubeObject> {
  readonly client: Client;
  readonly lister: Lister<T>;
}

/** Keeps claims that running pods use: deletion waits until the last of these pods has ended. */
export function claimProtection(deps: ProtectionDeps<PersistentVolumeClaim> & { readonly pods: Lister<Pod> }): Reconciler {
  const isUsed = ({ metadata }: PersistentVolumeClaim): boolean =>
    deps.pods
      .byIndex(BY_USED_CLAIM, `${metadata.namespace}/${metadata.name}`)
      // a pod without a node will not get one that has this claim
      .some((pod) => Boolean(pod.spec?.nodeName) && !isFinished(pod));
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
