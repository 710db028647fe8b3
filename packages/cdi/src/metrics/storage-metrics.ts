import type { cdi, DataImportCron, DataVolume, Pod, StorageClass, StorageProfile } from '@slipway/api';
import { gauge, type MetricFamily } from '@slipway/runtime';
import { Annotation } from '../constants.ts';

/** What the metrics of CDI are computed from. */
export interface StorageFacts {
  readonly cdi: cdi.CDI | undefined;
  readonly nodeCount: number;
  readonly classes: readonly StorageClass[];
  readonly profile: (name: string) => StorageProfile | undefined;
  readonly dataVolumes: readonly DataVolume[];
  readonly crons: readonly DataImportCron[];
  /** Workers: importers, upload servers and sources of clones. */
  readonly pods: readonly Pod[];
}

/** Provisioners that no VM disk comes from, so that nothing is missing in their profiles. */
const WITHOUT_DISKS: ReadonlySet<string> = new Set([
  'openshift-storage.noobaa.io/obc',
  'openshift-storage.ceph.rook.io/bucket',
  'rook-ceph.ceph.rook.io/bucket',
  'stork-snapshot',
  'kubernetes.io/no-provisioner',
]);

const isDefault = ({ metadata }: StorageClass): boolean =>
  metadata.annotations?.['storageclass.kubernetes.io/is-default-class'] === 'true';
const isVirtDefault = ({ metadata }: StorageClass): boolean =>
  metadata.annotations?.['storageclass.kubevirt.io/is-default-virt-class'] === 'true';

interface ProfileFacts {
  readonly storageclass: string;
  readonly provisioner: string;
  readonly complete: boolean;
  readonly default: boolean;
  readonly virtdefault: boolean;
  readonly rwx: boolean;
  readonly smartclone: boolean;
  /** VMs on it can neither migrate live nor be cloned without a copy, as far as the cluster could. */
  readonly degraded: boolean;
}

/** What the profile of each class says, in the terms of the alerts. */
function profileFacts({ classes, profile, nodeCount }: Pick<StorageFacts, 'classes' | 'profile' | 'nodeCount'>): ProfileFacts[] {
  return classes.map((storageClass) => {
    const { provisioner, metadata } = storageClass;
    const name = metadata.name ?? '';
    const { claimPropertySets = [], cloneStrategy, snapshotClass } = profile(name)?.status ?? {};
    const rwx = claimPropertySets.some(({ accessModes }) => accessModes.includes('ReadWriteMany'));
    const smartclone = cloneStrategy === 'csi-clone' || (cloneStrategy === 'snapshot' && snapshotClass !== undefined);
    return {
      ...{ storageclass: name, provisioner, rwx, smartclone },
      complete: claimPropertySets.length > 0 || WITHOUT_DISKS.has(provisioner),
      default: isDefault(storageClass),
      virtdefault: isVirtDefault(storageClass),
      degraded: (nodeCount > 1 && !rwx) || !smartclone,
    };
  });
}

/** DataVolumes that wait because they name no class and there is no default one. */
const waitingForClass = ({ dataVolumes, classes }: Pick<StorageFacts, 'dataVolumes' | 'classes'>): readonly DataVolume[] =>
  classes.some((item) => isDefault(item) || isVirtDefault(item))
    ? []
    : dataVolumes.filter(({ spec, status }) => {
        const isNamed = (spec.storage ?? spec.pvc)?.storageClassName !== undefined;
        return !isNamed && ['', 'Pending'].includes(status?.phase ?? '');
      });

/** Crons whose DataSource does not hold the wanted state; `pending`: because no class is there to import into. */
function outdatedCrons({ crons, ...facts }: Pick<StorageFacts, 'crons' | 'dataVolumes' | 'classes'>) {
  const waiting = new Set(waitingForClass(facts).map(({ metadata }) => `${metadata.namespace}/${metadata.name}`));
  return crons.map(({ metadata, status }) => ({
    namespace: metadata.namespace ?? '',
    name: metadata.name ?? '',
    isOutdated: status?.conditions?.find(({ type }) => type === 'UpToDate')?.status !== 'True',
    isPending: (status?.currentImports ?? []).some(({ DataVolumeName }) =>
      waiting.has(`${metadata.namespace}/${DataVolumeName}`),
    ),
  }));
}

/** Pods that move data, by the kinds of work that alerts tell apart. */
export const WORKERS = [
  { kind: 'import', container: 'importer', name: /^importer-/ },
  { kind: 'upload', container: 'cdi-upload-server', name: /^cdi-upload-/ },
  { kind: 'clone', container: 'cdi-clone-source', name: /-source-pod$/ },
] as const;

/** -1 before the operator has looked at it for the first time, 1 while it is available, else 0. */
function readiness(object: cdi.CDI | undefined): number {
  const available = object?.status?.conditions?.find(({ type }) => type === 'Available');
  if (available === undefined) return -1;
  return available.status === 'True' ? 1 : 0;
}

/** CDI's metrics, by their names. */
export function storageMetrics(facts: StorageFacts): readonly MetricFamily[] {
  const flag = (value: boolean): string => (value ? 'true' : 'false');
  return [
    gauge('kubevirt_cdi_cr_ready', 'CDI install ready', readiness(facts.cdi)),
    gauge(
      'kubevirt_cdi_datavolume_pending',
      'Number of DataVolumes pending for default storage class to be configured',
      waitingForClass(facts).length,
    ),
    {
      name: 'kubevirt_cdi_dataimportcron_outdated',
      help: 'DataImportCron has an outdated import',
      type: 'gauge',
      samples: outdatedCrons(facts).map(({ namespace, name, isOutdated, isPending }) => ({
        labels: { cron_name: name, namespace, pending: flag(isPending) },
        value: isOutdated ? 1 : 0,
      })),
    },
    {
      name: 'kubevirt_cdi_storageprofile_info',
      help: '`StorageProfiles` info labels: `storageclass`, `provisioner`, `complete`, `default`, `virtdefault`, `rwx`, `smartclone`, `degraded`',
      type: 'gauge',
      samples: profileFacts(facts).map(({ storageclass, provisioner, ...flags }) => ({
        labels: {
          ...{ storageclass, provisioner },
          ...Object.fromEntries(Object.entries(flags).map(([name, value]) => [name, flag(value)])),
        },
        value: 1,
      })),
    },
    ...progressFamilies(facts.pods),
    {
      name: 'kube_pod_container_status_restarts_total',
      help: 'The number of container restarts per container, of the workers of CDI',
      type: 'counter',
      samples: facts.pods.flatMap(({ metadata, status }) =>
        (status?.containerStatuses ?? []).map(({ name: container, restartCount: value }) => ({
          labels: { namespace: metadata.namespace ?? '', pod: metadata.name ?? '', container },
          value: value ?? 0,
        })),
      ),
    },
  ];
}

/** Percent of each transfer that has a worker now. */
function progressFamilies(pods: readonly Pod[]): readonly MetricFamily[] {
  const progressOf = (kind: 'import' | 'clone', name: RegExp): MetricFamily => ({
    name: `kubevirt_cdi_${kind}_progress_total`,
    help: `The ${kind} progress in percentage`,
    type: 'counter',
    samples: pods
      .filter(({ metadata }) => name.test(metadata.name ?? ''))
      .map(({ metadata, spec }) => ({
        labels: { ownerUID: spec?.containers[0]?.env?.find((item) => item.name === 'OWNER_UID')?.value ?? '' },
        value: percentOf(metadata.annotations?.[Annotation.progress]),
      })),
  });
  return [progressOf('import', WORKERS[0].name), progressOf('clone', WORKERS[2].name)];
}

function percentOf(text: string | undefined): number {
  try {
    const percent = (JSON.parse(text ?? '{}') as { percent?: unknown }).percent;
    return typeof percent === 'number' && percent >= 0 && percent <= 100 ? percent : 0;
  } catch {
    return 0; // not the agent's
  }
}
