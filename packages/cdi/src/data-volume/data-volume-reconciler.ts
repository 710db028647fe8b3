import {
  type cdi,
  type DataSource,
  type DataVolume,
  DataVolumeKind,
  parseLocalHandle,
  type PersistentVolume,
  type PersistentVolumeClaim,
  PersistentVolumeClaimKind,
  type Pod,
  SNAPSHOT_GROUP,
  type StorageClass,
  type StorageProfile,
  type VolumeCloneSource,
  VolumeCloneSourceKind,
  type VolumeSnapshot,
  type VolumeSnapshotContent,
} from '@slipway/api';
import {
  formatTime,
  isAlreadyExists,
  isNotFound,
  keyOf,
  type ObjectKey,
  quantityValue,
  StatusError,
  tryParseQuantity,
} from '@slipway/apimachinery';
import type { Client } from '@slipway/client';
import { after, type Clock, done, type EventRecorder, type Lister, type Reconciler, type Result } from '@slipway/runtime';
import { Annotation, LABELS } from '../constants.ts';
import { dataSourceFacts, resolveDataSource } from '../data-source/data-source-controller.ts';
import { UPLOAD_POD_ANNOTATION } from '../upload/upload-pod.ts';
import { mayClone } from './clone-authorization.ts';
import { ClaimError, type CloneFacts } from './complete-claim.ts';
import { requesterOf } from './data-volume-admission.ts';
import { boundEvent, dataVolumeStatus, failureEvent, phaseEvent, type StatusFacts } from './data-volume-status.ts';
import { renderClaim } from './render-claim.ts';

export interface DataVolumeDeps {
  readonly client: Client;
  readonly events: EventRecorder;
  readonly clock: Clock;
  readonly dataVolumes: Lister<DataVolume>;
  readonly dataSources: Lister<DataSource>;
  readonly claims: Lister<PersistentVolumeClaim>;
  readonly volumes: Lister<PersistentVolume>;
  readonly pods: Lister<Pod>;
  readonly classes: Lister<StorageClass>;
  readonly profiles: Lister<StorageProfile>;
  readonly configs: Lister<cdi.CDIConfig>;
  readonly snapshots: Lister<VolumeSnapshot>;
  readonly snapshotContents: Lister<VolumeSnapshotContent>;
}

type Problem = NonNullable<StatusFacts['problem']>;

/** Something outside the DataVolume keeps it from going on; looked at again when that changes, and now and then. */
class Blocked extends Error {
  readonly problem: Problem;

  constructor(reason: string, message: string, phase = 'Pending') {
    super(message);
    this.problem = { reason, message, phase };
  }
}

const RECHECK_MS = 30_000;
const GRANT_PREFIX = 'volume-clone-source-';

/** Gives each DataVolume its claim and tells how far the claim's population is. */
export class DataVolumeReconciler implements Reconciler {
  private readonly deps: DataVolumeDeps;

  constructor(deps: DataVolumeDeps) {
    this.deps = deps;
  }

  async reconcile(key: ObjectKey, signal: AbortSignal): Promise<Result> {
    const dataVolume = this.deps.dataVolumes.get(key);
    if (dataVolume === undefined || dataVolume.metadata.deletionTimestamp !== undefined) return done;
    try {
      const claim = await this.ensureClaim(dataVolume, signal);
      await this.settleGrant(claim, signal);
      await this.writeStatus(dataVolume, { claim }, signal);
      return done;
    } catch (error) {
      if (!(error instanceof Blocked)) throw error;
      await this.writeStatus(dataVolume, { claim: undefined, problem: error.problem }, signal);
      return after(RECHECK_MS);
    }
  }

  private async ensureClaim(dataVolume: DataVolume, signal: AbortSignal): Promise<PersistentVolumeClaim> {
    const prePopulated = dataVolume.metadata.annotations?.[Annotation.prePopulated];
    const key = { namespace: dataVolume.metadata.namespace ?? '', name: prePopulated ?? dataVolume.metadata.name ?? '' };
    const found = this.deps.claims.get(key);
    if (found !== undefined) return this.checkOwnership(dataVolume, found);
    if (prePopulated !== undefined) throw new Blocked('NotFound', `PVC ${prePopulated} not found`);
    const clone = await this.cloneFacts(dataVolume, signal);
    try {
      const claim = renderClaim(dataVolume, {
        classes: this.deps.classes.list(),
        profile: (name) => this.deps.profiles.get({ namespace: '', name }),
        config: this.deps.configs.get({ namespace: '', name: 'config' }),
        ...(clone && { clone }),
      });
      return await this.deps.client.create(PersistentVolumeClaimKind, claim, { signal });
    } catch (error) {
      throw explainCreate(error);
    }
  }

  private checkOwnership(dataVolume: DataVolume, claim: PersistentVolumeClaim): PersistentVolumeClaim {
    const { name, uid, annotations = {} } = dataVolume.metadata;
    const isMine = claim.metadata.ownerReferences?.some((owner) => owner.uid === uid) ?? false;
    const isMeant =
      annotations[Annotation.prePopulated] !== undefined ||
      annotations[Annotation.claimAdoption] === 'true' ||
      claim.metadata.annotations?.[Annotation.populatedFor] === name;
    if (isMine || isMeant) return claim;
    throw new Blocked('ErrResourceExists', `Resource "${claim.metadata.name}" already exists and is not managed by DataVolume`);
  }

  /** The source claim, once it exists, is filled, and its owner let it be cloned. */
  private async cloneFacts(dataVolume: DataVolume, signal: AbortSignal): Promise<CloneFacts | undefined> {
    const { pvc: source, snapshot } = this.cloneSource(dataVolume);
    if (snapshot) return this.snapshotFacts(dataVolume, snapshot, signal);
    if (source === undefined) return undefined;
    const claim = this.deps.claims.get(source);
    if (claim === undefined) throw new Blocked('CloneWithoutSource', `The source pvc ${source.name} doesn't exist`);
    await this.authorize(dataVolume, source, signal);
    this.checkFilled(claim);
    const volumeName = claim.spec?.volumeName;
    const volume = volumeName ? this.deps.volumes.get({ namespace: '', name: volumeName }) : undefined;
    if (claim.status?.phase !== 'Bound' || volume === undefined)
      throw new Blocked('CloneWithoutSource', `The source pvc ${source.name} is not bound yet`);
    const capacity = tryParseQuantity(claim.status.capacity?.['storage']);
    const node = nodeOf(volume);
    const capacityBytes = capacity === undefined ? 0 : Number(quantityValue(capacity));
    const volumeMode = claim.spec?.volumeMode ?? 'Filesystem';
    return { kind: 'PersistentVolumeClaim', ...source, volumeMode, capacityBytes, ...(node !== undefined && { node }) };
  }

  private async snapshotFacts(dataVolume: DataVolume, source: ObjectKey, signal: AbortSignal): Promise<CloneFacts> {
    const snapshot = this.deps.snapshots.get(source);
    if (snapshot === undefined) throw new Blocked('CloneWithoutSource', `The source snapshot ${source.name} doesn't exist`);
    await this.authorize(dataVolume, source, signal);
    const { readyToUse, boundVolumeSnapshotContentName: name = '', restoreSize } = snapshot.status ?? {};
    const content = this.deps.snapshotContents.get({ namespace: '', name });
    if (readyToUse !== true || content === undefined)
      throw new Blocked('CloneWithoutSource', `The source snapshot ${source.name} is not ready to use`, 'CloneScheduled');
    const node = parseLocalHandle(content.status?.snapshotHandle)?.node;
    const size = tryParseQuantity(restoreSize);
    return {
      ...{ kind: 'VolumeSnapshot', namespace: source.namespace, name: source.name },
      volumeMode: content.spec.sourceVolumeMode ?? 'Filesystem',
      capacityBytes: size === undefined ? 0 : Number(quantityValue(size)),
      ...(node !== undefined && { node }),
    };
  }

  private checkFilled({ metadata }: PersistentVolumeClaim): void {
    const owner = metadata.ownerReferences?.find(({ kind }) => kind === 'DataVolume');
    if (owner === undefined) return;
    const phase = this.deps.dataVolumes.get({ namespace: metadata.namespace ?? '', name: owner.name })?.status?.phase;
    if (phase !== undefined && phase !== 'Succeeded')
      throw new Blocked('CloneSourceInUse', `The source pvc ${metadata.name} is still being filled`, 'CloneScheduled');
  }

  private cloneSource({ spec, metadata }: DataVolume): { readonly pvc?: ObjectKey; readonly snapshot?: ObjectKey } {
    if (spec.sourceRef === undefined) return spec.source ?? {};
    const key = { namespace: spec.sourceRef.namespace ?? metadata.namespace ?? '', name: spec.sourceRef.name };
    const dataSource = this.deps.dataSources.get(key);
    if (dataSource === undefined)
      throw new Blocked(
        'CloneWithoutSource',
        `DataSource ${key.namespace}/${key.name} doesn't exist: create it, or correct spec.sourceRef`,
      );
    const { source, condition } = resolveDataSource(
      dataSource,
      dataSourceFacts(this.deps.dataSources, this.deps.claims, this.deps.dataVolumes, this.deps.snapshots),
    );
    if (source === undefined || condition.status !== 'True')
      throw new Blocked('CloneWithoutSource', `DataSource ${key.namespace}/${key.name} is not ready: ${condition.message}`);
    return source;
  }

  /** The rights are checked here and not only when the DataVolume was made: they may have been taken away. */
  private async authorize(dataVolume: DataVolume, source: ObjectKey, signal: AbortSignal): Promise<void> {
    if (source.namespace === dataVolume.metadata.namespace) return;
    const user = requesterOf(dataVolume);
    if (user !== undefined && (await mayClone(this.deps.client, user, source, signal))) return;
    throw new Blocked(
      'ErrUnableToClone',
      `User ${user?.username ?? '(unknown)'} has insufficient permissions in clone source namespace ${source.namespace}`,
    );
  }

  /** Tells the provisioner that a clone across namespaces was allowed, and takes that back when it is made. */
  private async settleGrant(claim: PersistentVolumeClaim, signal: AbortSignal): Promise<void> {
    const { annotations = {} } = claim.metadata;
    const kind = annotations[Annotation.snapshotRequest] === undefined ? 'PersistentVolumeClaim' : 'VolumeSnapshot';
    const request = annotations[Annotation.snapshotRequest] ?? annotations[Annotation.cloneRequest];
    const [namespace, name] = request?.split('/') ?? [];
    if (namespace === undefined || name === undefined || namespace === claim.metadata.namespace) return;
    const key = { namespace, name: `${GRANT_PREFIX}${claim.metadata.uid}` };
    if (claim.status?.phase === 'Bound') {
      await this.deps.client.delete(VolumeCloneSourceKind, key, { signal }).catch((error: unknown) => {
        if (!isNotFound(error)) throw error;
      });
      return;
    }
    const grant: VolumeCloneSource = {
      apiVersion: 'cdi.kubevirt.io/v1beta1',
      kind: 'VolumeCloneSource',
      metadata: {
        ...key,
        labels: { ...LABELS },
        annotations: { 'slipway.dev/clone-target': `${claim.metadata.namespace}/${claim.metadata.name}` },
      },
      spec: { source: { kind, name, ...(kind === 'VolumeSnapshot' && { apiGroup: SNAPSHOT_GROUP }) } },
    };
    await this.deps.client.create(VolumeCloneSourceKind, grant, { signal }).catch((error: unknown) => {
      if (!isAlreadyExists(error)) throw error;
    });
  }

  private async writeStatus(
    dataVolume: DataVolume,
    facts: Pick<StatusFacts, 'claim' | 'problem'>,
    signal: AbortSignal,
  ): Promise<void> {
    const { client, events, clock, classes, pods } = this.deps;
    const { claim } = facts;
    const className = claim?.spec?.storageClassName;
    const annotations = claim?.metadata.annotations ?? {};
    const podName = annotations[Annotation.importPod] ?? annotations[UPLOAD_POD_ANNOTATION];
    const status = dataVolumeStatus(dataVolume, {
      ...facts,
      storageClass: className === undefined ? undefined : classes.get({ namespace: '', name: className }),
      pod: podName === undefined ? undefined : pods.get({ namespace: dataVolume.metadata.namespace ?? '', name: podName }),
      now: formatTime(clock.now()),
    });
    if (JSON.stringify(status) === JSON.stringify(dataVolume.status)) return;
    await client.patch(DataVolumeKind, keyOf(dataVolume), { status }, { type: 'merge', subresource: 'status', signal });
    this.tell(dataVolume, status, facts, events);
  }

  private tell(
    dataVolume: DataVolume,
    status: NonNullable<DataVolume['status']>,
    facts: Pick<StatusFacts, 'claim' | 'problem'>,
    events: EventRecorder,
  ): void {
    const news = [
      boundEvent(dataVolume.status, status, facts.problem !== undefined),
      status.phase === dataVolume.status?.phase ? undefined : phaseEvent(dataVolume, facts.claim, status.phase ?? ''),
      failureEvent(dataVolume.status, status, facts.claim),
    ];
    for (const event of news) {
      if (event?.type === 'Normal') events.normal(dataVolume, event.reason, event.message);
      else if (event !== undefined) events.warning(dataVolume, event.reason, event.message);
    }
  }
}

function explainCreate(error: unknown): unknown {
  if (error instanceof ClaimError) return new Blocked('ErrClaimNotValid', error.message, '');
  if (error instanceof StatusError && error.code === 403 && /exceeded quota/.test(error.message))
    return new Blocked('ErrExceededQuota', error.message);
  if (error instanceof StatusError && error.code === 422) return new Blocked('ErrClaimNotValid', error.message, '');
  return error;
}

function nodeOf(volume: PersistentVolume): string | undefined {
  const terms = volume.spec?.nodeAffinity?.required?.nodeSelectorTerms ?? [];
  return terms.flatMap((term) => term.matchExpressions ?? []).find(({ key }) => key === 'kubernetes.io/hostname')?.values?.[0];
}
