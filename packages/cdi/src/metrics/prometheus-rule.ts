import { type AlertRow, alertRule, type PrometheusRule, prometheusRule, type RecordingRule, type Rule } from '@slipway/runtime';
import { LABELS } from '../constants.ts';
import { WORKERS } from './storage-metrics.ts';

const RULE_NAME = 'prometheus-cdi-rules';
const PROFILE = 'kubevirt_cdi_storageprofile_info';
const orNone = (expr: string): string => `${expr} or on() vector(0)`;

/** Recorded under their old names too, which dashboards still use. */
function recordings(): readonly RecordingRule[] {
  // the operator is a part of the server and has no pod: it is up when it says how CDI is
  const up = 'count(kubevirt_cdi_cr_ready) or vector(0)';
  const restarts = WORKERS.map(({ kind, container, name }) => {
    const pods = name.source.startsWith('^') ? `${name.source.slice(1)}.*` : `.*${name.source.slice(0, -1)}`;
    const expr = orNone(`count(kube_pod_container_status_restarts_total{pod=~'${pods}', container='${container}'} > 3)`);
    return { record: `kubevirt_cdi_${kind}_pods_high_restart`, suffix: 'count', expr };
  });
  return [{ record: 'kubevirt_cdi_operator_up', suffix: 'sum', expr: up }, ...restarts].flatMap(({ record, suffix, expr }) => [
    { record: `cluster:${record}:${suffix}`, expr },
    { record, expr },
  ]);
}

const ALERTS: readonly AlertRow[] = [
  ['CDIOperatorDown', 'critical/critical', '10m', 'cluster:kubevirt_cdi_operator_up:sum == 0', 'No CDI operator is running'],
  ['CDINotReady', 'critical/critical', '10m', 'kubevirt_cdi_cr_ready == 0', 'CDI is not available to use'],
  [
    'CDIDataVolumeUnusualRestartCount',
    'warning/none',
    '5m',
    WORKERS.map(({ kind }) => `cluster:kubevirt_cdi_${kind}_pods_high_restart:count > 0`).join(' or '),
    'Some CDI population workloads have an unusual restart count, meaning they are probably failing and need to be investigated',
  ],
  [
    'CDIStorageProfilesIncomplete',
    'info/none',
    '5m',
    `sum by(storageclass,provisioner) ((${PROFILE}{complete="false"}>0))`,
    'Incomplete StorageProfile, accessMode/volumeMode cannot be inferred by CDI for PVC population request',
  ],
  [
    'CDIDataImportCronOutdated',
    'warning/none',
    '15m',
    'sum by(namespace,cron_name) (kubevirt_cdi_dataimportcron_outdated{pending="false"}) > 0',
    'DataImportCron recurring VM image imports outdated',
  ],
  [
    'CDINoDefaultStorageClass',
    'warning/none',
    '5m',
    `sum(${orNone(`${PROFILE}{default="true"}`)}) + sum(${orNone(`${PROFILE}{virtdefault="true"}`)}) + (${orNone('count(kubevirt_cdi_datavolume_pending == 0)')}) == 0`,
    'No default StorageClass found for a DataVolume with no storage class name',
  ],
  [
    'CDIMultipleDefaultVirtStorageClasses',
    'warning/none',
    '5m',
    `sum(${orNone(`${PROFILE}{virtdefault="true"}`)}) > 1`,
    'More than one default virtualization StorageClass detected',
  ],
  [
    'CDIDefaultStorageClassDegraded',
    'warning/none',
    '5m',
    `sum(${orNone(`${PROFILE}{default="true",degraded="false"}`)}) + sum(${orNone(`${PROFILE}{virtdefault="true",degraded="false"}`)}) + on() (0*(sum(${PROFILE}{default="true"}) or sum(${PROFILE}{virtdefault="true"}))) == 0`,
    'Default storage class has no smart clone or ReadWriteMany',
  ],
];

const CDI_RULES: readonly Rule[] = [...recordings(), ...ALERTS.map((row) => alertRule('containerized-data-importer', row))];

/** CDI's rules as an object, for who evaluates rules: the platform itself, or a Prometheus. */
export const cdiPrometheusRule = (namespace: string): PrometheusRule =>
  prometheusRule({ name: RULE_NAME, namespace, labels: { ...LABELS, 'prometheus.cdi.kubevirt.io': 'true' } }, CDI_RULES);
