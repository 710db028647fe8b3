import { VolumeError } from './volume-error.ts';

/** A file below an overlay; immutable, and linked into every directory that needs it. */
export interface Layer {
  /** File name, the same in every directory. */
  readonly name: string;
  readonly format: 'raw' | 'qcow2';
}

export interface Attachment {
  readonly podUid: string;
  readonly uid: number;
  /** Node of the pod, for volumes that several nodes reach. */
  readonly node?: string;
  /** The claim is for pods of one node: one of another node waits, even if both share the disk. */
  readonly isForOneNode?: boolean;
  /** For people: what the pod is there for, for example `virtual machine instance default/web`. */
  readonly holder?: string;
  /** The content has been offered to another node, to which the pod's guest moves. */
  readonly isLeaving?: boolean;
  /** Other pods that share the disk may write too; the guests see to it that they do not spoil each other's data. */
  readonly isShared?: boolean;
}

/** `volume.json`: everything the node knows of one volume. */
export interface VolumeRecord {
  readonly format: 'raw' | 'qcow2';
  readonly virtualSizeBytes: number;
  /** Layers below `disk.img`, nearest first. */
  readonly chain: readonly Layer[];
  /** `filling`: a data mover has begun and not finished; nobody else may use the disk. */
  readonly state: 'blank' | 'filling' | 'ready';
  /** `disk.img` itself is a layer of other volumes: it gets an overlay before it is written again. */
  readonly isFrozen?: boolean;
  /** The pod that may write. */
  readonly writer?: Attachment;
  /** Further ones, of a disk that is shared. */
  readonly sharers?: readonly Attachment[];
  /** The file that a running guest writes since a snapshot, instead of `disk.img`; becomes `disk.img` when it stops. */
  readonly active?: string;
  /** A layer that holds everything of the disk above it by now, and takes its place. */
  readonly merging?: string;
  /** The memory state in it was loaded: the disks that belong to it have changed since. */
  readonly isSpent?: boolean;
  /** A snapshot of a running guest that was begun: whether QEMU has changed over is known to QEMU alone. */
  readonly pivot?: { readonly layer: string; readonly active: string };
  /** The content is on its way from another node, with the guest of this pod: the volume counts for nothing yet. */
  readonly incoming?: { readonly podUid: string };
  /** The content went to another node with the guest: what is here is stale, for ever. */
  readonly given?: { readonly node: string; readonly podUid: string };
  /** A running guest of this pod is copied into it: the content counts for nothing yet. */
  readonly copying?: { readonly podUid: string };
  /** Of a volume that several nodes reach: the pod that its writer's guest is moving to. */
  readonly heir?: Attachment;
  /** Directory of the files that firmware keeps, since a guest brought them along. */
  readonly files?: string;
}

/** Name of the file that is written. */
export const activeName = ({ active }: VolumeRecord): string => active ?? DISK_NAME;

/** The record after the guest of a begun snapshot has changed over to the overlay. Pure. */
export function pivotedRecord({ pivot, ...record }: VolumeRecord): VolumeRecord {
  if (pivot === undefined) return record;
  const chain = [{ name: pivot.layer, format: record.format }, ...record.chain];
  return { ...record, format: 'qcow2', chain, active: pivot.active };
}

export const DISK_NAME = 'disk.img';
export const RECORD_NAME = 'volume.json';
export const IMPORT_DIRECTORY = 'import';
/** Files of a claim that is used as a file system. */
export const FILES_DIRECTORY = 'files';
/** Name of the directory that has them now. */
export const filesName = ({ files }: VolumeRecord): string => files ?? FILES_DIRECTORY;
/** Where the firmware of a guest that is on its way writes meanwhile. */
export const filesOfHeir = (podUid: string): string => `files-${checkedUid(podUid)}`;

const UID = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/;
export const LAYER_NAME = /^layer-[0-9a-f-]{36,64}\.img$/;
const FILES_NAME = /^files-[0-9a-f-]{36}$/;
const ACTIVE_NAME = /^live-[0-9a-f-]{36}\.img$/;

/** Whether a name is a uid, which is safe as a file name. */
export const isUid = (name: string): boolean => UID.test(name);

/** A uid that is safe as a file name. Throws for anything else. */
export function checkedUid(uid: string | undefined): string {
  if (uid === undefined || !isUid(uid)) throw new VolumeError('InvalidVolume', `"${uid}" is not the uid of an object`);
  return uid;
}

/** Lists are lists, and no name in the record leads out of the volume's directory. */
function hasSafeParts({ active, merging, pivot, files, sharers = [] }: Partial<VolumeRecord>): boolean {
  if (!Array.isArray(sharers)) return false;
  const isSafe = (name: string | undefined, pattern: RegExp): boolean => name === undefined || pattern.test(name);
  const names = [isSafe(active, ACTIVE_NAME), isSafe(merging, LAYER_NAME), isSafe(files, FILES_NAME)];
  return names.every(Boolean) && isSafe(pivot?.layer, LAYER_NAME) && isSafe(pivot?.active, ACTIVE_NAME);
}

/** Parses `volume.json`. Throws when it is not one: guessing a format would hand a guest's bytes to a probe. */
export function parseRecord(text: string): VolumeRecord {
  const value = JSON.parse(text) as Partial<VolumeRecord>; // each field is checked below
  const formats: readonly unknown[] = ['raw', 'qcow2'];
  const isValid =
    formats.includes(value.format) &&
    Number.isSafeInteger(value.virtualSizeBytes) &&
    ['blank', 'filling', 'ready'].includes(value.state ?? '') &&
    Array.isArray(value.chain) &&
    value.chain.every((layer) => LAYER_NAME.test(layer.name) && formats.includes(layer.format)) &&
    hasSafeParts(value);
  if (!isValid) throw new VolumeError('InvalidVolume', 'volume.json is damaged: restore it or delete the claim');
  return value as VolumeRecord;
}
