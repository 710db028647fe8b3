import {
  type cdi,
  type DataVolume,
  isLocalProvisioner,
  type PersistentVolumeClaim,
  type StorageClass,
  type StorageProfile,
} from '@slipway/api';
import { formatQuantity, parseQuantity, quantityOf, quantityValue, tryParseQuantity } from '@slipway/apimachinery';
import type { StrategyPlan } from '../clone/clone-strategy.ts';
import { Annotation, DEFAULT_OVERHEAD, MIB } from '../constants.ts';
import { claimPropertySets, defaultClass } from '../storage-profile/storage-profile.ts';

export type ClaimSpec = NonNullable<PersistentVolumeClaim['spec']>;
export type Storage = NonNullable<DataVolume['spec']['storage']>;

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
  /** Provisioner of the volume, or driver of the snapshot. */
  readonly driver?: string;
  /** The request counts room for the file system already. */
  readonly keepsRequest?: boolean;
}

export interface ClaimFacts {
  readonly classes: readonly StorageClass[];
  readonly profile: (className: string) => StorageProfile | undefined;
  readonly config: cdi.CDIConfig | undefined;
  readonly clone?: CloneFacts;
  /** How a claim of this spec gets the content of `clone`. */
  readonly planClone?: (spec: ClaimSpec, source: CloneFacts) => StrategyPlan;
}

/** A DataVolume from which no claim can be made now; a change of classes or profiles may help. */
export class ClaimError extends Error {
  constructor(message: string) {
    super(message);
    this.name = 'ClaimError';
  }
}

/**
 * A claim's spec, completed from the profile of its class: class, access and volume modes, and a size with room for the
 * file system. Throws ClaimError for what cannot be completed.
 */
export function completeClaim(storage: Storage, contentType: string | undefined, facts: ClaimFacts): ClaimSpec {
  const chosen = storageClassOf(contentType, storage, facts.classes);
  const modes = modesOf(contentType, storage, chosen, facts);
  const className = storage.storageClassName ?? chosen?.metadata.name;
  const bytes = roomFor(storage, modes, chosen, facts);
  const minimum = tryParseQuantity(facts.profile(className ?? '')?.metadata.annotations?.[Annotation.minimumSize]);
  const size = Math.max(bytes, minimum === undefined ? 0 : Number(quantityValue(minimum)));
  return {
    accessModes: modes.accessModes,
    ...(modes.volumeMode !== undefined && { volumeMode: modes.volumeMode }),
    ...(className !== undefined && { storageClassName: className }),
    resources: { requests: { storage: formatQuantity(quantityOf(size, 'BinarySI')) } },
    ...given(storage, 'selector', 'volumeName', 'dataSource', 'dataSourceRef'),
  } as ClaimSpec; // the generated and the published type differ in their enums
}

const given = (storage: Storage, ...fields: readonly (keyof Storage)[]): Partial<Storage> =>
  Object.fromEntries(fields.flatMap((field) => (storage[field] ? [[field, storage[field]]] : [])));

/** Bytes to ask for: what the guest shall see, and what a file system takes for itself. */
function roomFor(storage: Storage, { volumeMode }: Modes, chosen: StorageClass | undefined, facts: ClaimFacts): number {
  const { clone, config } = facts;
  const bytes = sizeOf(storage, clone);
  const hasRoom =
    volumeMode === 'Block' ||
    clone?.keepsRequest === true ||
    (clone !== undefined && clone.volumeMode === volumeMode && !hasRequest(storage));
  return hasRoom ? bytes : inflate(bytes, overheadOf(chosen, config));
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
  if (isLocalProvisioner(storageClass?.provisioner)) return 0;
  return Number(asked?.global ?? config?.status?.filesystemOverhead?.global ?? DEFAULT_OVERHEAD);
}

const inflate = (bytes: number, overhead: number): number =>
  overhead === 0 ? bytes : Math.ceil(Math.ceil(bytes / MIB) * MIB * (1 + overhead));
