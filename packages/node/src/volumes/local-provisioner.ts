import {
  isLocalProvisioner,
  parseLocalHandle,
  type PersistentVolume,
  type PersistentVolumeClaim,
  PersistentVolumeClaimKind,
  PersistentVolumeKind,
  SHARED_PROVISIONER,
  sharedVolumeUid,
  type StorageClass,
  StorageClassKind,
  VolumeCloneSourceKind,
  VolumeSnapshotContentKind,
  VolumeSnapshotKind,
} from '@slipway/api';
import { ignoreAlreadyExists, ignoreNotFound, type ObjectKey, parseTime } from '@slipway/apimachinery';
import type { Client } from '@slipway/client';
import {
  type Clock,
  type ControllerRegistration,
  done,
  type EventRecorder,
  type Lister,
  type Reconciler,
  type Result,
  watchOf,
} from '@slipway/runtime';
import { isMine, isOnAllNodes, volumeUidOf } from './local-volume.ts';
import { type DeclaredPools, nodePools } from './pools/node-pools.ts';
import { PoolRoom } from './pools/pool-room.ts';
import { type CloneSource, planProvision, type ProvisionPlan, volumeFor, type VolumePlan } from './provision-plan.ts';
import type { GrowingDisks } from './snapshot-volume.ts';
import { VolumeError } from './volume-error.ts';
import type { VolumeStore } from './volume-store.ts';

export interface ProvisionerDeps {
  readonly nodeName: string;
  readonly store: VolumeStore;
  readonly live: GrowingDisks;
  /** Told of what counts the promises of this node's pools. */
  readonly onRoom?: (room: PoolRoom) => void;
}

interface ReconcilerDeps extends ProvisionerDeps {
  readonly client: Client;
  readonly clock: Clock;
  readonly events: EventRecorder;
  readonly claims: Lister<PersistentVolumeClaim>;
  readonly volumes: Lister<PersistentVolume>;
  readonly classes: Lister<StorageClass>;
  /** What is declared for this node now. */
  readonly declaredPools: DeclaredPools;
}

/** Makes, clones and grows the node-local volumes of claims that were given to this node. */
export const localProvisioner = (deps: ProvisionerDeps): ControllerRegistration => ({
  name: 'local-provisioner',
  create: ({ client, clock, events, informers }) => ({
    kind: PersistentVolumeClaimKind,
    concurrency: 4,
    watches: [
      watchOf<PersistentVolume>(PersistentVolumeKind, ({ spec }) =>
        spec?.claimRef?.name === undefined ? [] : [{ namespace: spec.claimRef.namespace ?? '', name: spec.claimRef.name }],
      ),
    ],
    reconciler: new ProvisionReconciler({
      ...deps,
      client,
      clock,
      events,
      claims: informers.lister(PersistentVolumeClaimKind),
      volumes: informers.lister(PersistentVolumeKind),
      classes: informers.lister(StorageClassKind),
      declaredPools: nodePools({ client, informers }, deps.nodeName),
    }),
  }),
});

const NO_GRANT = 'CloneNotAllowed';
/** After this long a missing grant is news. Creation times are whole seconds. */
const GRANT_DELAY_MS = 4000;

class ProvisionReconciler implements Reconciler {
  private readonly deps: ReconcilerDeps;
  private readonly room: PoolRoom;

  constructor(deps: ReconcilerDeps) {
    this.deps = deps;
    const { nodeName, store, volumes, claims } = deps;
    const isClaimed = (uid: string): boolean =>
      claims.list().some(({ metadata: { uid: claim = '' } }) => claim === uid || sharedVolumeUid(claim) === uid);
    this.room = new PoolRoom({ nodeName, pools: store.pools, volumes: () => volumes.list(), isClaimed });
    deps.onRoom?.(this.room);
  }

  async reconcile(key: ObjectKey, signal: AbortSignal): Promise<Result> {
    const claim = this.deps.claims.get(key);
    if (claim === undefined) return done;
    const className = claim.spec?.storageClassName;
    const plan = planProvision({
      nodeName: this.deps.nodeName,
      claim,
      storageClass: className === undefined ? undefined : this.deps.classes.get({ namespace: '', name: className }),
      volume: this.volumeOf(claim),
    });
    try {
      await this.act(plan, claim, signal);
    } catch (error) {
      if (error instanceof VolumeError && !this.isGrantUnderway(error, claim))
        this.deps.events.warning(claim, error.reason, error.message);
      throw error; // tried again with back-off: the cause may go away
    }
    return done;
  }

  /** The grant names the claim's uid, so it always comes a moment after the claim. */
  private isGrantUnderway({ reason }: VolumeError, claim: PersistentVolumeClaim): boolean {
    const ageMs = this.deps.clock.now() - (parseTime(claim.metadata.creationTimestamp) ?? 0);
    return reason === NO_GRANT && ageMs < GRANT_DELAY_MS;
  }

  private volumeOf(claim: PersistentVolumeClaim): PersistentVolume | undefined {
    return this.deps.volumes.get({ namespace: '', name: claim.spec?.volumeName || `pvc-${claim.metadata.uid}` });
  }

  private async act(plan: ProvisionPlan, claim: PersistentVolumeClaim, signal: AbortSignal): Promise<void> {
    switch (plan.action) {
      case 'create':
        return this.provision(plan, claim, signal);
      case 'expand':
        return this.expand(plan, claim, signal);
      case 'refuse':
        this.deps.events.warning(claim, plan.reason, `failed to provision volume: ${plan.message}`);
        return;
      default:
    }
  }

  private async provision(
    plan: ProvisionPlan & { action: 'create' },
    claim: PersistentVolumeClaim,
    signal: AbortSignal,
  ): Promise<void> {
    const { store, client, events, nodeName } = this.deps;
    const uid = volumeUidFor(claim, plan.provisioner);
    if (plan.pool !== undefined) await store.pools.declare(await this.deps.declaredPools(signal));
    await store.pools.place(uid, plan.pool);
    await this.promise(uid, store.pools.poolOf(uid), plan);
    const how = plan.clone && (await this.clone(plan.clone, claim, { uid, sizeBytes: plan.sizeBytes }, signal));
    if (how === undefined) await store.create(uid, plan.sizeBytes);
    const volume = volumeFor(claim, { ...plan, nodeName, directory: store.directory(uid) });
    // there already: made by an attempt that did not see its answer
    await client.create(PersistentVolumeKind, volume, { signal }).catch(ignoreAlreadyExists);
    const source = how === undefined ? '' : ` as a clone of ${plan.clone?.namespace}/${plan.clone?.name} (${how})`;
    events.normal(claim, 'ProvisioningSucceeded', `Successfully provisioned volume ${volume.metadata.name}${source}`);
  }

  /** A volume that cannot be promised is not remembered either. */
  private async promise(
    uid: string,
    pool: string | undefined,
    { sizeBytes, overcommit }: Pick<VolumePlan, 'sizeBytes' | 'overcommit'>,
  ): Promise<void> {
    const { store } = this.deps;
    try {
      await this.room.promise(uid, pool, sizeBytes, overcommit);
    } catch (error) {
      if ((await store.read(uid)) === undefined) await store.pools.forget(uid);
      throw error;
    }
  }

  private async clone(
    source: CloneSource,
    claim: PersistentVolumeClaim,
    target: { readonly uid: string; readonly sizeBytes: number },
    signal: AbortSignal,
  ): Promise<string> {
    const { store } = this.deps;
    if (source.needsGrant && !(await this.hasGrant(source, claim, signal)))
      throw new VolumeError(
        NO_GRANT,
        `Nobody allowed a clone of ${source.namespace}/${source.name} into this claim: create a DataVolume`,
      );
    const directory =
      source.kind === 'VolumeSnapshot'
        ? await this.sourceSnapshot(source, signal)
        : volumeUidOf(await this.sourceVolume(source, signal));
    return store[source.isCopy ? 'copy' : 'clone'](directory, target.uid, target.sizeBytes, signal);
  }

  private async sourceSnapshot(source: CloneSource, signal: AbortSignal): Promise<string> {
    const { client, nodeName } = this.deps;
    const snapshot = await client.get(VolumeSnapshotKind, source, { signal }).catch(ignoreNotFound);
    if (snapshot === undefined) throw new VolumeError('CloneWithoutSource', `The source snapshot ${source.name} doesn't exist`);
    const name = snapshot.status?.boundVolumeSnapshotContentName;
    const content =
      name === undefined || snapshot.status?.readyToUse !== true
        ? undefined
        : await client.get(VolumeSnapshotContentKind, { namespace: '', name }, { signal }).catch(ignoreNotFound);
    if (content === undefined || content.spec.volumeSnapshotRef.uid !== snapshot.metadata.uid)
      throw new VolumeError('CloneWithoutSource', `The source snapshot ${source.name} is not ready yet`);
    const handle = isLocalProvisioner(content.spec.driver) ? parseLocalHandle(content.status?.snapshotHandle) : undefined;
    if (handle?.node === nodeName) return handle.directory;
    throw new VolumeError(
      'CloneValidationFailed',
      `The source snapshot ${source.name} is not one of a local volume of node ${nodeName}: restore it on its own node`,
    );
  }

  private async sourceVolume(source: CloneSource, signal: AbortSignal): Promise<PersistentVolume> {
    const { claims, client, nodeName } = this.deps;
    const claim = claims.get(source) ?? (await client.get(PersistentVolumeClaimKind, source, { signal }).catch(ignoreNotFound));
    if (claim === undefined) throw new VolumeError('CloneWithoutSource', `The source pvc ${source.name} doesn't exist`);
    const volume = claim.spec?.volumeName ? this.volumeOf(claim) : undefined;
    if (volume === undefined || volume.spec?.claimRef?.uid !== claim.metadata.uid)
      throw new VolumeError('CloneWithoutSource', `The source pvc ${source.name} is not bound yet`);
    if (isMine(volume, nodeName) || isOnAllNodes(volume)) return volume;
    throw new VolumeError(
      'CloneValidationFailed',
      `The source pvc ${source.name} is not a local volume of node ${nodeName}: clone it on its own node`,
    );
  }

  /** CDI's controller leaves the grant after it has checked the rights of whoever asked for the clone. */
  private async hasGrant(source: CloneSource, claim: PersistentVolumeClaim, signal: AbortSignal): Promise<boolean> {
    const key = { namespace: source.namespace, name: `volume-clone-source-${claim.metadata.uid}` };
    const grant = await this.deps.client.get(VolumeCloneSourceKind, key, { signal }).catch(ignoreNotFound);
    return grant?.spec.source.kind === source.kind && grant.spec.source.name === source.name;
  }

  private async expand(
    plan: ProvisionPlan & { action: 'expand' },
    claim: PersistentVolumeClaim,
    signal: AbortSignal,
  ): Promise<void> {
    const { store, client, events, live } = this.deps;
    const volume = this.volumeOf(claim);
    if (volume === undefined) return;
    const volumeUid = volumeUidOf(volume);
    await this.promise(volumeUid, store.pools.poolOf(volumeUid), plan);
    await store.expand(volumeUid, plan.sizeBytes, live, signal);
    const storage = claim.spec?.resources?.requests?.storage;
    const patch = { spec: { capacity: { storage } } };
    await client.patch(PersistentVolumeKind, { namespace: '', name: plan.volumeName }, patch, { type: 'merge', signal });
    events.normal(claim, 'FileSystemResizeSuccessful', `Volume ${plan.volumeName} now has ${storage}`);
  }
}

/** Name of the directory in which a claim's volume is going to be. */
const volumeUidFor = ({ metadata: { uid = '' } }: PersistentVolumeClaim, provisioner: string): string =>
  provisioner === SHARED_PROVISIONER ? sharedVolumeUid(uid) : uid;
