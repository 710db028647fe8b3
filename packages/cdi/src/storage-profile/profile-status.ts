import type { PersistentVolume, StorageClass, StorageProfile, VolumeSnapshotClass } from '@slipway/api';
import { DEFAULT_SNAPSHOT_CLASS } from '@slipway/api';
import type { ConditionUpdate } from '@slipway/apimachinery';
import { Annotation } from '../constants.ts';
import { type Capabilities, capabilitiesOf, type PropertySets } from './capabilities.ts';

type Status = NonNullable<StorageProfile['status']>;

const NO_PROVISIONER = 'kubernetes.io/no-provisioner';

export interface ProfilePlan {
  readonly status: Omit<Status, 'conditions'>;
  readonly recognized: ConditionUpdate;
  /** For the profile's metadata; what somebody wrote there already wins. */
  readonly annotations: Readonly<Record<string, string>>;
}

/** What a class's profile says: what the administrator wrote, else what is known of the provisioner. */
export function planProfile(
  storageClass: StorageClass,
  profile: StorageProfile | undefined,
  facts: { readonly snapshotClasses: readonly VolumeSnapshotClass[]; readonly volumes: readonly PersistentVolume[] },
): ProfilePlan {
  const { provisioner, metadata } = storageClass;
  const spec = profile?.spec ?? {};
  const found = capabilitiesOf(storageClass);
  const known: Capabilities = typeof found === 'string' ? { sets: [] } : found;
  const snapshotClass = snapshotClassFor(provisioner, spec.snapshotClass, facts.snapshotClasses);
  const sets = spec.claimPropertySets ?? (provisioner === NO_PROVISIONER ? setsOf(metadata.name, facts.volumes) : known.sets);
  return {
    status: {
      storageClass: metadata.name ?? '',
      provisioner,
      ...(sets.length > 0 && { claimPropertySets: [...sets] }),
      cloneStrategy: spec.cloneStrategy ?? advisedClone(storageClass, known, snapshotClass),
      dataImportCronSourceFormat: cronFormat(spec.dataImportCronSourceFormat ?? known.cronFormat, snapshotClass),
      ...(snapshotClass !== undefined && { snapshotClass }),
    },
    recognized: recognition(typeof found === 'string' ? found : undefined),
    annotations: annotationsOf(known, provisioner, facts.snapshotClasses),
  };
}

const advisedClone = ({ metadata }: StorageClass, { clone }: Capabilities, snapshotClass: string | undefined): string =>
  metadata.annotations?.['cdi.kubevirt.io/clone-strategy'] ?? clone ?? (snapshotClass === undefined ? 'copy' : 'snapshot');

const cronFormat = (wanted: string | undefined, snapshotClass: string | undefined): string =>
  wanted === 'snapshot' && snapshotClass === undefined ? 'pvc' : (wanted ?? 'pvc');

/** The class that was named, if it exists for this driver; else the default one, else the first by name. */
function snapshotClassFor(
  driver: string,
  named: string | undefined,
  classes: readonly VolumeSnapshotClass[],
): string | undefined {
  const fitting = classes.filter((item) => item.driver === driver);
  const names = fitting.map(({ metadata }) => metadata.name ?? '').sort();
  if (named !== undefined && names.includes(named)) return named;
  const marked = fitting.find(({ metadata }) => metadata.annotations?.[DEFAULT_SNAPSHOT_CLASS] === 'true');
  return marked?.metadata.name ?? names[0];
}

/** Volumes that somebody made by hand say themselves what they can do. */
function setsOf(className: string | undefined, volumes: readonly PersistentVolume[]): PropertySets {
  const pairs = volumes
    .filter(({ spec }) => spec?.storageClassName === className)
    .flatMap(({ spec }) => (spec?.accessModes ?? []).map((mode) => `${mode} ${spec?.volumeMode ?? 'Filesystem'}`));
  return [...new Set(pairs)].sort().map((pair) => {
    const [mode = '', volumeMode] = pair.split(' ');
    return { accessModes: [mode], volumeMode: volumeMode === 'Block' ? 'Block' : 'Filesystem' };
  });
}

function recognition(problem: 'unrecognized-provisioner' | 'unrecognized-parameters' | undefined): ConditionUpdate {
  const type = 'Recognized';
  if (problem === undefined)
    return { type, status: 'True', reason: 'RecognizedProvisioner', message: 'Provisioner is recognized' };
  return problem === 'unrecognized-provisioner'
    ? { type, status: 'False', reason: 'UnrecognizedProvisioner', message: 'Provisioner is not recognized' }
    : {
        ...{ type, status: 'False', reason: 'UnrecognizedStorageClassParameters' },
        message: 'StorageClass parameters are not recognized',
      };
}

function annotationsOf(
  { minimumSize, cronNeedsReadWriteOnce, cronSnapshotParameters }: Capabilities,
  driver: string,
  classes: readonly VolumeSnapshotClass[],
): Record<string, string> {
  const wanted = Object.entries(cronSnapshotParameters ?? {});
  const cronClass =
    wanted.length === 0
      ? undefined
      : classes.find((item) => item.driver === driver && wanted.every(([key, value]) => item.parameters?.[key] === value));
  return {
    ...(minimumSize !== undefined && { [Annotation.minimumSize]: minimumSize }),
    ...(cronNeedsReadWriteOnce && { [Annotation.cronNeedsReadWriteOnce]: 'true' }),
    ...(cronClass !== undefined && { [Annotation.cronSnapshotClass]: cronClass.metadata.name ?? '' }),
  };
}
