import {
  isLocalProvisioner,
  type Node,
  type PersistentVolume,
  type PersistentVolumeClaim,
  type StorageClass,
} from '@slipway/api';
import { matchesNodeSelector, untoleratedTaint } from '../scheduler/node-selection.ts';
import { BIND_COMPLETED, SELECTED_NODE, STORAGE_PROVISIONER } from './claim-annotations.ts';
import { CLONE_REQUEST } from './clone-source.ts';
import { bestVolume, refersTo } from './volume-match.ts';

export interface ClaimFacts {
  readonly storageClass: StorageClass | undefined;
  /** Name of the cluster's default class. */
  readonly defaultClass: string | undefined;
  /** Whether the cluster has kinds of this group, which then somebody may fill claims from. */
  readonly isKnownGroup: (group: string) => boolean;
  /** The volume that `spec.volumeName` names. */
  readonly named: PersistentVolume | undefined;
  /** Volumes whose claimRef means this claim. */
  readonly reserved: readonly PersistentVolume[];
  /** Free volumes of the claim's class. */
  readonly available: readonly PersistentVolume[];
  /** Nodes that may hold the volume, as far as a source to clone says; undefined: any. */
  readonly sourceNodes: readonly string[] | undefined;
  readonly nodes: readonly Node[];
  /** How many volumes a node holds. */
  readonly volumesOn: (node: string) => number;
}

interface Note {
  readonly type: 'normal' | 'warning';
  readonly reason: string;
  readonly message: string;
}

export type ClaimPlan =
  /** The default class, for a claim that was made when there was none. */
  | { readonly action: 'classify'; readonly storageClassName: string }
  | { readonly action: 'bind'; readonly volume: PersistentVolume }
  | { readonly action: 'lose'; readonly note: Note }
  | { readonly action: 'provision'; readonly provisioner: string; readonly node: string | undefined; readonly note: Note }
  | { readonly action: 'wait'; readonly note?: Note };

/** Decides how a claim gets, keeps or loses its volume. */
export function planClaim(claim: PersistentVolumeClaim, facts: ClaimFacts): ClaimPlan {
  if (claim.spec?.volumeName) return planNamed(claim, facts.named);
  if (claim.metadata.deletionTimestamp) return { action: 'wait' };
  const [reserved] = facts.reserved;
  if (reserved) return { action: 'bind', volume: reserved };
  if (claim.spec?.storageClassName === undefined && facts.defaultClass !== undefined)
    return { action: 'classify', storageClassName: facts.defaultClass };
  return planUnbound(claim, facts);
}

function planUnbound(claim: PersistentVolumeClaim, facts: ClaimFacts): ClaimPlan {
  const { storageClass } = facts;
  if (storageClass?.volumeBindingMode === 'WaitForFirstConsumer' && !claim.metadata.annotations?.[SELECTED_NODE]) {
    return waitWith('normal', 'WaitForFirstConsumer', 'waiting for first consumer to be created before binding');
  }
  // a populator fills a volume of its own making and then hands it to this claim
  if (hasPopulator(claim)) return waitForPopulator(claim, facts);
  const isChosen = storageClass?.volumeBindingMode === 'WaitForFirstConsumer' || isClone(claim);
  const available = isChosen ? undefined : bestVolume(facts.available, claim);
  if (available) return { action: 'bind', volume: available };
  return planProvisioning(claim, facts);
}

function planNamed(claim: PersistentVolumeClaim, volume: PersistentVolume | undefined): ClaimPlan {
  const isBound = claim.metadata.annotations?.[BIND_COMPLETED] !== undefined;
  if (volume === undefined) {
    if (!isBound) return { action: 'wait' };
    return lose(`Bound claim has lost its PersistentVolume. Data on the volume is lost!`);
  }
  const { claimRef } = volume.spec ?? {};
  if (claimRef === undefined || refersTo(claimRef, claim)) return { action: 'bind', volume };
  if (isBound) return lose('Two claims are bound to the same volume, this one is bound incorrectly');
  return waitWith('warning', 'FailedBinding', `volume "${claim.spec?.volumeName}" already bound to a different claim.`);
}

function planProvisioning(claim: PersistentVolumeClaim, { storageClass, nodes, sourceNodes, volumesOn }: ClaimFacts): ClaimPlan {
  const name = claim.spec?.storageClassName;
  if (!name) {
    return waitWith('normal', 'FailedBinding', 'no persistent volumes available for this claim and no storage class is set');
  }
  if (storageClass === undefined)
    return waitWith('warning', 'ProvisioningFailed', `storageclass.storage.k8s.io "${name}" not found`);
  const { provisioner } = storageClass;
  const { annotations = {} } = claim.metadata;
  if (provisioner === 'kubernetes.io/no-provisioner') {
    return waitWith('normal', 'FailedBinding', 'no persistent volumes available for this claim and its class provisions none');
  }
  const candidates = nodes.filter(({ metadata }) => sourceNodes?.includes(metadata.name ?? '') ?? true);
  const node =
    annotations[SELECTED_NODE] ??
    // the agents act only on claims that name their node
    (isLocalProvisioner(provisioner) ? chooseNode(storageClass, candidates, volumesOn) : undefined);
  if (isLocalProvisioner(provisioner) && node === undefined) {
    return waitWith(
      'warning',
      'ProvisioningFailed',
      'no node can take the volume: all are cordoned, tainted or outside the allowed topologies',
    );
  }
  const note: Note = {
    type: 'normal',
    reason: 'ExternalProvisioning',
    message: `Waiting for a volume to be created either by the external provisioner '${provisioner}' or manually by the system administrator. If volume creation is delayed, please verify that the provisioner is running and correctly registered.`,
  };
  if (annotations[STORAGE_PROVISIONER] === provisioner && annotations[SELECTED_NODE] === node) return { action: 'wait' };
  return { action: 'provision', provisioner, node, note };
}

/** The node with the fewest volumes of those that take new work. */
function chooseNode(storageClass: StorageClass, nodes: readonly Node[], volumesOn: ClaimFacts['volumesOn']): string | undefined {
  const pod = { apiVersion: 'v1', kind: 'Pod', metadata: {} };
  const terms = (storageClass.allowedTopologies ?? []).map(({ matchLabelExpressions = [] }) => ({
    matchExpressions: matchLabelExpressions.map(({ key, values }) => ({ key, operator: 'In', values })),
  }));
  return nodes
    .filter((node) => untoleratedTaint(pod, node) === undefined && (terms.length === 0 || matchesNodeSelector(terms, node)))
    .map((node) => node.metadata.name ?? '')
    .sort((a, b) => volumesOn(a) - volumesOn(b) || a.localeCompare(b))[0];
}

/** CDI has taken the claim on, and says so with the kind of its source. */
const POPULATOR_KIND = 'cdi.kubevirt.io/storage.populator.kind';

/** A claim with content of its own cannot take just any free volume. */
const isClone = ({ spec, metadata }: PersistentVolumeClaim): boolean =>
  spec?.dataSource !== undefined || spec?.dataSourceRef !== undefined || metadata.annotations?.[CLONE_REQUEST] !== undefined;

/** A data source that is neither a snapshot nor a claim is filled by a populator. */
function hasPopulator({ spec, metadata }: PersistentVolumeClaim): boolean {
  const source = spec?.dataSourceRef ?? spec?.dataSource;
  // CDI's own populators fill the claim itself
  if (metadata.annotations?.[POPULATOR_KIND] !== undefined) return false;
  return source !== undefined && source.kind !== 'VolumeSnapshot' && source.kind !== 'PersistentVolumeClaim';
}

function waitForPopulator({ spec }: PersistentVolumeClaim, { isKnownGroup }: ClaimFacts): ClaimPlan {
  const { apiGroup = '' } = spec?.dataSourceRef ?? spec?.dataSource ?? {};
  if (isKnownGroup(apiGroup)) return { action: 'wait' };
  return waitWith(
    'warning',
    'UnrecognizedDataSourceKind',
    `The datasource for this PVC does not match any registered VolumePopulator: the cluster has no kinds of group "${apiGroup}"`,
  );
}

const lose = (message: string): ClaimPlan => ({ action: 'lose', note: { type: 'warning', reason: 'ClaimLost', message } });

const waitWith = (type: Note['type'], reason: string, message: string): ClaimPlan => ({
  action: 'wait',
  note: { type, reason, message },
});
