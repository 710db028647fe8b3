import {
  DEFAULT_SNAPSHOT_CLASS,
  isLocalProvisioner,
  localHandle,
  type PersistentVolume,
  type PersistentVolumeClaim,
  SnapshotFinalizer,
  type VolumeSnapshot,
  type VolumeSnapshotClass,
  type VolumeSnapshotContent,
} from '@slipway/api';
import { formatQuantity, formatTime, quantityOf } from '@slipway/apimachinery';
import { nodesOf } from '../persistent-volume/clone-source.ts';

const PROVISIONED_BY = 'pv.kubernetes.io/provisioned-by';

/** Driver and handle of a volume, as a VolumeSnapshotContent names them; undefined when it can have no snapshots. */
export function volumeIdentity(volume: PersistentVolume): { readonly driver: string; readonly handle: string } | undefined {
  const { csi, local } = volume.spec ?? {};
  if (csi !== undefined) return { driver: csi.driver, handle: csi.volumeHandle };
  const driver = volume.metadata.annotations?.[PROVISIONED_BY];
  if (driver === undefined || !isLocalProvisioner(driver) || local === undefined) return undefined;
  const [node] = nodesOf(volume);
  return node === undefined
    ? undefined
    : { driver, handle: localHandle(node, local.path.slice(local.path.lastIndexOf('/') + 1)) };
}

/** The class a snapshot that names none gets: the default of its driver, else the only one. */
export function chooseSnapshotClass(classes: readonly VolumeSnapshotClass[], driver: string): VolumeSnapshotClass | undefined {
  const fitting = classes
    .filter((item) => item.driver === driver)
    .sort((a, b) => (a.metadata.name ?? '').localeCompare(b.metadata.name ?? ''));
  const isDefault = ({ metadata }: VolumeSnapshotClass): boolean => metadata.annotations?.[DEFAULT_SNAPSHOT_CLASS] === 'true';
  return fitting.find(isDefault) ?? (fitting.length === 1 ? fitting[0] : undefined);
}

export interface SnapshotFacts {
  readonly claim: PersistentVolumeClaim | undefined;
  readonly volume: PersistentVolume | undefined;
  readonly classes: readonly VolumeSnapshotClass[];
  /** The content made for this snapshot, or the one it names. */
  readonly content: VolumeSnapshotContent | undefined;
}

export type SnapshotPlan =
  | { readonly action: 'create'; readonly content: VolumeSnapshotContent; readonly className: string }
  /** An administrator's content that waits for this snapshot. */
  | { readonly action: 'bind'; readonly content: VolumeSnapshotContent }
  | { readonly action: 'follow'; readonly content: VolumeSnapshotContent }
  | { readonly action: 'fail'; readonly message: string };

export const contentName = ({ metadata, spec }: VolumeSnapshot): string =>
  spec.source.volumeSnapshotContentName ?? `snapcontent-${metadata.uid}`;

/** Decides how a snapshot that is not being deleted gets its content. Pure. */
export function planSnapshot(snapshot: VolumeSnapshot, facts: SnapshotFacts): SnapshotPlan {
  const { content } = facts;
  const { volumeSnapshotContentName } = snapshot.spec.source;
  if (content !== undefined) {
    const { volumeSnapshotRef: reference } = content.spec;
    const isMeant = reference.name === snapshot.metadata.name && reference.namespace === snapshot.metadata.namespace;
    if (!isMeant || (reference.uid !== undefined && reference.uid !== '' && reference.uid !== snapshot.metadata.uid))
      return { action: 'fail', message: `VolumeSnapshotContent ${content.metadata.name} belongs to another snapshot` };
    return { action: reference.uid === snapshot.metadata.uid ? 'follow' : 'bind', content };
  }
  if (volumeSnapshotContentName !== undefined)
    return { action: 'fail', message: `VolumeSnapshotContent ${volumeSnapshotContentName} does not exist` };
  if (snapshot.status?.boundVolumeSnapshotContentName !== undefined)
    return { action: 'fail', message: 'VolumeSnapshotContent is missing' };
  return planContent(snapshot, facts);
}

function planContent(snapshot: VolumeSnapshot, { claim, volume, classes }: SnapshotFacts): SnapshotPlan {
  const fail = (message: string): SnapshotPlan => ({ action: 'fail', message });
  const claimName = snapshot.spec.source.persistentVolumeClaimName;
  if (claimName === undefined) return fail('The snapshot names neither a claim nor a content');
  if (claim === undefined || claim.metadata.deletionTimestamp !== undefined)
    return fail(`failed to take snapshot: persistentvolumeclaim "${claimName}" not found or being deleted`);
  if (claim.status?.phase !== 'Bound' || volume === undefined)
    return fail(`the PVC ${claimName} is not yet bound to a PV, will not attempt to take a snapshot`);
  const identity = volumeIdentity(volume);
  if (identity === undefined) return fail(`volume ${volume.metadata.name} is of a provisioner that makes no snapshots`);
  const wanted = snapshot.spec.volumeSnapshotClassName;
  const snapshotClass =
    wanted === undefined
      ? chooseSnapshotClass(classes, identity.driver)
      : classes.find(({ metadata }) => metadata.name === wanted);
  if (snapshotClass === undefined)
    return fail(
      wanted === undefined
        ? `No VolumeSnapshotClass of driver ${identity.driver} is the default: name one, or annotate one with ${DEFAULT_SNAPSHOT_CLASS}`
        : `VolumeSnapshotClass ${wanted} does not exist`,
    );
  if (snapshotClass.driver !== identity.driver)
    return fail(`VolumeSnapshotClass ${wanted} is of driver ${snapshotClass.driver}, the volume of ${identity.driver}`);
  return {
    action: 'create',
    className: snapshotClass.metadata.name ?? '',
    content: contentFor(snapshot, claim, identity, snapshotClass),
  };
}

function contentFor(
  snapshot: VolumeSnapshot,
  claim: PersistentVolumeClaim,
  { driver, handle }: { readonly driver: string; readonly handle: string },
  { metadata, deletionPolicy }: VolumeSnapshotClass,
): VolumeSnapshotContent {
  const { name, namespace, uid, resourceVersion } = snapshot.metadata;
  return {
    apiVersion: 'snapshot.storage.k8s.io/v1',
    kind: 'VolumeSnapshotContent',
    metadata: { name: contentName(snapshot), finalizers: [SnapshotFinalizer.content] },
    spec: {
      driver,
      deletionPolicy,
      source: { volumeHandle: handle },
      sourceVolumeMode: claim.spec?.volumeMode ?? 'Filesystem',
      volumeSnapshotClassName: metadata.name ?? '',
      volumeSnapshotRef: {
        apiVersion: 'snapshot.storage.k8s.io/v1',
        kind: 'VolumeSnapshot',
        ...(name !== undefined && { name }),
        ...(namespace !== undefined && { namespace }),
        ...(uid !== undefined && { uid }),
        ...(resourceVersion !== undefined && { resourceVersion }),
      },
    },
  };
}

/** Status of a snapshot that follows its content. Pure. */
export function snapshotStatus({ metadata, status }: VolumeSnapshotContent): NonNullable<VolumeSnapshot['status']> {
  const { creationTime, restoreSize, error } = status ?? {};
  return {
    boundVolumeSnapshotContentName: metadata.name ?? '',
    readyToUse: status?.readyToUse === true,
    ...(creationTime !== undefined && { creationTime: formatTime(Math.floor(creationTime / 1_000_000)) }),
    ...(restoreSize !== undefined && { restoreSize: formatQuantity(quantityOf(restoreSize, 'BinarySI')) }),
    ...(error?.message && { error }),
  };
}
