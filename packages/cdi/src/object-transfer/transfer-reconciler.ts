import {
  type DataVolume,
  DataVolumeKind,
  ObjectTransferKind,
  type PersistentVolumeClaim,
  PersistentVolumeClaimKind,
  PersistentVolumeKind,
} from '@slipway/api';
import {
  assertNever,
  type Condition,
  controllerReference,
  deepEqual,
  formatTime,
  ignoreAlreadyExists,
  ignoreNotFound,
  keyOf,
  type KubeObject,
  type ObjectKey,
  type ResourceKind,
  setCondition,
} from '@slipway/apimachinery';
import type { Client } from '@slipway/client';
import { after, type Clock, done, type Lister, type Reconciler, type Result } from '@slipway/runtime';
import { Annotation, LABELS } from '../constants.ts';
import {
  type Action,
  claimNameOf,
  type Move,
  type ObjectTransfer,
  type Phase,
  planClaimTransfer,
  planVolumeTransfer,
  renderTarget,
  targetKey,
  TRANSFER_NAME,
} from './transfer-plan.ts';

const FINALIZER = 'cdi.kubevirt.io/objectTransfer';
const RECHECK_MS = 2_000;
/** More moves than any transfer has. */
const MAX_MOVES = 32;

export interface TransferDeps {
  readonly client: Client;
  readonly clock: Clock;
  readonly transfers: Lister<ObjectTransfer>;
  /** Whether a pod that has not ended mounts the claim. */
  readonly isUsed: (claim: ObjectKey) => boolean;
}

type Sourced = DataVolume | PersistentVolumeClaim;

/** Makes one move after the other; what it sees comes from the server, because volumes are between two claims meanwhile. */
export class TransferReconciler implements Reconciler {
  private readonly deps: TransferDeps;

  constructor(deps: TransferDeps) {
    this.deps = deps;
  }

  async reconcile(key: ObjectKey, signal: AbortSignal): Promise<Result> {
    if (this.deps.transfers.get(key) === undefined) return done;
    for (let moves = 0; moves < MAX_MOVES; moves++) {
      const transfer = await this.find(ObjectTransferKind, key, signal);
      if (transfer === undefined) return done;
      const next = await this.advance(transfer, signal);
      if (next !== undefined) return next;
    }
    return after(RECHECK_MS);
  }

  /** Undefined: there is more to do at once. */
  private async advance(transfer: ObjectTransfer, signal: AbortSignal): Promise<Result | undefined> {
    const phase = (transfer.status?.phase ?? '') as Phase; // written here alone
    const isDeleting = transfer.metadata.deletionTimestamp !== undefined;
    // a volume between two claims is never left there
    if (phase === 'Complete' || (isDeleting && phase !== 'Running')) return this.release(transfer, signal);
    if (phase === 'Error') return done;
    if (phase === '') {
      await this.protect(transfer, signal);
      await this.write(transfer, { phase: 'Pending', message: 'Initializing' }, signal);
      return undefined;
    }
    const move = await this.plan(transfer, signal);
    if (move.action !== undefined) await this.act(transfer, move.action, signal);
    const isNews = await this.write(transfer, move, signal);
    if (move.action !== undefined || (isNews && move.phase !== phase) || move.data !== undefined) return undefined;
    return move.isPolling ? after(RECHECK_MS) : done;
  }

  private async plan(transfer: ObjectTransfer, signal: AbortSignal): Promise<Move> {
    const { kind, ...source } = transfer.spec.source;
    const target = targetKey(transfer);
    const hasPods = this.deps.isUsed(source);
    if (kind === 'PersistentVolumeClaim') {
      const claim = await this.find(PersistentVolumeClaimKind, source, signal);
      const name = transfer.status?.data?.['pvName'] ?? claim?.spec?.volumeName ?? '';
      return planClaimTransfer(transfer, {
        source: claim,
        target: await this.find(PersistentVolumeClaimKind, target, signal),
        volume: name === '' ? undefined : await this.find(PersistentVolumeKind, { namespace: '', name }, signal),
        hasPods,
      });
    }
    const dataVolume = await this.find(DataVolumeKind, source, signal);
    const claimName = transfer.status?.data?.['pvcName'] ?? (dataVolume && claimNameOf(dataVolume)) ?? source.name;
    const claimKey = { namespace: source.namespace, name: claimName };
    return planVolumeTransfer(transfer, {
      source: dataVolume,
      target: await this.find(DataVolumeKind, target, signal),
      claim: await this.find(PersistentVolumeClaimKind, claimKey, signal),
      movedClaim: await this.find(PersistentVolumeClaimKind, target, signal),
      claimTransfer: await this.find(ObjectTransferKind, childKey(transfer), signal),
      hasPods: this.deps.isUsed(claimKey),
    });
  }

  private async act(transfer: ObjectTransfer, action: Action, signal: AbortSignal): Promise<void> {
    const { client } = this.deps;
    const { source } = transfer.spec;
    const kind = kindOf(transfer);
    const target = targetKey(transfer);
    const volume = { namespace: '', name: transfer.status?.data?.['pvName'] ?? '' };
    const patch = async <T extends KubeObject>(of: ResourceKind<T>, key: ObjectKey, change: object): Promise<void> => {
      await client.patch(of, key, change, { type: 'merge', signal });
    };
    switch (action.do) {
      case 'mark-source':
        return patch(kind, source, annotate(TRANSFER_NAME, transfer.metadata.name ?? ''));
      case 'delete-source':
        return this.remove(kind, source, signal);
      case 'set-reclaim-policy':
        return patch(PersistentVolumeKind, volume, { spec: { persistentVolumeReclaimPolicy: action.policy } });
      case 'point-volume': {
        const claimRef = { apiVersion: 'v1', kind: 'PersistentVolumeClaim', ...target, uid: null, resourceVersion: null };
        return patch(PersistentVolumeKind, volume, { spec: { claimRef } });
      }
      case 'create-target':
        return this.create(kind, renderTarget(transfer), signal);
      case 'release-claim':
        return this.releaseClaim(transfer, signal);
      case 'move-claim':
        return this.create(ObjectTransferKind, childOf(transfer), signal);
      case 'mark-populated':
        return patch(PersistentVolumeClaimKind, target, annotate(Annotation.populatedFor, target.name));
      case 'own-claim': {
        const ownerReferences = [controllerReference(await client.get(DataVolumeKind, target, { signal }), DataVolumeKind)];
        return patch(PersistentVolumeClaimKind, target, { metadata: { ownerReferences } });
      }
      case 'forget-claim-transfer':
        return this.remove(ObjectTransferKind, childKey(transfer), signal);
      default:
        assertNever(action);
    }
  }

  private async create<T extends KubeObject>(kind: ResourceKind<T>, object: T, signal: AbortSignal): Promise<void> {
    await this.deps.client.create(kind, object, { signal }).catch(ignoreAlreadyExists);
  }

  private async remove(kind: ResourceKind<KubeObject>, key: ObjectKey, signal: AbortSignal): Promise<void> {
    await this.deps.client.delete(kind, key, { signal }).catch(ignoreNotFound);
  }

  /** The claim outlives its DataVolume. */
  private async releaseClaim(transfer: ObjectTransfer, signal: AbortSignal): Promise<void> {
    const key = { namespace: transfer.spec.source.namespace, name: transfer.status?.data?.['pvcName'] ?? '' };
    const { metadata } = await this.deps.client.get(PersistentVolumeClaimKind, key, { signal });
    const ownerReferences = metadata.ownerReferences?.filter(({ kind }) => kind !== 'DataVolume') ?? [];
    const change = {
      metadata: { ownerReferences, resourceVersion: metadata.resourceVersion, annotations: { [Annotation.populatedFor]: null } },
    };
    await this.deps.client.patch(PersistentVolumeClaimKind, key, change, { type: 'merge', signal });
  }

  private async protect(transfer: ObjectTransfer, signal: AbortSignal): Promise<void> {
    const finalizers = [...new Set([...(transfer.metadata.finalizers ?? []), FINALIZER])];
    await this.deps.client.patch(ObjectTransferKind, keyOf(transfer), { metadata: { finalizers } }, { type: 'merge', signal });
  }

  private async release({ metadata }: ObjectTransfer, signal: AbortSignal): Promise<Result> {
    if (!metadata.finalizers?.includes(FINALIZER)) return done;
    const finalizers = metadata.finalizers.filter((name) => name !== FINALIZER);
    const change = { metadata: { finalizers, resourceVersion: metadata.resourceVersion } };
    await this.deps.client.patch(ObjectTransferKind, keyOf({ metadata }), change, { type: 'merge', signal });
    return done;
  }

  /** True when the status changed. */
  private async write(transfer: ObjectTransfer, { phase, message, reason, data }: Move, signal: AbortSignal): Promise<boolean> {
    const { client, clock } = this.deps;
    const now = formatTime(clock.now());
    const before = (transfer.status?.conditions ?? []) as readonly Condition[]; // statuses are the three of the schema
    const status = phase === 'Complete' ? 'True' : 'False';
    const conditions = setCondition(before, { type: 'Complete', status, message, reason: reason ?? '' }, now).map(
      (condition) => ({
        ...condition,
        lastHeartbeatTime: condition.lastTransitionTime ?? now,
      }),
    );
    const kept = phase === 'Complete' ? null : (data ?? transfer.status?.data);
    const next = { phase, conditions, ...(kept !== undefined && { data: kept }) };
    if (deepEqual({ ...next, data: kept ?? undefined }, { ...transfer.status, data: transfer.status?.data })) return false;
    const options = { type: 'merge', subresource: 'status', signal } as const;
    await client.patch(ObjectTransferKind, keyOf(transfer), { status: next }, options);
    return true;
  }

  private async find<T extends KubeObject>(kind: ResourceKind<T>, key: ObjectKey, signal: AbortSignal): Promise<T | undefined> {
    const { namespace, name } = key;
    return this.deps.client.get(kind, { namespace, name }, { signal }).catch(ignoreNotFound);
  }
}

const annotate = (name: string, value: string) => ({ metadata: { annotations: { [name]: value } } });

const kindOf = ({ spec }: ObjectTransfer): ResourceKind<KubeObject> =>
  (spec.source.kind === 'DataVolume' ? DataVolumeKind : PersistentVolumeClaimKind) as ResourceKind<KubeObject & Sourced>;

const childKey = ({ metadata }: ObjectTransfer): ObjectKey => ({ namespace: '', name: `pvc-transfer-${metadata.uid}` });

/** The transfer of a DataVolume's claim. */
const childOf = (transfer: ObjectTransfer): ObjectTransfer => ({
  apiVersion: 'cdi.kubevirt.io/v1beta1',
  kind: 'ObjectTransfer',
  metadata: { name: childKey(transfer).name, labels: { ...LABELS, 'cdi.kubevirt.io': '' } },
  spec: {
    source: {
      kind: 'PersistentVolumeClaim',
      namespace: transfer.spec.source.namespace,
      name: transfer.status?.data?.['pvcName'] ?? '',
    },
    target: { ...targetKey(transfer) },
    parentName: transfer.metadata.name ?? '',
  },
});
