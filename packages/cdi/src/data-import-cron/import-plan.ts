import type { DataImportCron, DataVolume, PersistentVolumeClaim, StorageProfile, VolumeSnapshot } from '@slipway/api';
import type { KubeObject, ObjectKey } from '@slipway/apimachinery';
import { Annotation, CronLabel, LABELS, PROPAGATED_LABEL } from '../constants.ts';

type Source = NonNullable<DataVolume['spec']['source']>;

const DIGEST_LETTERS = 12;
const DEFAULT_KEPT = 3;

/** Where a cron's template says its images come from, and the claims of others that it names. */
export const sourceOf = (cron: DataImportCron): Source => cron.spec.template.spec.source ?? {};

/** Name of the DataVolume, and of the claim or snapshot, for one state of the source. */
export function importName(cron: DataImportCron, digest: string): string {
  const bare = digest.slice(digest.indexOf(':') + 1);
  return `${cron.spec.managedDataSource}-${bare.slice(0, DIGEST_LETTERS)}`.replace(/-+$/, '');
}

/**
 * The DataVolume that imports one state of the source. An image is named by its digest, so that the tag may move on.
 * `isReadWriteOnce`: the class wants that of claims which name no access mode themselves.
 */
export function importVolume(cron: DataImportCron, digest: string, now: string, isReadWriteOnce = false): DataVolume {
  const { template } = cron.spec;
  const { labels, annotations } = metadataOf(template.metadata);
  const { registry } = sourceOf(cron);
  const { storage } = template.spec;
  const source =
    registry?.url === undefined ? template.spec.source : { registry: { ...registry, url: pinned(registry.url, digest) } };
  return {
    apiVersion: 'cdi.kubevirt.io/v1beta1',
    kind: 'DataVolume',
    metadata: {
      name: importName(cron, digest),
      namespace: cron.metadata.namespace ?? '',
      labels: { ...labels, ...propagatedLabels(cron), ...ownLabels(cron) },
      annotations: {
        ...annotations,
        ...(cron.metadata.annotations?.[Annotation.retainPods] && {
          [Annotation.retainPods]: cron.metadata.annotations[Annotation.retainPods],
        }),
        [Annotation.immediateBinding]: 'true',
        [Annotation.lastUseTime]: now,
      },
    },
    spec: {
      ...template.spec,
      ...(source && { source }),
      ...(storage && isReadWriteOnce && { storage: { accessModes: ['ReadWriteOnce'], ...storage } }),
    },
  };
}

/** The snapshot that takes the place of a finished import, with everything that its claim tells of the disk. */
export function importSnapshot(
  cron: DataImportCron,
  key: ObjectKey,
  { claim, profile, now }: { claim: PersistentVolumeClaim | undefined; profile: StorageProfile | undefined; now: string },
): VolumeSnapshot {
  const capacity = claim?.status?.capacity?.['storage'];
  const className = profile?.metadata.annotations?.[Annotation.cronSnapshotClass] ?? profile?.status?.snapshotClass;
  return {
    apiVersion: 'snapshot.storage.k8s.io/v1',
    kind: 'VolumeSnapshot',
    metadata: {
      ...key,
      labels: { ...(claim && propagatedLabels(claim)), ...LABELS, ...ownLabels(cron) },
      annotations: {
        [Annotation.lastUseTime]: now,
        [Annotation.sourceVolumeMode]: claim?.spec?.volumeMode ?? 'Filesystem',
        ...(capacity !== undefined && { [Annotation.advisedRestoreSize]: String(capacity) }),
      },
    },
    spec: { source: { persistentVolumeClaimName: key.name }, ...(className && { volumeSnapshotClassName: className }) },
  };
}

/** The template's metadata is free-form in the schema. */
function metadataOf(metadata: Readonly<Record<string, unknown>> | undefined) {
  const texts = (value: unknown): Record<string, string> =>
    Object.fromEntries(Object.entries(value ?? {}).filter((entry): entry is [string, string] => typeof entry[1] === 'string'));
  return { labels: texts(metadata?.['labels']), annotations: texts(metadata?.['annotations']) };
}

/** Labels for instance types and the like, which go from a source to what is made of it. */
export const propagatedLabels = ({ metadata }: KubeObject): Record<string, string> =>
  Object.fromEntries(
    Object.entries(metadata.labels ?? {}).filter(([key]) => PROPAGATED_LABEL.test(key) && !key.startsWith('cdi.kubevirt.io/')),
  );

/** What finds the cron's objects again; `retentionPolicy: None` ties their life to the cron's. */
export const ownLabels = (cron: DataImportCron): Record<string, string> => ({
  [CronLabel.cron]: cron.metadata.name ?? '',
  ...(cron.spec.retentionPolicy === 'None' && { [CronLabel.cleanUp]: 'true' }),
});

/** `docker://host/repo:tag` → `docker://host/repo@sha256:…`. */
export function pinned(url: string, digest: string): string {
  const bare = url.replace(/@.*$/, '').replace(/:[^/:]+$/, (tag) => (tag.startsWith('://') ? tag : ''));
  return `${bare}@${digest}`;
}

type Import = DataVolume | PersistentVolumeClaim | VolumeSnapshot;

/** Names of imports that nobody keeps any more, least recently used first out; the present ones always stay. */
export function outdatedImports(cron: DataImportCron, imports: readonly Import[], present: readonly string[]): readonly string[] {
  const { garbageCollect = 'Outdated', importsToKeep = DEFAULT_KEPT } = cron.spec;
  if (garbageCollect !== 'Outdated') return [];
  const lastUse = new Map<string, string>();
  for (const { metadata } of imports) {
    const at = metadata.annotations?.[Annotation.lastUseTime] ?? metadata.creationTimestamp ?? '';
    const name = metadata.name ?? '';
    if (at >= (lastUse.get(name) ?? '')) lastUse.set(name, at);
  }
  const newestFirst = [...lastUse].sort(([a, atA], [b, atB]) => atB.localeCompare(atA) || a.localeCompare(b));
  const ordered = [
    ...newestFirst.filter(([name]) => present.includes(name)),
    ...newestFirst.filter(([name]) => !present.includes(name)),
  ];
  return ordered
    .slice(importsToKeep)
    .map(([name]) => name)
    .filter((name) => !present.includes(name));
}
