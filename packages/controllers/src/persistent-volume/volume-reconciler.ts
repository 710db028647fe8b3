import { isNotFound, type ObjectKey } from '@slipway/apimachinery';
import { type PersistentVolume, PersistentVolumeClaimKind, PersistentVolumeKind } from '@slipway/api';
import type { Client } from '@slipway/client';
import { done, type EventRecorder, type Lister, type Reconciler, type Result } from '@slipway/runtime';
import { PROVISIONED_BY } from './claim-annotations.ts';

export interface VolumeDeps {
  readonly client: Client;
  readonly events: EventRecorder;
  readonly volumes: Lister<PersistentVolume>;
}

/** Why a volume that has lost its claim stays as it is, although its policy says otherwise. */
function reclaimFailure({ metadata, spec }: PersistentVolume): { readonly reason: string; readonly message: string } | undefined {
  switch (spec?.persistentVolumeReclaimPolicy) {
    case 'Recycle':
      return { reason: 'VolumeFailedRecycle', message: 'Recycling is not supported: no recyclable volume plugin matched' };
    case 'Delete': {
      // a volume of a provisioner is deleted by it
      const isProvisioned = metadata.annotations?.[PROVISIONED_BY] !== undefined || spec.csi !== undefined;
      if (isProvisioned) return undefined;
      const message = `error getting deleter volume plugin for volume "${metadata.name}": no deletable volume plugin matched`;
      return { reason: 'VolumeFailedDelete', message };
    }
    default:
      return undefined;
  }
}

/**
 * Says whether a volume is free or has lost its claim. Volumes that a provisioner made are deleted by it when they are
 * released; binding is the claim's business.
 */
export class VolumeReconciler implements Reconciler {
  private readonly deps: VolumeDeps;

  constructor(deps: VolumeDeps) {
    this.deps = deps;
  }

  async reconcile(key: ObjectKey, signal: AbortSignal): Promise<Result> {
    const volume = this.deps.volumes.get(key);
    if (volume === undefined) return done;
    const phase = await this.phaseOf(volume, signal);
    if (phase === undefined) return done;
    const failure = phase === 'Released' ? reclaimFailure(volume) : undefined;
    const { message: _, ...rest } = volume.status ?? {};
    const status = failure === undefined ? { ...rest, phase } : { ...rest, phase: 'Failed', message: failure.message };
    if (status.phase === volume.status?.phase) return done;
    if (failure !== undefined) this.deps.events.warning(volume, failure.reason, failure.message);
    await this.deps.client.update(PersistentVolumeKind, { ...volume, status }, { subresource: 'status', signal });
    return done;
  }

  /** Undefined: leave it as it is. */
  private async phaseOf({ spec, status }: PersistentVolume, signal: AbortSignal): Promise<string | undefined> {
    const reference = spec?.claimRef;
    if (reference === undefined) return 'Available';
    if (!reference.uid) return status?.phase === 'Bound' ? undefined : 'Available';
    try {
      // Released means that data may be destroyed: ask the server, a cache may be behind
      const key = { namespace: reference.namespace ?? '', name: reference.name ?? '' };
      const claim = await this.deps.client.get(PersistentVolumeClaimKind, key, { signal });
      return claim.metadata.uid === reference.uid ? undefined : 'Released';
    } catch (error) {
      if (isNotFound(error)) return 'Released';
      throw error;
    }
  }
}
