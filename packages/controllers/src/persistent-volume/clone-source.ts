import {
  isLocalProvisioner,
  type PersistentVolume,
  type PersistentVolumeClaim,
  parseLocalHandle,
  SNAPSHOT_GROUP,
  type VolumeSnapshot,
  type VolumeSnapshotContent,
} from '@slipway/api';

/** CDI's request to fill a claim from another one, `namespace/name`. */
export const CLONE_REQUEST = 'k8s.io/CloneRequest';

/** The same for a snapshot. */
const SNAPSHOT_REQUEST = 'slipway.dev/snapshot-request';

export interface SourceFacts {
  readonly snapshot?: (namespace: string, name: string) => VolumeSnapshot | undefined;
  readonly snapshotContent?: (name: string) => VolumeSnapshotContent | undefined;
  readonly claim: (namespace: string, name: string) => PersistentVolumeClaim | undefined;
  readonly volume: (name: string) => PersistentVolume | undefined;
}

/** Nodes that hold the volume a claim is to be cloned from: a node-local volume is cloned where it is. Undefined: any node. */
export function nodesOfCloneSource(claim: PersistentVolumeClaim, facts: SourceFacts): readonly string[] | undefined {
  const snapshot = snapshotSourceOf(claim);
  if (snapshot !== undefined) return nodesOfSnapshot(snapshot, facts);
  const source = cloneSourceOf(claim);
  const volumeName = source && facts.claim(source.namespace, source.name)?.spec?.volumeName;
  const volume = volumeName ? facts.volume(volumeName) : undefined;
  const nodes = volume ? nodesOf(volume) : [];
  return nodes.length > 0 ? nodes : undefined;
}

function nodesOfSnapshot({ namespace, name }: SourceKey, facts: SourceFacts): readonly string[] | undefined {
  const contentName = facts.snapshot?.(namespace, name)?.status?.boundVolumeSnapshotContentName;
  const content = contentName === undefined ? undefined : facts.snapshotContent?.(contentName);
  const node = isLocalProvisioner(content?.spec.driver) ? parseLocalHandle(content?.status?.snapshotHandle)?.node : undefined;
  return node === undefined ? undefined : [node];
}

interface SourceKey {
  readonly namespace: string;
  readonly name: string;
}

function snapshotSourceOf({ metadata, spec = {} }: PersistentVolumeClaim): SourceKey | undefined {
  const [requested = '', name = ''] = metadata.annotations?.[SNAPSHOT_REQUEST]?.split('/') ?? [];
  if (name !== '') return { namespace: requested, name };
  const source = spec.dataSourceRef ?? spec.dataSource;
  const isSnapshot = source?.apiGroup === SNAPSHOT_GROUP && source.kind === 'VolumeSnapshot';
  return isSnapshot ? { namespace: metadata.namespace ?? '', name: source.name } : undefined;
}

function cloneSourceOf({ metadata, spec = {} }: PersistentVolumeClaim): SourceKey | undefined {
  const [requested = '', name = ''] = metadata.annotations?.[CLONE_REQUEST]?.split('/') ?? [];
  if (name !== '') return { namespace: requested, name };
  const { dataSourceRef, dataSource } = spec;
  const { namespace = '' } = metadata;
  if (dataSourceRef?.kind === 'PersistentVolumeClaim')
    return { namespace: dataSourceRef.namespace || namespace, name: dataSourceRef.name };
  return dataSource?.kind === 'PersistentVolumeClaim' ? { namespace, name: dataSource.name } : undefined;
}

/** Nodes that a volume's affinity names. */
export function nodesOf({ spec }: PersistentVolume): readonly string[] {
  const terms = spec?.nodeAffinity?.required?.nodeSelectorTerms ?? [];
  return terms.flatMap(({ matchExpressions = [] }) =>
    matchExpressions.flatMap(({ key, operator, values = [] }) =>
      key === 'kubernetes.io/hostname' && operator === 'In' ? values : [],
    ),
  );
}
