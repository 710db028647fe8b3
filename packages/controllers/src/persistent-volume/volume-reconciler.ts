import { isNotFound, type ObjectKey } from '@slipway/apimachinery';
import { type PersistentVolume, PersistentVolumeClaimKind, PersistentVolumeKind } from '@slipway/api';
import type { Client } from '@slipway/client';
import { done, type Lister, type Reconciler, type Result } from '@slipway/runtime';

export interface VolumeDeps {
  readonly client: Client;
  readonly volumes: Lister<PersistentVolume>;
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
    if (phase !== undefined && phase !== volume.status?.phase) {
      await this.deps.client.update(
        PersistentVolumeKind,
        { ...volume, status: { ...volume.status, phase } },
        { subresource: 'status', signal },
      );
    }
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
