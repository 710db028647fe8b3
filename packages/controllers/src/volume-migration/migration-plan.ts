import type { DataVolume, kubevirt, PersistentVolumeClaim, VirtualMachine } from '@slipway/api';
import { compareQuantities, type ObjectMeta, tryParseQuantity } from '@slipway/apimachinery';
import { ownerReferenceTo } from '../virtual-machine/start-revision.ts';
import { MIGRATED_FROM, type MovedVolume, type ReplacedVolume } from './migration-record.ts';

const CLONE_REQUEST = 'k8s.io/CloneRequest';
const SELECTED_NODE = 'volume.kubernetes.io/selected-node';
const CREATED_BY = 'kubevirt.io/created-by';

export interface MoveFacts {
  readonly vm: VirtualMachine;
  readonly volume: string;
  readonly moved: MovedVolume;
  readonly destination: string;
  readonly source: PersistentVolumeClaim | undefined;
  readonly claim: PersistentVolumeClaim | undefined;
  readonly dataVolume: DataVolume | undefined;
  /** Names of pods that use the destination. */
  readonly users: readonly string[];
  /** The same for the source, whose content may change as long as there are any. */
  readonly sourceUsers: readonly string[];
  /** Node for the destination: that of the source, when it is bound to one, else any that takes new work. */
  readonly node: string | undefined;
  /** The destination waits for a pod, which would wait for it in turn. */
  readonly waitsForConsumer: boolean;
}

export type MovePlan =
  | { readonly action: 'done' }
  /** Somebody else works. */
  | { readonly action: 'wait'; readonly message: string }
  /** A person has to do something. */
  | { readonly action: 'refuse'; readonly message: string }
  /** Writes down what the clone takes over before its blank predecessor goes. */
  | { readonly action: 'remember'; readonly replaced: ReplacedVolume }
  | { readonly action: 'remove'; readonly dataVolume?: DataVolume; readonly claim?: PersistentVolumeClaim }
  | { readonly action: 'create'; readonly dataVolume: DataVolume }
  /** Writes down that the destination was blank, before a running guest is copied into it. */
  | { readonly action: 'accept' }
  /** Chooses the node for a claim that would wait for a pod. */
  | { readonly action: 'place'; readonly annotations: Readonly<Record<string, string>> }
  /** Asks for a clone into a plain claim that has no volume yet. */
  | { readonly action: 'fill'; readonly annotations: Readonly<Record<string, string>> };

export const wait = (message: string): MovePlan => ({ action: 'wait', message });
export const refuse = (message: string): MovePlan => ({ action: 'refuse', message });

/** The next step that brings one volume of a stopped VM into its new claim. Nothing here touches the old claim. */
export function planMove(facts: MoveFacts): MovePlan {
  const { dataVolume, claim, moved, volume } = facts;
  if (moved.tried !== undefined)
    return refuse(
      `the guest ended while volume ${volume} was copied into claim ${moved.tried}, and nobody can tell yet whether that copy was complete: set updateVolumesStrategy to Replacement and name ${moved.tried}, which does not let the VM start unless it is complete, or ${moved.from} then`,
    );
  if (dataVolume !== undefined) return planDataVolume(facts, dataVolume);
  if (facts.moved.replaced !== undefined) return planReplacement(facts, facts.moved.replaced);
  if (claim !== undefined) return planClaim(facts, claim);
  const template = facts.vm.spec.dataVolumeTemplates?.find(({ metadata }) => metadata.name === facts.destination);
  if (template === undefined)
    return wait(`claim ${facts.destination} does not exist yet: create it, or a DataVolume of that name`);
  return obstacle(facts) ?? { action: 'create', dataVolume: ownedBy(facts, template, sourceIn(facts)) };
}

/** The DataVolume of a VM's template, with another source. */
export function ownedBy(
  facts: MoveFacts,
  { metadata, spec }: kubevirt.DataVolumeTemplateSpec,
  source: DataVolume['spec']['source'],
): DataVolume {
  const { labels, annotations } = metadata;
  const own = {
    labels: { ...labels, [CREATED_BY]: facts.vm.metadata.uid ?? '' },
    ...(annotations && { annotations }),
    ownerReferences: [ownerReferenceTo(facts.vm)],
  };
  // both kinds carry CDI's spec; the generator typed it once per group
  return filledFrom(facts, own, spec as DataVolume['spec'], source);
}

function planDataVolume(facts: MoveFacts, dataVolume: DataVolume): MovePlan {
  const { destination, moved } = facts;
  const { spec, metadata } = dataVolume;
  if (metadata.deletionTimestamp !== undefined) return wait(`DataVolume ${destination} is on its way out`);
  const { pvc, blank } = spec.source ?? {};
  if (pvc?.namespace === metadata.namespace && pvc?.name === moved.from) return placed(facts) ?? planClone(dataVolume);
  if (blank === undefined)
    return refuse(
      `DataVolume ${destination} has content of its own: make it with "source: {pvc: {namespace: ${metadata.namespace}, name: ${moved.from}}}" or "source: {blank: {}}", or set updateVolumesStrategy to Replacement to use it as it is`,
    );
  if (moved.replaced?.uid === metadata.uid) return { action: 'remove', dataVolume };
  if (facts.users.length > 0) return refuse(`claim ${destination} is used by pod ${facts.users.join(', ')}`);
  return obstacle(facts) ?? { action: 'remember', replaced: replacedBy(dataVolume) };
}

/** A claim of a class that waits for the first consumer: the VM is kept from being that. */
export function placed({ claim, node, waitsForConsumer }: MoveFacts): MovePlan | undefined {
  if (claim === undefined || !waitsForConsumer || node === undefined) return undefined;
  return { action: 'place', annotations: { [SELECTED_NODE]: node } };
}

function planClone(dataVolume: DataVolume): MovePlan {
  const { phase = '', progress = 'N/A' } = dataVolume.status ?? {};
  const { name } = dataVolume.metadata;
  if (phase === 'Succeeded') return { action: 'done' };
  if (phase === 'Failed') return refuse(`DataVolume ${name} has failed${detailOf(dataVolume)}`);
  return wait(`DataVolume ${name} is ${phase || 'waiting'}, ${progress}${detailOf(dataVolume)}`);
}

/** Why nothing is begun, as far as it can be known before. */
function obstacle({ source, moved, volume, claim, destination, sourceUsers }: MoveFacts): MovePlan | undefined {
  if (source === undefined) return refuse(`claim ${moved.from}, which holds the content of volume ${volume}, does not exist`);
  if (source.status?.phase !== 'Bound') return wait(`claim ${moved.from} is not bound yet`);
  if (sourceUsers.length > 0) return wait(`claim ${moved.from} is used by pod ${sourceUsers.join(', ')}`);
  return tooSmall({ source, claim, destination, moved });
}

function tooSmall({ source, claim, destination, moved }: Pick<MoveFacts, 'source' | 'claim' | 'destination' | 'moved'>) {
  const size = source?.status?.capacity?.['storage'];
  const [has, needs] = [sizeOf(claim), tryParseQuantity(size)];
  if (has === undefined || needs === undefined || compareQuantities(has, needs) >= 0) return undefined;
  return refuse(`claim ${destination} is smaller than ${moved.from}: it must have at least ${size}`);
}

/** Why the content of a running guest's claim does not fit into another one. */
export function claimsOwnSize(facts: MoveFacts): MovePlan | undefined {
  const { source, moved, volume } = facts;
  if (source === undefined) return refuse(`claim ${moved.from}, which holds the content of volume ${volume}, does not exist`);
  return tooSmall(facts);
}

const sizeOf = (claim: PersistentVolumeClaim | undefined) => tryParseQuantity(claim?.spec?.resources?.requests?.['storage']);

/** What CDI says when it does not get on. */
function detailOf({ status }: DataVolume): string {
  const message = status?.conditions?.find(({ type, status: is }) => type !== 'Ready' && is === 'False')?.message;
  return message ? `: ${message}` : '';
}

function planReplacement(facts: MoveFacts, { uid, metadata, spec }: ReplacedVolume): MovePlan {
  const { claim, destination } = facts;
  const isLeftOver = claim?.metadata.ownerReferences?.some((owner) => owner.uid === uid) === true;
  if (claim !== undefined && isLeftOver && claim.metadata.deletionTimestamp === undefined) return { action: 'remove', claim };
  if (claim !== undefined) return wait(`the blank claim ${destination} is on its way out`);
  return create(facts, metadata, spec);
}

function create(facts: MoveFacts, metadata: ObjectMeta, spec: DataVolume['spec']): MovePlan {
  return obstacle(facts) ?? { action: 'create', dataVolume: filledFrom(facts, metadata, spec, sourceIn(facts)) };
}

const sourceIn = ({ vm, moved }: MoveFacts): DataVolume['spec']['source'] => ({
  pvc: { namespace: vm.metadata.namespace ?? '', name: moved.from },
});

function filledFrom(
  { vm, destination, moved }: MoveFacts,
  metadata: ObjectMeta,
  spec: DataVolume['spec'],
  source: DataVolume['spec']['source'],
): DataVolume {
  const { source: _, sourceRef: __, ...rest } = spec;
  return {
    apiVersion: 'cdi.kubevirt.io/v1beta1',
    kind: 'DataVolume',
    metadata: {
      ...metadata,
      name: destination,
      namespace: vm.metadata.namespace ?? '',
      annotations: { ...metadata.annotations, [MIGRATED_FROM]: moved.from },
    },
    spec: { ...rest, source: source ?? {} },
  };
}

function planClaim(facts: MoveFacts, claim: PersistentVolumeClaim): MovePlan {
  const { moved, destination } = facts;
  const phase = claim.status?.phase ?? 'Pending';
  if (claim.metadata.deletionTimestamp !== undefined) return wait(`claim ${destination} is on its way out`);
  const source = cloneSourceOf(claim);
  if (source === moved.from)
    return phase === 'Bound' ? { action: 'done' } : (placed(facts) ?? wait(`claim ${destination} is ${phase}`));
  if (phase === 'Bound' || source !== undefined)
    return refuse(
      `claim ${destination} has a volume of its own: make it with "dataSource: {kind: PersistentVolumeClaim, name: ${moved.from}}", or set updateVolumesStrategy to Replacement to use it as it is`,
    );
  return (
    obstacle(facts) ?? {
      action: 'fill',
      annotations: { [CLONE_REQUEST]: `${claim.metadata.namespace}/${moved.from}` },
    }
  );
}

/** Name of the claim that this one is made from; something else for content from elsewhere. */
export function cloneSourceOf({ metadata, spec }: PersistentVolumeClaim): string | undefined {
  const asked = metadata.annotations?.[CLONE_REQUEST];
  if (asked !== undefined) return asked.startsWith(`${metadata.namespace}/`) ? asked.slice(asked.indexOf('/') + 1) : `/${asked}`;
  const source = spec?.dataSourceRef ?? spec?.dataSource;
  if (source === undefined) return undefined;
  return source.kind === 'PersistentVolumeClaim' ? source.name : `/${source.kind}/${source.name}`;
}

const DROPPED_ANNOTATIONS: readonly string[] = ['kubectl.kubernetes.io/last-applied-configuration', 'slipway.dev/requester'];

function replacedBy({ metadata, spec }: DataVolume): ReplacedVolume {
  const { uid = '', labels, annotations = {}, ownerReferences } = metadata;
  const kept = Object.fromEntries(
    Object.entries(annotations).filter(([key]) => !DROPPED_ANNOTATIONS.includes(key) && !key.startsWith('cdi.kubevirt.io/')),
  );
  return { uid, metadata: { ...(labels && { labels }), annotations: kept, ...(ownerReferences && { ownerReferences }) }, spec };
}
