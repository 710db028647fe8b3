import {
  type DataSource,
  DataSourceKind,
  type DataVolume,
  DataVolumeKind,
  type PersistentVolumeClaim,
  PersistentVolumeClaimKind,
  type VolumeSnapshot,
  VolumeSnapshotKind,
} from '@slipway/api';
import { PROPAGATED_LABEL } from '../constants.ts';
import {
  type ConditionUpdate,
  formatTime,
  type KubeObject,
  type ObjectKey,
  type ResourceKind,
  setCondition,
} from '@slipway/apimachinery';
import { allow, type ControllerRegistration, done, type Lister, watchOf } from '@slipway/runtime';

/** How many DataSources may stand between a DataVolume and its claim. */
const MAX_DEPTH = 1;

export interface DataSourceFacts {
  readonly source: (key: ObjectKey) => DataSource | undefined;
  readonly claim: (key: ObjectKey) => PersistentVolumeClaim | undefined;
  readonly dataVolume: (key: ObjectKey) => DataVolume | undefined;
  readonly snapshot: (key: ObjectKey) => VolumeSnapshot | undefined;
}

export interface Resolution {
  /** What the DataSource stands for in the end. */
  readonly source?: DataSource['spec']['source'];
  readonly condition: ConditionUpdate;
}

const verdict = (status: 'True' | 'False', reason: string, message: string): ConditionUpdate => ({
  type: 'Ready',
  status,
  reason,
  message,
});

/** Follows a DataSource to its claim and says whether it can be cloned. */
export function resolveDataSource(dataSource: DataSource, facts: DataSourceFacts, depth = 0): Resolution {
  const { pvc, snapshot, dataSource: next } = dataSource.spec.source;
  if (next !== undefined) return follow(dataSource, next, facts, depth);
  if (snapshot !== undefined) return { source: { snapshot }, condition: snapshotVerdict(facts.snapshot(snapshot)) };
  if (pvc === undefined) return { condition: verdict('False', 'NoSource', 'No source PVC set') };
  const claim = facts.claim(pvc);
  if (claim === undefined) return { source: { pvc }, condition: verdict('False', 'NotFound', 'PVC not found') };
  const phase = facts.dataVolume(pvc)?.status?.phase;
  const isOwned = claim.metadata.ownerReferences?.some(({ kind }) => kind === 'DataVolume') ?? false;
  if (isOwned && phase !== undefined && phase !== 'Succeeded')
    return { source: { pvc }, condition: verdict('False', phase || 'Pending', `Import DataVolume phase ${phase || 'Pending'}`) };
  return { source: { pvc }, condition: verdict('True', 'Ready', 'DataSource is ready to be consumed') };
}

function snapshotVerdict(snapshot: VolumeSnapshot | undefined): ConditionUpdate {
  if (snapshot === undefined) return verdict('False', 'NotFound', 'Snapshot not found');
  return snapshot.status?.readyToUse === true
    ? verdict('True', 'Ready', 'DataSource is ready to be consumed')
    : verdict('False', 'SnapshotNotReady', 'Snapshot not ready');
}

function follow(from: DataSource, next: ObjectKey, facts: DataSourceFacts, depth: number): Resolution {
  const { namespace, name } = from.metadata;
  if (next.namespace === namespace && next.name === name)
    return { condition: verdict('False', 'SelfReference', 'DataSource cannot self-reference') };
  if (next.namespace !== namespace)
    return {
      condition: verdict('False', 'CrossNamespaceReference', 'DataSource cannot reference a DataSource in another namespace'),
    };
  if (depth >= MAX_DEPTH)
    return {
      condition: verdict('False', 'MaxReferenceDepthReached', `DataSource cannot reference more than ${MAX_DEPTH} DataSource`),
    };
  const found = facts.source(next);
  if (found === undefined)
    return { condition: verdict('False', 'NotFound', `DataSource ${next.namespace}/${next.name} not found`) };
  return resolveDataSource(found, facts, depth + 1);
}

/** The lookups of `resolveDataSource` from caches. */
export const dataSourceFacts = (
  sources: Lister<DataSource>,
  claims: Lister<PersistentVolumeClaim>,
  dataVolumes: Lister<DataVolume>,
  snapshots: Lister<VolumeSnapshot>,
): DataSourceFacts => ({
  source: (key) => sources.get(key),
  claim: (key) => claims.get(key),
  dataVolume: (key) => dataVolumes.get(key),
  snapshot: (key) => snapshots.get(key),
});

/** Labels for instance types and the like, which the DataSource takes over from what it stands for. */
function takenLabels({ pvc, snapshot }: DataSource['spec']['source'], facts: DataSourceFacts): Record<string, string> {
  const source = (pvc && facts.claim(pvc)) ?? (snapshot && facts.snapshot(snapshot));
  const labels = Object.entries(source?.metadata.labels ?? {});
  return Object.fromEntries(labels.filter(([key]) => PROPAGATED_LABEL.test(key) && !key.startsWith('cdi.kubevirt.io/')));
}

/** Says on each DataSource whether it can be cloned. */
export const dataSourceController: ControllerRegistration = {
  name: 'datasource-controller',
  rules: [...allow('update patch', DataSourceKind, [DataSourceKind, 'status'])],
  create: ({ client, informers, clock }) => {
    const sources = informers.lister(DataSourceKind);
    const facts = dataSourceFacts(
      sources,
      informers.lister(PersistentVolumeClaimKind),
      informers.lister(DataVolumeKind),
      informers.lister(VolumeSnapshotKind),
    );
    const namers = ({ metadata }: { metadata: { namespace?: string; name?: string } }): ObjectKey[] =>
      sources
        .list()
        .filter(({ spec }) =>
          [spec.source.pvc, spec.source.snapshot, spec.source.dataSource].some(
            (ref) => ref?.namespace === metadata.namespace && ref?.name === metadata.name,
          ),
        )
        .map((source) => ({ namespace: source.metadata.namespace ?? '', name: source.metadata.name ?? '' }));
    return {
      kind: DataSourceKind,
      watches: [PersistentVolumeClaimKind, DataVolumeKind, VolumeSnapshotKind, DataSourceKind].map((kind) =>
        watchOf(kind as ResourceKind<KubeObject>, namers),
      ),
      reconciler: {
        async reconcile(key, signal) {
          const found = sources.get(key);
          if (found === undefined || found.metadata.deletionTimestamp !== undefined) return done;
          const { source, condition } = resolveDataSource(found, facts);
          const before = found.status?.conditions as Parameters<typeof setCondition>[0]; // statuses are the three of the schema
          const conditions = setCondition(before, condition, formatTime(clock.now()));
          const hasSource = JSON.stringify(found.status?.source) === JSON.stringify(source);
          const labels = takenLabels(source ?? {}, facts);
          const hasLabels = Object.entries(labels).every(([name, value]) => found.metadata.labels?.[name] === value);
          if (conditions === before && hasSource && hasLabels) return done;
          // the kind has no status subresource
          const status = { source: source ?? null, conditions };
          await client.patch(DataSourceKind, key, { metadata: { labels }, status }, { type: 'merge', signal });
          return done;
        },
      },
    };
  },
};
