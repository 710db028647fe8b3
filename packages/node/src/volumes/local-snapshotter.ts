import {
  isLocalProvisioner,
  localHandle,
  parseLocalHandle,
  SnapshotFinalizer,
  type VolumeSnapshotContent,
  VolumeSnapshotContentKind,
} from '@slipway/api';
import { formatTime, ignoreNotFound, keyOf, type ObjectKey } from '@slipway/apimachinery';
import type { Client } from '@slipway/client';
import { type Clock, type ControllerRegistration, done, type Lister, type Reconciler, type Result } from '@slipway/runtime';
import { dropFinalizer } from './object-writes.ts';
import type { LiveDisks } from './snapshot-volume.ts';
import type { VolumeStore } from './volume-store.ts';

export interface SnapshotterDeps {
  readonly nodeName: string;
  readonly store: VolumeStore;
  readonly live: LiveDisks;
}

interface ReconcilerDeps extends SnapshotterDeps {
  readonly client: Client;
  readonly clock: Clock;
  readonly contents: Lister<VolumeSnapshotContent>;
}

export type SnapshotPlan =
  | { readonly action: 'none' }
  | { readonly action: 'take'; readonly volumeUid: string }
  /** One that exists already: an administrator made the content for it. */
  | { readonly action: 'adopt'; readonly snapshotUid: string }
  | { readonly action: 'remove'; readonly snapshotUid: string | undefined };

/** Decides what this node's snapshotter has to do for a content. Pure. */
export function planSnapshot(content: VolumeSnapshotContent, nodeName: string): SnapshotPlan {
  const { spec, status, metadata } = content;
  if (!isLocalProvisioner(spec.driver)) return { action: 'none' };
  const volume = parseLocalHandle(spec.source.volumeHandle);
  const snapshot = parseLocalHandle(status?.snapshotHandle ?? spec.source.snapshotHandle);
  if ((volume ?? snapshot)?.node !== nodeName) return { action: 'none' };
  // half a snapshot has the uid of its content too
  if (metadata.deletionTimestamp !== undefined)
    return planRemoval(content, volume === undefined ? snapshot?.directory : metadata.uid);
  if (status?.readyToUse === true) return { action: 'none' };
  if (volume !== undefined) return { action: 'take', volumeUid: volume.directory };
  return snapshot === undefined ? { action: 'none' } : { action: 'adopt', snapshotUid: snapshot.directory };
}

function planRemoval({ metadata, spec }: VolumeSnapshotContent, snapshotUid: string | undefined): SnapshotPlan {
  if (!metadata.finalizers?.includes(SnapshotFinalizer.content)) return { action: 'none' };
  return { action: 'remove', snapshotUid: spec.deletionPolicy === 'Delete' ? snapshotUid : undefined };
}

/** Takes, keeps and removes the snapshots of this node's volumes. */
export const localSnapshotter = (deps: SnapshotterDeps): ControllerRegistration => ({
  name: 'local-snapshotter',
  create: ({ client, clock, informers }) => ({
    kind: VolumeSnapshotContentKind,
    concurrency: 4,
    reconciler: new SnapshotReconciler({ ...deps, client, clock, contents: informers.lister(VolumeSnapshotContentKind) }),
  }),
});

class SnapshotReconciler implements Reconciler {
  private readonly deps: ReconcilerDeps;

  constructor(deps: ReconcilerDeps) {
    this.deps = deps;
  }

  async reconcile(key: ObjectKey, signal: AbortSignal): Promise<Result> {
    const content = this.deps.contents.get(key);
    if (content === undefined) return done;
    const plan = planSnapshot(content, this.deps.nodeName);
    try {
      await this.act(plan, content, signal);
    } catch (error) {
      signal.throwIfAborted();
      await this.report(content, error, signal);
      throw error; // tried again with back-off: the cause may go away
    }
    return done;
  }

  private async act(plan: SnapshotPlan, content: VolumeSnapshotContent, signal: AbortSignal): Promise<void> {
    const { store, live, nodeName } = this.deps;
    switch (plan.action) {
      case 'take': {
        const snapshotUid = content.metadata.uid ?? '';
        const sizeBytes = await store.snapshot(plan.volumeUid, snapshotUid, live, signal);
        return this.ready(content, localHandle(nodeName, snapshotUid), sizeBytes, signal);
      }
      case 'adopt': {
        const { virtualSizeBytes } = await store.get(plan.snapshotUid);
        return this.ready(content, localHandle(nodeName, plan.snapshotUid), virtualSizeBytes, signal);
      }
      case 'remove':
        if (plan.snapshotUid !== undefined) await store.remove(plan.snapshotUid);
        return dropFinalizer(this.deps.client, VolumeSnapshotContentKind, content, SnapshotFinalizer.content, signal);
      default:
    }
  }

  private async ready(
    { metadata, status: before }: VolumeSnapshotContent,
    snapshotHandle: string,
    restoreSize: number,
    signal: AbortSignal,
  ): Promise<void> {
    const creationTime = before?.creationTime ?? this.deps.clock.now() * 1_000_000;
    const status = { snapshotHandle, creationTime, restoreSize, readyToUse: true, error: null };
    await this.deps.client
      .patch(VolumeSnapshotContentKind, keyOf({ metadata }), { status }, { type: 'merge', subresource: 'status', signal })
      .catch(ignoreNotFound);
  }

  private async report({ metadata, status: before }: VolumeSnapshotContent, cause: unknown, signal: AbortSignal): Promise<void> {
    const message = cause instanceof Error ? cause.message : String(cause);
    if (before?.error?.message === message) return;
    const status = { readyToUse: false, error: { message, time: formatTime(this.deps.clock.now()) } };
    await this.deps.client
      .patch(VolumeSnapshotContentKind, keyOf({ metadata }), { status }, { type: 'merge', subresource: 'status', signal })
      .catch(ignoreNotFound);
  }
}
