import {
  assertNever,
  deepEqual,
  formatTime,
  hasFinalizer,
  type KubeObject,
  keyOf,
  keyString,
  type ObjectKey,
} from '@slipway/apimachinery';
import {
  type Node,
  type PersistentVolume,
  type PersistentVolumeClaim,
  PersistentVolumeClaimKind,
  PersistentVolumeKind,
  type StorageClass,
  type VolumeSnapshot,
  type VolumeSnapshotContent,
} from '@slipway/api';
import type { Client } from '@slipway/client';
import { type Clock, done, type EventRecorder, type Lister, type Reconciler, type Result } from '@slipway/runtime';
import { BIND_COMPLETED, BOUND_BY_CONTROLLER, provisionerAnnotations, SELECTED_NODE } from './claim-annotations.ts';
import { nodesOfCloneSource } from './clone-source.ts';
import { boundStatus, hasGrown } from './claim-status.ts';
import { type ClaimFacts, planClaim } from './plan-claim.ts';
import { CLAIM_PROTECTION, VOLUME_PROTECTION } from './protection.ts';
import { refersTo } from './volume-match.ts';
import { defaultClassName } from './default-class.ts';

export const BY_CLAIM_REF = 'persistent-volume/claim';
export const BY_FREE_CLASS = 'persistent-volume/free';
export const BY_NODE = 'persistent-volume/node';

export interface ClaimDeps {
  readonly client: Client;
  readonly events: EventRecorder;
  readonly clock: Clock;
  readonly claims: Lister<PersistentVolumeClaim>;
  readonly volumes: Lister<PersistentVolume>;
  readonly storageClasses: Lister<StorageClass>;
  readonly nodes: Lister<Node>;
  /** One for each group and version that the server has. */
  readonly apiServices: Lister<KubeObject>;
  readonly snapshots: Lister<VolumeSnapshot>;
  readonly snapshotContents: Lister<VolumeSnapshotContent>;
}

/** Connects claims with volumes, and asks for volumes where there is none. */
export class ClaimReconciler implements Reconciler {
  private readonly deps: ClaimDeps;

  constructor(deps: ClaimDeps) {
    this.deps = deps;
  }

  async reconcile(key: ObjectKey, signal: AbortSignal): Promise<Result> {
    const claim = this.deps.claims.get(key);
    if (claim === undefined) return done;
    const facts = this.facts(claim);
    const plan = planClaim(claim, facts);
    switch (plan.action) {
      case 'bind':
        await this.bind(claim, plan.volume, facts.storageClass, signal);
        break;
      case 'classify':
        await this.deps.client.update(
          PersistentVolumeClaimKind,
          { ...claim, spec: { ...claim.spec, storageClassName: plan.storageClassName } },
          { signal },
        );
        break;
      case 'lose':
        if (claim.status?.phase !== 'Lost') this.note(claim, plan.note);
        await this.writeStatus(claim, { ...claim.status, phase: 'Lost' }, signal);
        break;
      case 'provision': {
        const annotations = { ...provisionerAnnotations(plan.provisioner), ...(plan.node && { [SELECTED_NODE]: plan.node }) };
        await this.deps.client.patch(PersistentVolumeClaimKind, key, { metadata: { annotations } }, { type: 'merge', signal });
        this.note(claim, plan.note);
        break;
      }
      case 'wait':
        if (plan.note) this.note(claim, plan.note);
        await this.writeStatus(claim, { ...claim.status, phase: claim.status?.phase ?? 'Pending' }, signal);
        break;
      default:
        assertNever(plan);
    }
    return done;
  }

  private facts(claim: PersistentVolumeClaim): ClaimFacts {
    const { volumes, storageClasses, nodes } = this.deps;
    const { volumeName, storageClassName = '' } = claim.spec ?? {};
    return {
      storageClass: storageClasses.get({ namespace: '', name: storageClassName }),
      defaultClass: defaultClassName(storageClasses.list()),
      // named by version and group
      isKnownGroup: (group) => this.deps.apiServices.list().some(({ metadata }) => metadata.name?.endsWith(`.${group}`) === true),
      named: volumeName ? volumes.get({ namespace: '', name: volumeName }) : undefined,
      reserved: volumes
        .byIndex(BY_CLAIM_REF, keyString(keyOf(claim)))
        .filter((volume) => refersTo(volume.spec?.claimRef, claim) && !volume.metadata.deletionTimestamp),
      available: volumes.byIndex(BY_FREE_CLASS, storageClassName),
      nodes: nodes.list(),
      sourceNodes: nodesOfCloneSource(claim, {
        claim: (namespace, name) => this.deps.claims.get({ namespace, name }),
        volume: (name) => volumes.get({ namespace: '', name }),
        snapshot: (namespace, name) => this.deps.snapshots.get({ namespace, name }),
        snapshotContent: (name) => this.deps.snapshotContents.get({ namespace: '', name }),
      }),
      volumesOn: (node) => volumes.byIndex(BY_NODE, node).length,
    };
  }

  private async bind(
    claim: PersistentVolumeClaim,
    volume: PersistentVolume,
    storageClass: StorageClass | undefined,
    signal: AbortSignal,
  ): Promise<void> {
    const reserved = await this.reserve(volume, claim, signal);
    const named = await this.nameVolume(claim, volume, signal);
    const now = formatTime(this.deps.clock.now());
    const status = boundStatus(named, reserved, storageClass?.allowVolumeExpansion ?? false, now);
    if (hasGrown(claim, status)) {
      this.deps.events.normal(claim, 'VolumeResizeSuccessful', `Resized volume ${volume.metadata.name}`);
    }
    await this.writeStatus(named, status, signal);
    if (reserved.status?.phase !== 'Bound') {
      const bound = { ...reserved, status: { ...reserved.status, phase: 'Bound' } };
      await this.deps.client.update(PersistentVolumeKind, bound, { subresource: 'status', signal });
    }
  }

  /** The volume says first whose it is: two claims that want it then cannot both have it. */
  private async reserve(volume: PersistentVolume, claim: PersistentVolumeClaim, signal: AbortSignal): Promise<PersistentVolume> {
    const { name = '', namespace = '', uid = '', resourceVersion = '' } = claim.metadata;
    if (volume.spec?.claimRef?.uid === uid) return volume;
    const claimRef = { apiVersion: 'v1', kind: 'PersistentVolumeClaim', name, namespace, uid, resourceVersion };
    const annotations = { ...volume.metadata.annotations, ...(!volume.spec?.claimRef && { [BOUND_BY_CONTROLLER]: 'yes' }) };
    const finalizers = [...new Set([...(volume.metadata.finalizers ?? []), VOLUME_PROTECTION])];
    const next = { ...volume, metadata: { ...volume.metadata, annotations, finalizers }, spec: { ...volume.spec, claimRef } };
    return this.deps.client.update(PersistentVolumeKind, next, { signal });
  }

  private async nameVolume(
    claim: PersistentVolumeClaim,
    volume: PersistentVolume,
    signal: AbortSignal,
  ): Promise<PersistentVolumeClaim> {
    const { metadata, spec } = claim;
    const { name: volumeName = '' } = volume.metadata;
    if (spec?.volumeName === volumeName && metadata.annotations?.[BIND_COMPLETED]) return claim;
    const annotations = {
      ...metadata.annotations,
      [BIND_COMPLETED]: 'yes',
      ...(spec?.volumeName === undefined && { [BOUND_BY_CONTROLLER]: 'yes' }),
    };
    const isProtected = hasFinalizer(claim, CLAIM_PROTECTION) || metadata.deletionTimestamp !== undefined;
    const finalizers = isProtected ? metadata.finalizers : [...(metadata.finalizers ?? []), CLAIM_PROTECTION];
    const next = {
      ...claim,
      metadata: { ...metadata, annotations, ...(finalizers && { finalizers }) },
      spec: { ...spec, volumeName },
    };
    return this.deps.client.update(PersistentVolumeClaimKind, next, { signal });
  }

  private async writeStatus(
    claim: PersistentVolumeClaim,
    status: NonNullable<PersistentVolumeClaim['status']>,
    signal: AbortSignal,
  ): Promise<void> {
    if (deepEqual(claim.status, status)) return;
    await this.deps.client.update(PersistentVolumeClaimKind, { ...claim, status }, { subresource: 'status', signal });
  }

  private note(
    claim: PersistentVolumeClaim,
    { type, reason, message }: { type: 'normal' | 'warning'; reason: string; message: string },
  ): void {
    this.deps.events[type](claim, reason, message);
  }
}
