import {
  HOSTPATH_PROVISIONERS,
  isLocalProvisioner,
  type PersistentVolume,
  type PersistentVolumeClaim,
  PROVISIONING_NODE,
  SHARED_PROVISIONER,
  SNAPSHOT_GROUP,
  type StorageClass,
} from '@slipway/api';
import { quantityValue, tryParseQuantity } from '@slipway/apimachinery';
import { poolOfClass } from './pools/pool.ts';

export const PROVISIONED_BY = 'pv.kubernetes.io/provisioned-by';
export const SELECTED_NODE = 'volume.kubernetes.io/selected-node';
export const CLONE_REQUEST = 'k8s.io/CloneRequest';
export const PROVISIONER_FINALIZER = 'external-provisioner.volume.kubernetes.io/finalizer';

/** A request to fill a claim from a snapshot, `namespace/name`; set by the DataVolume controller, like CDI's own. */
export const SNAPSHOT_REQUEST = 'slipway.dev/snapshot-request';

/** CDI's strategy for a clone: `csi-clone`, `snapshot` or `copy`. */
export const CLONE_TYPE = 'cdi.kubevirt.io/cloneType';

/** Where a claim's first content comes from. */
export interface CloneSource {
  readonly kind: 'PersistentVolumeClaim' | 'VolumeSnapshot';
  readonly namespace: string;
  readonly name: string;
  /** The request alone proves nothing: the source's namespace must hold a grant for this claim. */
  readonly needsGrant: boolean;
  /** All bytes are written anew: nothing is shared with the source. */
  readonly isCopy?: boolean;
}

/** A volume to be made. */
export interface VolumePlan {
  readonly sizeBytes: number;
  readonly clone?: CloneSource;
  readonly reclaimPolicy: string;
  readonly provisioner: string;
  /** Undefined: in the node's own directory. */
  readonly pool?: string;
  /** How often the file system may be promised; as often as you like unless given. */
  readonly overcommit?: number;
}

export type ProvisionPlan =
  | { readonly action: 'none' }
  | ({ readonly action: 'create' } & VolumePlan)
  | ({ readonly action: 'expand'; readonly volumeName: string } & Pick<VolumePlan, 'sizeBytes' | 'overcommit'>)
  | { readonly action: 'refuse'; readonly reason: string; readonly message: string };

/** Bytes of a quantity; 0 when it is none. */
export function bytesOf(quantity: unknown): number {
  const parsed = tryParseQuantity(quantity);
  return parsed === undefined ? 0 : Number(quantityValue(parsed));
}

export interface ProvisionFacts {
  readonly nodeName: string;
  readonly claim: PersistentVolumeClaim;
  readonly storageClass: StorageClass | undefined;
  /** The volume the claim names, if there is one. */
  readonly volume: PersistentVolume | undefined;
}

/** Decides what this node's provisioner has to do for a claim. */
export function planProvision({ nodeName, claim, storageClass, volume }: ProvisionFacts): ProvisionPlan {
  const { spec, metadata } = claim;
  if (metadata.deletionTimestamp !== undefined) return { action: 'none' };
  const sizeBytes = bytesOf(spec?.resources?.requests?.storage);
  if (volume !== undefined) return planExpansion({ nodeName, claim, storageClass, volume, sizeBytes });
  if (!isForNode({ nodeName, claim, storageClass })) return { action: 'none' };
  const complaint = complaintAbout(spec, sizeBytes, storageClass);
  if (complaint !== undefined) return { action: 'refuse', reason: 'ProvisioningFailed', message: complaint };
  const clone = cloneSourceOf(claim);
  if (clone === 'populator') return { action: 'none' };
  const pool = poolOfClass(storageClass);
  const { reclaimPolicy = 'Delete', provisioner = '' } = storageClass ?? {};
  return {
    action: 'create',
    sizeBytes,
    reclaimPolicy,
    provisioner,
    ...(clone && { clone }),
    ...(pool !== undefined && { pool }),
    ...overcommitOf(storageClass),
  };
}

const isForNode = ({ nodeName, claim, storageClass }: Omit<ProvisionFacts, 'volume'>): boolean =>
  isLocalProvisioner(storageClass?.provisioner) &&
  !claim.spec?.volumeName &&
  claim.metadata.annotations?.[SELECTED_NODE] === nodeName;

function complaintAbout(
  spec: PersistentVolumeClaim['spec'],
  sizeBytes: number,
  storageClass: StorageClass | undefined,
): string | undefined {
  const { provisioner, parameters = {} } = storageClass ?? {};
  if (spec?.selector !== undefined) return 'claim.spec.selector is not supported: leave it out';
  if (spec?.accessModes?.includes('ReadWriteMany') && provisioner !== SHARED_PROVISIONER)
    return 'class "local" keeps volumes on one node and cannot offer ReadWriteMany: ask for ReadWriteOnce, or use class "shared"';
  if (spec?.volumeMode === 'Block' && HOSTPATH_PROVISIONERS.some((name) => name === provisioner))
    return `provisioner ${provisioner} has no block volumes: leave volumeMode out, or use a class of local.slipway.dev with parameter pool`;
  const overcommit = parameters[OVERCOMMIT_PARAMETER];
  if (overcommit !== undefined && !OVERCOMMIT.test(overcommit))
    return `parameter ${OVERCOMMIT_PARAMETER} of the class is "${overcommit}": say how often the file system may be promised, for example "1.5"`;
  return sizeBytes <= 0 ? 'the claim requests no storage' : undefined;
}

/** Parameter of a class; without it volumes are promised as long as each fits by itself. */
const OVERCOMMIT_PARAMETER = 'overcommit';
const OVERCOMMIT = /^\d{1,4}(\.\d{1,3})?$/;

/** How often volumes of the class may promise their file system. Pure. */
export function overcommitOf(storageClass: StorageClass | undefined): { readonly overcommit?: number } {
  const text = storageClass?.parameters?.[OVERCOMMIT_PARAMETER];
  return text !== undefined && OVERCOMMIT.test(text) ? { overcommit: Number(text) } : {};
}

function planExpansion({
  nodeName,
  claim,
  storageClass,
  volume,
  sizeBytes,
}: Omit<ProvisionFacts, 'volume'> & {
  volume: PersistentVolume;
  sizeBytes: number;
}): ProvisionPlan {
  const isMine =
    isLocalProvisioner(volume.metadata.annotations?.[PROVISIONED_BY]) &&
    nodeOf(volume) === nodeName &&
    volume.spec?.claimRef?.uid === claim.metadata.uid;
  if (!isMine || sizeBytes <= bytesOf(volume.spec?.capacity?.storage)) return { action: 'none' };
  return { action: 'expand', sizeBytes, volumeName: volume.metadata.name ?? '', ...overcommitOf(storageClass) };
}

/** Kubernetes' own data source, or CDI's request; a data source of another kind is somebody else's to fill. */
function cloneSourceOf(claim: PersistentVolumeClaim): CloneSource | 'populator' | undefined {
  const namespace = claim.metadata.namespace ?? '';
  const annotations = claim.metadata.annotations ?? {};
  const strategy = annotations[CLONE_TYPE];
  for (const [kind, annotation] of REQUESTS) {
    const [sourceNamespace = '', name = ''] = annotations[annotation]?.split('/') ?? [];
    if (name === '') continue;
    // the clone controller takes a snapshot of the claim first
    if (kind === 'PersistentVolumeClaim' && strategy === 'snapshot') return 'populator';
    const isCopy = strategy === 'copy';
    return { kind, namespace: sourceNamespace, name, needsGrant: sourceNamespace !== namespace, ...(isCopy && { isCopy }) };
  }
  const source = dataSourceOf(claim.spec, namespace);
  // a population source of CDI: the worker that the annotations ask for fills a blank volume
  const isFilledLater = source === 'populator' && FILLED_LATER.some((key) => annotations[key] !== undefined);
  return isFilledLater ? undefined : source;
}

const FILLED_LATER = ['cdi.kubevirt.io/storage.import.source', 'cdi.kubevirt.io/storage.upload.target'];

const REQUESTS = [
  ['VolumeSnapshot', SNAPSHOT_REQUEST],
  ['PersistentVolumeClaim', CLONE_REQUEST],
] as const;

function dataSourceOf(spec: PersistentVolumeClaim['spec'], namespace: string): CloneSource | 'populator' | undefined {
  const source = spec?.dataSourceRef ?? spec?.dataSource;
  if (source === undefined) return undefined;
  const kind = SOURCE_KINDS[`${source.apiGroup ?? ''}/${source.kind}`];
  if (kind === undefined) return 'populator';
  // a source elsewhere is alpha in Kubernetes and ruled by ReferenceGrants, which nobody checks here
  const elsewhere = spec?.dataSourceRef?.namespace ?? '';
  return elsewhere === '' || elsewhere === namespace ? { kind, namespace, name: source.name, needsGrant: false } : 'populator';
}

const SOURCE_KINDS: Readonly<Record<string, CloneSource['kind']>> = {
  '/PersistentVolumeClaim': 'PersistentVolumeClaim',
  [`${SNAPSHOT_GROUP}/VolumeSnapshot`]: 'VolumeSnapshot',
};

const HOSTNAME_LABEL = 'kubernetes.io/hostname';

/** Node whose agent cares for a volume: the one that it is bound to by its affinity, or that made it for all. */
export function nodeOf(volume: PersistentVolume): string | undefined {
  if (volume.spec?.csi?.driver === SHARED_PROVISIONER) return volume.metadata.annotations?.[PROVISIONING_NODE];
  const terms = volume.spec?.nodeAffinity?.required?.nodeSelectorTerms ?? [];
  return terms.flatMap((term) => term.matchExpressions ?? []).find(({ key }) => key === HOSTNAME_LABEL)?.values?.[0];
}

/** Where a volume is: a directory of one node, or one that all nodes reach by the same name. */
function sourceOf(facts: Pick<VolumePlan, 'provisioner'> & { readonly nodeName: string; readonly directory: string }) {
  if (facts.provisioner === SHARED_PROVISIONER)
    return { csi: { driver: SHARED_PROVISIONER, volumeHandle: facts.directory.slice(facts.directory.lastIndexOf('/') + 1) } };
  const onNode = { key: HOSTNAME_LABEL, operator: 'In', values: [facts.nodeName] };
  return {
    local: { path: facts.directory },
    nodeAffinity: { required: { nodeSelectorTerms: [{ matchExpressions: [onNode] }] } },
  };
}

const volumeAnnotations = ({ provisioner, nodeName }: Pick<VolumePlan, 'provisioner'> & { readonly nodeName: string }) => ({
  [PROVISIONED_BY]: provisioner,
  ...(provisioner === SHARED_PROVISIONER && { [PROVISIONING_NODE]: nodeName }),
});

/** The volume object for a directory, already meant for the claim. */
export function volumeFor(
  claim: PersistentVolumeClaim,
  facts: Pick<VolumePlan, 'sizeBytes' | 'reclaimPolicy' | 'provisioner'> & {
    readonly nodeName: string;
    readonly directory: string;
  },
): PersistentVolume {
  const { metadata, spec } = claim;
  return {
    apiVersion: 'v1',
    kind: 'PersistentVolume',
    metadata: {
      name: `pvc-${metadata.uid}`,
      annotations: volumeAnnotations(facts),
      finalizers: [PROVISIONER_FINALIZER],
    },
    spec: {
      accessModes: spec?.accessModes ?? ['ReadWriteOnce'],
      capacity: { storage: spec?.resources?.requests?.storage ?? String(facts.sizeBytes) },
      claimRef: {
        apiVersion: 'v1',
        kind: 'PersistentVolumeClaim',
        ...(metadata.namespace !== undefined && { namespace: metadata.namespace }),
        ...(metadata.name !== undefined && { name: metadata.name }),
        ...(metadata.uid !== undefined && { uid: metadata.uid }),
        ...(metadata.resourceVersion !== undefined && { resourceVersion: metadata.resourceVersion }),
      },
      ...sourceOf(facts),
      persistentVolumeReclaimPolicy: facts.reclaimPolicy,
      ...(spec?.storageClassName !== undefined && { storageClassName: spec.storageClassName }),
      volumeMode: spec?.volumeMode ?? 'Filesystem',
    },
  };
}
