import {
  type cdi,
  type DataVolume,
  DataVolumeKind,
  type PersistentVolumeClaim,
  type StorageClass,
  type StorageProfile,
} from '@slipway/api';
import {
  controllerReference,
  formatQuantity,
  parseQuantity,
  quantityOf,
  quantityValue,
  tryParseQuantity,
} from '@slipway/apimachinery';
import { Annotation, DEFAULT_OVERHEAD, LABELS, LOCAL_PROVISIONER, MIB } from '../constants.ts';
import { claimPropertySets, defaultClass } from '../storage-profile/storage-profile.ts';

type ClaimSpec = NonNullable<PersistentVolumeClaim['spec']>;
type Storage = NonNullable<DataVolume['spec']['storage']>;

/** The claim or snapshot to clone, resolved and known. */
export interface CloneFacts {
  readonly kind: 'PersistentVolumeClaim' | 'VolumeSnapshot';
  readonly namespace: string;
  readonly name: string;
  readonly volumeMode?: string;
  /** Node that the source's volume is bound to; a clone is made where its data is. */
  readonly node?: string;
  /** Bytes of the source's volume. */
  readonly capacityBytes: number;
}

export interface ClaimFacts {
  readonly classes: readonly StorageClass[];
  readonly profile: (className: string) => StorageProfile | undefined;
  readonly config: cdi.CDIConfig | undefined;
  readonly clone?: CloneFacts;
}

/** A DataVolume from which no claim can be made now; a change of classes or profiles may help. */
export class ClaimError extends Error {
  constructor(message: string) {
    super(message);
    this.name = 'ClaimError';
  }
}

/** The claim of a DataVolume: `spec.pvc` as it is, `spec.storage` completed from the class's profile. Throws ClaimError. */
export function renderClaim(dataVolume: DataVolume, facts: ClaimFacts): PersistentVolumeClaim {
  const { spec, metadata } = dataVolume;
  const { name = '', namespace = '', labels, annotations = {} } = metadata;
  const claimSpec = spec.storage === undefined ? (spec.pvc as ClaimSpec) : storageClaim(dataVolume, spec.storage, facts); // same fields
  const { [Annotation.populatedFor]: _, [Annotation.requester]: __, ...copied } = annotations;
  return {
    apiVersion: 'v1',
    kind: 'PersistentVolumeClaim',
    metadata: {
      name,
      namespace,
      labels: {
        ...labels,
        ...LABELS,
        ...(claimSpec.volumeMode !== 'Block' && { 'alerts.k8s.io/KubePersistentVolumeFillingUp': 'disabled' }),
      },
      annotations: { ...withoutLastApplied(copied), ...sourceAnnotations(dataVolume, facts) },
      ownerReferences: [controllerReference(dataVolume, DataVolumeKind)],
    },
    spec: claimSpec,
  };
}

/** kubectl's record of the DataVolume says nothing about the claim. */
function withoutLastApplied(annotations: Readonly<Record<string, string>>): Record<string, string> {
  const { 'kubectl.kubernetes.io/last-applied-configuration': _, ...rest } = annotations;
  return rest;
}

function storageClaim({ spec }: DataVolume, storage: Storage, facts: ClaimFacts): ClaimSpec {
  const chosen = storageClassOf(spec.contentType, storage, facts.classes);
  const modes = modesOf(spec.contentType, storage, chosen, facts);
  const bytes = sizeOf(storage, facts.clone);
  const isBlock = modes.volumeMode === 'Block';
  const request =
    isBlock || (facts.clone !== undefined && facts.clone.volumeMode === modes.volumeMode && !hasRequest(storage))
      ? bytes
      : inflate(bytes, overheadOf(chosen, facts.config));
  const className = storage.storageClassName ?? chosen?.metadata.name;
  const minimum = tryParseQuantity(facts.profile(className ?? '')?.metadata.annotations?.[Annotation.minimumSize]);
  const size = Math.max(request, minimum === undefined ? 0 : Number(quantityValue(minimum)));
  return {
    accessModes: modes.accessModes,
    ...(modes.volumeMode !== undefined && { volumeMode: modes.volumeMode }),
    ...(className !== undefined && { storageClassName: className }),
    resources: { requests: { storage: formatQuantity(quantityOf(size, 'BinarySI')) } },
    ...(storage.selector && { selector: storage.selector }),
    ...(storage.volumeName && { volumeName: storage.volumeName }),
    ...(storage.dataSource && { dataSource: storage.dataSource }),
    ...(storage.dataSourceRef && { dataSourceRef: storage.dataSourceRef }),
  } as ClaimSpec; // the generated and the published type differ in their enums
}

function storageClassOf(
  contentType: string | undefined,
  storage: Storage,
  classes: readonly StorageClass[],
): StorageClass | undefined {
  const name = storage.storageClassName;
  return name === undefined ? defaultClass(classes, contentType) : classes.find((item) => item.metadata.name === name);
}

interface Modes {
  readonly accessModes: string[];
  readonly volumeMode?: string;
}

function modesOf(contentType: string | undefined, storage: Storage, chosen: StorageClass | undefined, facts: ClaimFacts): Modes {
  if (contentType === 'archive' && storage.volumeMode === 'Block')
    throw new ClaimError('ContentType Archive cannot have block volumeMode');
  const wanted = contentType === 'archive' ? 'Filesystem' : storage.volumeMode;
  const { accessModes = [] } = storage;
  if (accessModes.length > 0 && wanted !== undefined) return { accessModes: [...accessModes], volumeMode: wanted };
  if (chosen === undefined) return withoutClass(storage, wanted);
  const className = chosen.metadata.name ?? '';
  const sets = claimPropertySets(chosen, facts.profile(className));
  if (accessModes.length > 0) {
    const fitting = sets.find((item) => item.accessModes.some((mode) => accessModes.includes(mode)));
    return { accessModes: [...accessModes], ...(fitting && { volumeMode: fitting.volumeMode }) };
  }
  const fitting = wanted === undefined ? sets[0] : sets.find((item) => item.volumeMode === wanted);
  if (fitting !== undefined) return { accessModes: [...fitting.accessModes], volumeMode: fitting.volumeMode };
  const missing = wanted === undefined ? 'accessMode and volumeMode' : 'accessMode';
  throw new ClaimError(`Spec is missing ${missing}, cannot get access mode from StorageProfile ${className}`);
}

function withoutClass({ accessModes = [], storageClassName }: Storage, volumeMode: string | undefined): Modes {
  if (accessModes.length > 0) return { accessModes: [...accessModes], ...(volumeMode !== undefined && { volumeMode }) };
  throw new ClaimError(
    storageClassName === undefined
      ? 'PVC spec is missing accessMode and no storageClass to choose profile'
      : `StorageClass "${storageClassName}" does not exist: create it, or name another class`,
  );
}

const hasRequest = (storage: Storage): boolean => storage.resources?.requests?.['storage'] !== undefined;

function sizeOf(storage: Storage, clone: CloneFacts | undefined): number {
  const request = storage.resources?.requests?.['storage'];
  if (request !== undefined) return Math.max(MIB, Number(quantityValue(parseQuantity(request))));
  if (clone === undefined) throw new ClaimError('Storage size is missing');
  return clone.capacityBytes;
}

/** Room that a file system takes for itself; the node-local directories have none of their own. */
export function overheadOf(storageClass: StorageClass | undefined, config: cdi.CDIConfig | undefined): number {
  const className = storageClass?.metadata.name ?? '';
  const asked = config?.spec.filesystemOverhead;
  const askedForClass = asked?.storageClass?.[className];
  if (askedForClass !== undefined) return Number(askedForClass);
  if (storageClass?.provisioner === LOCAL_PROVISIONER) return 0;
  return Number(asked?.global ?? config?.status?.filesystemOverhead?.global ?? DEFAULT_OVERHEAD);
}

const inflate = (bytes: number, overhead: number): number =>
  overhead === 0 ? bytes : Math.ceil(Math.ceil(bytes / MIB) * MIB * (1 + overhead));

/** The PVC-level request that the import, clone and upload controllers act upon. */
function sourceAnnotations({ spec, metadata }: DataVolume, { clone }: ClaimFacts): Record<string, string> {
  return {
    [Annotation.ownDataVolume]: metadata.uid ?? '',
    [Annotation.contentType]: spec.contentType || 'kubevirt',
    ...(spec.preallocation !== undefined && { [Annotation.preallocation]: String(spec.preallocation) }),
    ...(spec.priorityClassName && { [Annotation.priorityClass]: spec.priorityClassName }),
    ...(spec.serviceAccountName && { [Annotation.serviceAccount]: spec.serviceAccountName }),
    ...(clone === undefined ? importAnnotations(spec.source ?? {}) : cloneAnnotations(clone)),
  };
}

function cloneAnnotations({ kind, namespace, name, node }: CloneFacts): Record<string, string> {
  const isSnapshot = kind === 'VolumeSnapshot';
  return {
    [isSnapshot ? Annotation.snapshotRequest : Annotation.cloneRequest]: `${namespace}/${name}`,
    [Annotation.cloneType]: isSnapshot ? 'snapshot' : 'csi-clone',
    ...(node !== undefined && { [Annotation.selectedNode]: node }),
  };
}

/** A source as annotations of a claim: CDI's API for imports without a DataVolume. */
export function importAnnotations(source: NonNullable<DataVolume['spec']['source']>): Record<string, string> {
  const { http, s3, gcs, registry, blank, upload } = source;
  if (blank) return { [Annotation.importSource]: 'none' };
  if (upload) return { [Annotation.uploadTarget]: '' };
  if (registry) return registryAnnotations(registry);
  if (s3) return objectAnnotations('s3', s3);
  if (gcs) return objectAnnotations('gcs', gcs);
  if (http === undefined) return {};
  return {
    [Annotation.importSource]: 'http',
    [Annotation.importEndpoint]: http.url,
    ...(http.secretRef && { [Annotation.importSecret]: http.secretRef }),
    ...(http.certConfigMap && { [Annotation.importCertConfigMap]: http.certConfigMap }),
    ...(http.insecureSkipVerify && { [Annotation.importInsecure]: 'true' }),
    ...(http.checksum && { [Annotation.importChecksum]: http.checksum }),
    ...Object.fromEntries((http.extraHeaders ?? []).map((line, index) => [`${Annotation.importExtraHeader}${index}`, line])),
    ...Object.fromEntries(
      (http.secretExtraHeaders ?? []).map((name, index) => [`${Annotation.importSecretExtraHeader}${index}`, name]),
    ),
  };
}

const objectAnnotations = (
  source: 's3' | 'gcs',
  { url, secretRef, certConfigMap }: { readonly url: string; readonly secretRef?: string; readonly certConfigMap?: string },
): Record<string, string> => ({
  [Annotation.importSource]: source,
  [Annotation.importEndpoint]: url,
  ...(secretRef && { [Annotation.importSecret]: secretRef }),
  ...(certConfigMap && { [Annotation.importCertConfigMap]: certConfigMap }),
});

const registryAnnotations = (
  registry: NonNullable<NonNullable<DataVolume['spec']['source']>['registry']>,
): Record<string, string> => ({
  [Annotation.importSource]: 'registry',
  [Annotation.importEndpoint]: registry.url ?? '',
  ...(registry.secretRef && { [Annotation.importSecret]: registry.secretRef }),
  ...(registry.certConfigMap && { [Annotation.importCertConfigMap]: registry.certConfigMap }),
  ...(registry.platform?.architecture && { [Annotation.importArchitecture]: registry.platform.architecture }),
});
