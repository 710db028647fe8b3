import type { cdi, DataVolume, PersistentVolume, PersistentVolumeClaim } from '@slipway/api';
import { controllerOf, type ObjectKey } from '@slipway/apimachinery';
import { Annotation } from '../constants.ts';

export type ObjectTransfer = cdi.ObjectTransfer;

/** On the source: name of the transfer that moves it. */
export const TRANSFER_NAME = 'cdi.kubevirt.io/objectTransferName';

export type Phase = '' | 'Pending' | 'Running' | 'Complete' | 'Error';
type Data = Readonly<Record<string, string>>;

/** One change of the world; the plan is made anew after each. */
export type Action =
  | { readonly do: 'mark-source' }
  | { readonly do: 'release-claim' }
  | { readonly do: 'delete-source' }
  | { readonly do: 'set-reclaim-policy'; readonly policy: string }
  | { readonly do: 'point-volume' }
  | { readonly do: 'create-target' }
  | { readonly do: 'move-claim' }
  | { readonly do: 'mark-populated' }
  | { readonly do: 'own-claim' }
  | { readonly do: 'forget-claim-transfer' };

/** What is next for a transfer, and what its status says. */
export interface Move {
  readonly phase: Phase;
  /** Of condition `Complete`. */
  readonly message: string;
  readonly reason?: string;
  readonly data?: Data;
  readonly action?: Action;
  /** Nothing tells when pods let go of a claim. */
  readonly isPolling?: boolean;
}

export const targetKey = ({ spec: { source, target } }: ObjectTransfer): ObjectKey => ({
  namespace: target.namespace ?? source.namespace,
  name: target.name ?? source.name,
});

const pending = (message: string, rest: Partial<Move> = {}): Move => ({ phase: 'Pending', message, ...rest });
const running = (message: string, rest: Partial<Move> = {}): Move => ({ phase: 'Running', message, ...rest });
const failed = (message: string): Move => ({ phase: 'Error', message });
const step = (action: Action['do'] | Action, rest: Partial<Move> = {}): Move =>
  running('Running', { action: typeof action === 'string' ? ({ do: action } as Action) : action, ...rest }); // those without parameters
const complete: Move = { phase: 'Complete', message: 'Transfer complete' };

/** Whatever keeps a source from being moved, of either kind; undefined when it is there and free. */
function sourceObstacle(
  { metadata, spec }: ObjectTransfer,
  source: DataVolume | PersistentVolumeClaim | undefined,
  facts: { readonly hasTarget: boolean },
): Move | undefined {
  if (source === undefined) return pending('No source');
  const annotations = source.metadata.annotations ?? {};
  const missing = Object.entries(spec.source.requiredAnnotations ?? {}).find(([key, value]) => annotations[key] !== value);
  if (missing !== undefined) return pending(`Source lacks annotation ${missing.join(': ')}`);
  const other = annotations[TRANSFER_NAME];
  if (other !== undefined && other !== metadata.name) return pending('Source in use by another transfer', { reason: other });
  return facts.hasTarget ? pending('Target exists') : undefined;
}

export interface ClaimFacts {
  readonly source: PersistentVolumeClaim | undefined;
  readonly target: PersistentVolumeClaim | undefined;
  /** The volume that is to be moved. */
  readonly volume: PersistentVolume | undefined;
  readonly hasPods: boolean;
}

const PROTECTED_SOURCE = [
  'provisioner.storage.kubernetes.io/cloning-protection',
  'snapshot.storage.kubernetes.io/pvc-as-source-protection',
];

/** The next move of a claim's transfer: its volume is taken from one claim and given to the other. Pure. */
export function planClaimTransfer(transfer: ObjectTransfer, facts: ClaimFacts): Move {
  return transfer.status?.phase === 'Running' ? runningClaim(transfer, facts) : pendingClaim(transfer, facts);
}

function pendingClaim(transfer: ObjectTransfer, facts: ClaimFacts): Move {
  const { source, target, volume, hasPods } = facts;
  const obstacle = sourceObstacle(transfer, source, { hasTarget: target !== undefined });
  if (obstacle !== undefined || source === undefined) return obstacle ?? pending('No source');
  const bound = bindingObstacle(source, volume);
  if (bound !== undefined) return pending(bound);
  if (hasPods) return pending('Pods using PVC', { isPolling: true });
  if (source.metadata.annotations?.[TRANSFER_NAME] === undefined) return pending('Pending', { action: { do: 'mark-source' } });
  return running('Running', { data: { source: JSON.stringify(bare(source)), pvName: volume?.metadata.name ?? '' } });
}

function bindingObstacle(
  { metadata, spec, status }: PersistentVolumeClaim,
  volume: PersistentVolume | undefined,
): string | undefined {
  if (!spec?.volumeName || status?.phase !== 'Bound') return 'PVC not bound';
  const finalizer = PROTECTED_SOURCE.find((name) => metadata.finalizers?.includes(name));
  if (finalizer !== undefined) return `PVC has finalizer: ${finalizer}`;
  return volume?.spec?.claimRef?.uid === metadata.uid ? undefined : 'PV not bound';
}

function runningClaim(transfer: ObjectTransfer, { source, target, volume }: ClaimFacts): Move {
  const data = transfer.status?.data ?? {};
  if (data['pvName'] === undefined) return failed('PV name missing');
  if (volume?.spec === undefined) return failed('PV is gone');
  const policy = volume.spec.persistentVolumeReclaimPolicy ?? 'Delete';
  if (data['pvReclaim'] === undefined) return running('Running', { data: { ...data, pvReclaim: policy } });
  if (source?.spec?.volumeName === data['pvName'])
    // nobody may destroy the content while the volume is between two claims
    return policy === 'Retain' ? removal(source) : step({ do: 'set-reclaim-policy', policy: 'Retain' });
  return handOver(transfer, volume.spec.claimRef) ?? settle(target, policy, data['pvReclaim']);
}

const removal = ({ metadata }: DataVolume | PersistentVolumeClaim): Move =>
  metadata.deletionTimestamp === undefined ? step('delete-source') : running('Running');

/** The volume no longer belongs to the source; undefined when it is the target's. */
function handOver(transfer: ObjectTransfer, claimRef: Partial<ObjectKey> | undefined): Move | undefined {
  const isOf = ({ namespace, name }: ObjectKey): boolean => claimRef?.namespace === namespace && claimRef.name === name;
  if (isOf(targetKey(transfer))) return undefined;
  return claimRef === undefined || isOf(transfer.spec.source) ? step('point-volume') : failed('PV bound to wrong PVC');
}

function settle(target: PersistentVolumeClaim | undefined, policy: string, wanted: string): Move {
  if (target === undefined) return step('create-target');
  if (target.status?.phase !== 'Bound') return running('Waiting for target to be bound');
  return policy === wanted ? complete : step({ do: 'set-reclaim-policy', policy: wanted });
}

export interface VolumeFacts {
  readonly source: DataVolume | undefined;
  readonly target: DataVolume | undefined;
  /** The source's claim; as long as there is one. */
  readonly claim: PersistentVolumeClaim | undefined;
  readonly movedClaim: PersistentVolumeClaim | undefined;
  /** The transfer of the claim. */
  readonly claimTransfer: ObjectTransfer | undefined;
  readonly hasPods: boolean;
}

/** The next move of a DataVolume's transfer: the claim is taken from it, moved, and adopted by a new one. Pure. */
export function planVolumeTransfer(transfer: ObjectTransfer, facts: VolumeFacts): Move {
  return transfer.status?.phase === 'Running' ? runningVolume(transfer, facts) : pendingVolume(transfer, facts);
}

function pendingVolume(transfer: ObjectTransfer, { source, target, hasPods }: VolumeFacts): Move {
  const obstacle = sourceObstacle(transfer, source, { hasTarget: target !== undefined });
  if (obstacle !== undefined || source === undefined) return obstacle ?? pending('No source');
  if (source.status?.phase !== 'Succeeded') return pending('Source not populated');
  if (hasPods) return pending('Pods using DataVolume PVC', { isPolling: true });
  if (source.metadata.annotations?.[TRANSFER_NAME] === undefined) return pending('Pending', { action: { do: 'mark-source' } });
  return running('Running', { data: { source: JSON.stringify(bare(source)), pvcName: claimNameOf(source) } });
}

function runningVolume(transfer: ObjectTransfer, facts: VolumeFacts): Move {
  const { source, target, claim, claimTransfer } = facts;
  if (source !== undefined) return takeClaim(source, claim);
  if (claimTransfer === undefined) return target === undefined ? step('move-claim') : adopt(transfer, facts);
  return claimTransfer.status?.phase === 'Complete' ? adopt(transfer, facts) : running('PVC transfer in progress');
}

function takeClaim(source: DataVolume, claim: PersistentVolumeClaim | undefined): Move {
  if (claim === undefined) return running('Source DV has no PVC');
  const isOwned = claim.metadata.ownerReferences?.some(({ uid }) => uid === source.metadata.uid) ?? false;
  const isMarked = claim.metadata.annotations?.[Annotation.populatedFor] !== undefined;
  return isOwned || isMarked ? step('release-claim') : removal(source);
}

/** The claim is where it shall be, and gets its DataVolume. */
function adopt(transfer: ObjectTransfer, { target, movedClaim, claimTransfer }: VolumeFacts): Move {
  if (movedClaim === undefined) return failed('Transferred PVC does not exist');
  const populatedFor = movedClaim.metadata.annotations?.[Annotation.populatedFor];
  if (populatedFor !== targetKey(transfer).name) return step('mark-populated');
  if (target === undefined) return step('create-target');
  if (controllerOf(movedClaim) === undefined) return step('own-claim');
  if (target.status?.phase !== 'Succeeded') return running('Waiting for target DataVolume');
  return claimTransfer === undefined ? complete : step('forget-claim-transfer');
}

export const claimNameOf = ({ metadata }: DataVolume): string =>
  metadata.annotations?.[Annotation.prePopulated] ?? metadata.name ?? '';

/** What a new object takes over of an old one: not what the API server and the controllers gave to it. */
function bare({ apiVersion, kind, metadata, spec }: DataVolume | PersistentVolumeClaim) {
  const { labels, annotations = {}, ownerReferences } = metadata;
  const { [TRANSFER_NAME]: _, [Annotation.requester]: __, ...kept } = annotations;
  return { apiVersion, kind, metadata: { labels, annotations: kept, ownerReferences }, spec };
}

/** The target as it is to be made; owners stay behind in their namespace. */
export function renderTarget(transfer: ObjectTransfer): DataVolume | PersistentVolumeClaim {
  const { metadata, ...rest } = JSON.parse(transfer.status?.data?.['source'] ?? '') as ReturnType<typeof bare>; // written by `bare`
  const key = targetKey(transfer);
  const { [BIND_COMPLETED]: _, ...annotations } = metadata.annotations ?? {};
  const isHere = key.namespace === transfer.spec.source.namespace;
  const isVolume = transfer.spec.source.kind === 'DataVolume';
  return {
    ...rest,
    metadata: {
      ...key,
      ...(metadata.labels && { labels: metadata.labels }),
      // the content is there: nobody needs the right to clone it once more, nor may do so with this controller's
      annotations: { ...annotations, ...(isVolume && { [Annotation.prePopulated]: key.name }) },
      ...(isHere && metadata.ownerReferences && { ownerReferences: metadata.ownerReferences }),
    },
  } as DataVolume | PersistentVolumeClaim; // what the source was
}

const BIND_COMPLETED = 'pv.kubernetes.io/bind-completed';
