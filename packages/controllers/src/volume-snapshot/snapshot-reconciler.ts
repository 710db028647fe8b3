import {
  type PersistentVolume,
  type PersistentVolumeClaim,
  PersistentVolumeClaimKind,
  SNAPSHOT_GROUP,
  SnapshotFinalizer,
  type VolumeSnapshot,
  type VolumeSnapshotClass,
  type VolumeSnapshotContent,
  VolumeSnapshotContentKind,
  VolumeSnapshotKind,
} from '@slipway/api';
import {
  assertNever,
  deepEqual,
  formatTime,
  hasFinalizer,
  ignoreAlreadyExists,
  ignoreNotFound,
  keyOf,
  type KubeObject,
  type ObjectKey,
  type ResourceKind,
} from '@slipway/apimachinery';
import type { Client } from '@slipway/client';
import { after, type Clock, done, type EventRecorder, type Lister, type Reconciler, type Result } from '@slipway/runtime';
import { contentName, planSnapshot, snapshotStatus } from './snapshot-plan.ts';

export const BY_SOURCE_CLAIM = 'volume-snapshot/claim';
export const BY_SOURCE_SNAPSHOT = 'volume-snapshot/restored';

export interface VolumeSnapshotDeps {
  readonly client: Client;
  readonly events: EventRecorder;
  readonly clock: Clock;
  readonly snapshots: Lister<VolumeSnapshot>;
  readonly contents: Lister<VolumeSnapshotContent>;
  readonly classes: Lister<VolumeSnapshotClass>;
  readonly claims: Lister<PersistentVolumeClaim>;
  readonly volumes: Lister<PersistentVolume>;
}

const RECHECK_MS = 5_000;

/** Gives each VolumeSnapshot its content, and follows what the driver says of it. */
export class VolumeSnapshotReconciler implements Reconciler {
  private readonly deps: VolumeSnapshotDeps;

  constructor(deps: VolumeSnapshotDeps) {
    this.deps = deps;
  }

  async reconcile(key: ObjectKey, signal: AbortSignal): Promise<Result> {
    const snapshot = this.deps.snapshots.get(key);
    if (snapshot === undefined) return done;
    const content = this.deps.contents.get({ namespace: '', name: contentName(snapshot) });
    if (snapshot.metadata.deletionTimestamp !== undefined) return this.remove(snapshot, content, signal);
    const held = await this.withFinalizer(VolumeSnapshotKind, snapshot, SnapshotFinalizer.bound, signal);
    const claim = this.claimOf(held);
    const volumeName = claim?.spec?.volumeName;
    const plan = planSnapshot(held, {
      content,
      claim,
      volume: volumeName ? this.deps.volumes.get({ namespace: '', name: volumeName }) : undefined,
      classes: this.deps.classes.list(),
    });
    switch (plan.action) {
      case 'create':
        return this.create(held, plan, claim, signal);
      case 'bind':
        await this.bind(held, plan.content, signal);
        return done;
      case 'follow':
        return this.follow(held, plan.content, claim, signal);
      case 'fail':
        await this.fail(held, plan.message, signal);
        return after(RECHECK_MS);
      default:
        return assertNever(plan);
    }
  }

  private claimOf({ metadata, spec }: VolumeSnapshot): PersistentVolumeClaim | undefined {
    const name = spec.source.persistentVolumeClaimName;
    return name === undefined ? undefined : this.deps.claims.get({ namespace: metadata.namespace ?? '', name });
  }

  private async create(
    snapshot: VolumeSnapshot,
    { content, className }: { readonly content: VolumeSnapshotContent; readonly className: string },
    claim: PersistentVolumeClaim | undefined,
    signal: AbortSignal,
  ): Promise<Result> {
    const { client, events } = this.deps;
    // the claim outlives the making of its snapshot
    if (claim !== undefined) await this.withFinalizer(PersistentVolumeClaimKind, claim, SnapshotFinalizer.claim, signal);
    if (snapshot.spec.volumeSnapshotClassName === undefined) {
      const patch = { spec: { volumeSnapshotClassName: className } };
      await client.patch(VolumeSnapshotKind, keyOf(snapshot), patch, { type: 'merge', signal });
    }
    await client.create(VolumeSnapshotContentKind, content, { signal }).catch(ignoreAlreadyExists);
    const { namespace, name } = snapshot.metadata;
    events.normal(snapshot, 'CreatingSnapshot', `Waiting for a snapshot ${namespace}/${name} to be created by the CSI driver.`);
    const status = { boundVolumeSnapshotContentName: content.metadata.name ?? '', readyToUse: false };
    await this.writeStatus(snapshot, status, signal);
    return done;
  }

  private async bind(snapshot: VolumeSnapshot, content: VolumeSnapshotContent, signal: AbortSignal): Promise<void> {
    const finalizers = [...new Set([...(content.metadata.finalizers ?? []), SnapshotFinalizer.content])];
    const { resourceVersion } = content.metadata;
    const patch = {
      metadata: { finalizers, resourceVersion },
      spec: { volumeSnapshotRef: { uid: snapshot.metadata.uid } },
    };
    await this.deps.client.patch(VolumeSnapshotContentKind, keyOf(content), patch, { type: 'merge', signal });
  }

  private async follow(
    snapshot: VolumeSnapshot,
    content: VolumeSnapshotContent,
    claim: PersistentVolumeClaim | undefined,
    signal: AbortSignal,
  ): Promise<Result> {
    const { events } = this.deps;
    const before = snapshot.status;
    const status = snapshotStatus(content);
    if (status.creationTime !== undefined && before?.creationTime === undefined)
      events.normal(snapshot, 'SnapshotCreated', `Snapshot ${pathOf(snapshot)} was successfully created by the CSI driver.`);
    if (status.readyToUse && before?.readyToUse !== true)
      events.normal(snapshot, 'SnapshotReady', `Snapshot ${pathOf(snapshot)} is ready to use.`);
    if (status.error?.message !== undefined && before?.error?.message !== status.error.message)
      events.warning(snapshot, 'SnapshotContentCreationFailed', status.error.message);
    await this.writeStatus(snapshot, status, signal);
    if (status.readyToUse && claim !== undefined) await this.releaseClaim(claim, snapshot, signal);
    return done;
  }

  private async fail(snapshot: VolumeSnapshot, message: string, signal: AbortSignal): Promise<void> {
    const { status: before = {} } = snapshot;
    if (before.error?.message === message) return;
    const error = { message, time: formatTime(this.deps.clock.now()) };
    this.deps.events.warning(snapshot, 'SnapshotContentCreationFailed', message);
    await this.writeStatus(snapshot, { ...before, readyToUse: false, error }, signal);
  }

  /** The content goes with its snapshot, or stays without it; claims that are being filled from it come first. */
  private async remove(
    snapshot: VolumeSnapshot,
    content: VolumeSnapshotContent | undefined,
    signal: AbortSignal,
  ): Promise<Result> {
    const { client, claims } = this.deps;
    if (!hasFinalizer(snapshot, SnapshotFinalizer.bound)) return done;
    const restoring = claims.byIndex(BY_SOURCE_SNAPSHOT, pathOf(snapshot)).some(({ status }) => status?.phase === 'Pending');
    if (restoring) return after(RECHECK_MS);
    const isOwn = content?.spec.volumeSnapshotRef.uid === snapshot.metadata.uid;
    if (content !== undefined && isOwn && content.spec.deletionPolicy === 'Delete') {
      const { uid } = content.metadata;
      if (content.metadata.deletionTimestamp === undefined)
        await client
          .delete(VolumeSnapshotContentKind, keyOf(content), { ...(uid && { preconditions: { uid } }), signal })
          .catch(ignoreNotFound);
      return done; // its end is an event
    }
    const claim = this.claimOf(snapshot);
    if (claim !== undefined) await this.releaseClaim(claim, snapshot, signal);
    await this.withoutFinalizer(VolumeSnapshotKind, snapshot, SnapshotFinalizer.bound, signal);
    return done;
  }

  private async releaseClaim(claim: PersistentVolumeClaim, of: VolumeSnapshot, signal: AbortSignal): Promise<void> {
    const others = this.deps.snapshots
      .byIndex(BY_SOURCE_CLAIM, pathOf(claim))
      .filter(
        ({ metadata, status }) =>
          metadata.uid !== of.metadata.uid && metadata.deletionTimestamp === undefined && status?.readyToUse !== true,
      );
    if (others.length === 0) await this.withoutFinalizer(PersistentVolumeClaimKind, claim, SnapshotFinalizer.claim, signal);
  }

  private async withFinalizer<T extends KubeObject>(
    kind: ResourceKind<T>,
    object: T,
    finalizer: string,
    signal: AbortSignal,
  ): Promise<T> {
    if (hasFinalizer(object, finalizer)) return object;
    return this.patchFinalizers(kind, object, [...(object.metadata.finalizers ?? []), finalizer], signal);
  }

  private async withoutFinalizer<T extends KubeObject>(
    kind: ResourceKind<T>,
    object: T,
    finalizer: string,
    signal: AbortSignal,
  ): Promise<void> {
    if (!hasFinalizer(object, finalizer)) return;
    const left = (object.metadata.finalizers ?? []).filter((other) => other !== finalizer);
    await this.patchFinalizers(kind, object, left, signal).catch(ignoreNotFound);
  }

  private patchFinalizers<T extends KubeObject>(
    kind: ResourceKind<T>,
    object: T,
    finalizers: readonly string[],
    signal: AbortSignal,
  ): Promise<T> {
    const { resourceVersion } = object.metadata;
    const patch = { metadata: { resourceVersion, finalizers: finalizers.length === 0 ? null : finalizers } };
    return this.deps.client.patch(kind, keyOf(object), patch, { type: 'merge', signal });
  }

  private async writeStatus(
    snapshot: VolumeSnapshot,
    status: NonNullable<VolumeSnapshot['status']>,
    signal: AbortSignal,
  ): Promise<void> {
    if (deepEqual(snapshot.status, status)) return;
    const patch = { status: { ...status, error: status.error ?? null } };
    await this.deps.client.patch(VolumeSnapshotKind, keyOf(snapshot), patch, { type: 'merge', subresource: 'status', signal });
  }
}

const pathOf = ({ metadata }: KubeObject): string => `${metadata.namespace}/${metadata.name}`;

/** Keys of the snapshots that a claim is filled from, for an index. */
export function sourceSnapshots({ metadata, spec }: PersistentVolumeClaim): readonly string[] {
  const source = spec?.dataSourceRef ?? spec?.dataSource;
  const isSnapshot = source?.apiGroup === SNAPSHOT_GROUP && source.kind === 'VolumeSnapshot';
  const requested = metadata.annotations?.['slipway.dev/snapshot-request'];
  return [...(isSnapshot ? [`${metadata.namespace}/${source.name}`] : []), ...(requested === undefined ? [] : [requested])];
}
