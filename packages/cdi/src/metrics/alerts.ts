import {
  oftenRestarted,
  outdatedCrons,
  profileFacts,
  readiness,
  type StorageFacts,
  waitingForClass,
  WORKERS,
} from './storage-metrics.ts';

/** One of CDI's alerts: what Prometheus evaluates, and the same decision as a function. */
export interface Alert {
  readonly name: string;
  readonly expr: string;
  /** How long it must hold before it fires. */
  readonly for: string;
  readonly severity: 'info' | 'warning' | 'critical';
  readonly healthImpact: 'none' | 'warning' | 'critical';
  readonly summary: string;
  /** Whether the expression is true now. */
  readonly holds: (facts: StorageFacts) => boolean;
}

const RUNBOOKS = 'https://kubevirt.io/monitoring/runbooks/';
export const runbookOf = ({ name }: Alert): string => `${RUNBOOKS}${name}`;

const PROFILE = 'kubevirt_cdi_storageprofile_info';

/** All alerts of CDI. */
export const ALERTS: readonly Alert[] = [
  {
    name: 'CDIOperatorDown',
    expr: 'cluster:kubevirt_cdi_operator_up:sum == 0',
    ...{ for: '10m', severity: 'critical', healthImpact: 'critical' },
    summary: 'No CDI operator is running',
    // the operator is a part of the server: who can ask is answered by it
    holds: () => false,
  },
  {
    name: 'CDINotReady',
    expr: 'kubevirt_cdi_cr_ready == 0',
    ...{ for: '10m', severity: 'critical', healthImpact: 'critical' },
    summary: 'CDI is not available to use',
    holds: ({ cdi }) => readiness(cdi) === 0,
  },
  {
    name: 'CDIDataVolumeUnusualRestartCount',
    expr: WORKERS.map(({ kind }) => `cluster:kubevirt_cdi_${kind}_pods_high_restart:count > 0`).join(' or '),
    ...{ for: '5m', severity: 'warning', healthImpact: 'none' },
    summary:
      'Some CDI population workloads have an unusual restart count, meaning they are probably failing and need to be investigated',
    holds: ({ pods }) => WORKERS.some((worker) => oftenRestarted(pods, worker).length > 0),
  },
  {
    name: 'CDIStorageProfilesIncomplete',
    expr: `sum by(storageclass,provisioner) ((${PROFILE}{complete="false"}>0))`,
    ...{ for: '5m', severity: 'info', healthImpact: 'none' },
    summary: 'Incomplete StorageProfile, accessMode/volumeMode cannot be inferred by CDI for PVC population request',
    holds: (facts) => profileFacts(facts).some(({ complete }) => !complete),
  },
  {
    name: 'CDIDataImportCronOutdated',
    expr: 'sum by(namespace,cron_name) (kubevirt_cdi_dataimportcron_outdated{pending="false"}) > 0',
    ...{ for: '15m', severity: 'warning', healthImpact: 'none' },
    summary: 'DataImportCron recurring VM image imports outdated',
    holds: (facts) => outdatedCrons(facts).some(({ isOutdated, isPending }) => isOutdated && !isPending),
  },
  {
    name: 'CDINoDefaultStorageClass',
    expr: `sum(${PROFILE}{default="true"} or on() vector(0)) + sum(${PROFILE}{virtdefault="true"} or on() vector(0)) + (count(kubevirt_cdi_datavolume_pending == 0) or on() vector(0)) == 0`,
    ...{ for: '5m', severity: 'warning', healthImpact: 'none' },
    summary: 'No default StorageClass found for a DataVolume with no storage class name',
    holds: (facts) => waitingForClass(facts).length > 0,
  },
  {
    name: 'CDIMultipleDefaultVirtStorageClasses',
    expr: `sum(${PROFILE}{virtdefault="true"} or on() vector(0)) > 1`,
    ...{ for: '5m', severity: 'warning', healthImpact: 'none' },
    summary: 'More than one default virtualization StorageClass detected',
    holds: (facts) => profileFacts(facts).filter(({ virtdefault }) => virtdefault).length > 1,
  },
  {
    name: 'CDIDefaultStorageClassDegraded',
    expr: `sum(${PROFILE}{default="true",degraded="false"} or on() vector(0)) + sum(${PROFILE}{virtdefault="true",degraded="false"} or on() vector(0)) + on() (0*(sum(${PROFILE}{default="true"}) or sum(${PROFILE}{virtdefault="true"}))) == 0`,
    ...{ for: '5m', severity: 'warning', healthImpact: 'none' },
    summary: 'Default storage class has no smart clone or ReadWriteMany',
    holds(facts) {
      const defaults = profileFacts(facts).filter((profile) => profile.default || profile.virtdefault);
      return defaults.length > 0 && defaults.every(({ degraded }) => degraded);
    },
  },
];
