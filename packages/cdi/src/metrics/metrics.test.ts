import { CDIKind, StorageProfileKind } from '@slipway/api';
import type { MetricFamily } from '@slipway/runtime';
import { built, pod, storageClass } from '@slipway/testkit';
import { describe, expect, it } from 'vitest';
import { cdiPrometheusRule } from './prometheus-rule.ts';
import { type StorageFacts, storageMetrics } from './storage-metrics.ts';

const DEFAULT = { 'storageclass.kubernetes.io/is-default-class': 'true' };

const classOf = (name: string, annotations: Record<string, string> = {}, provisioner = 'csi.example.com') =>
  storageClass(name, { provisioner, metadata: { name, annotations } }).object;

const profile = (accessModes: string[], cloneStrategy = 'csi-clone') =>
  built(StorageProfileKind, 'p', {
    spec: {},
    status: { cloneStrategy, claimPropertySets: [{ accessModes, volumeMode: 'Block' }] },
  }).object;

const cdi = (status: string) =>
  built(CDIKind, 'cdi', { spec: {}, status: { conditions: [{ type: 'Available', status }] } }).object;

const cron = (status: string) =>
  ({
    metadata: { name: 'fedora', namespace: 'a' },
    status: { conditions: [{ type: 'UpToDate', status }], currentImports: [{ DataVolumeName: 'disk', Digest: 'd' }] },
  }) as unknown as StorageFacts['crons'][number]; // what the metrics look at

const worker = (name: string, restartCount: number, progress = '') =>
  pod(`a/${name}`, {
    metadata: { annotations: { 'slipway.dev/progress': progress } },
    spec: { containers: [{ name: 'importer', image: 'i', env: [{ name: 'OWNER_UID', value: 'uid-7' }] }] },
    status: { containerStatuses: [{ name: 'importer', restartCount, ready: true, image: 'i', imageID: '' }] },
  }).object;

const facts = (fields: Partial<StorageFacts> = {}): StorageFacts => ({
  cdi: cdi('True'),
  nodeCount: 1,
  classes: [classOf('local', DEFAULT)],
  profile: () => profile(['ReadWriteMany']),
  dataVolumes: [],
  crons: [],
  pods: [],
  ...fields,
});

describe('the metrics of CDI', () => {
  const samplesOf = (families: readonly MetricFamily[], name: string) => families.find((family) => family.name === name)?.samples;

  it('say what a profile offers, and how far a transfer is', () => {
    const families = storageMetrics(facts({ pods: [worker('importer-disk', 0, '{"percent":42.5}')], crons: [cron('False')] }));
    expect(samplesOf(families, 'kubevirt_cdi_storageprofile_info')).toEqual([
      {
        labels: {
          ...{ storageclass: 'local', provisioner: 'csi.example.com', complete: 'true', default: 'true' },
          ...{ virtdefault: 'false', rwx: 'true', smartclone: 'true', degraded: 'false' },
        },
        value: 1,
      },
    ]);
    expect(samplesOf(families, 'kubevirt_cdi_import_progress_total')).toEqual([{ labels: { ownerUID: 'uid-7' }, value: 42.5 }]);
    expect(samplesOf(families, 'kubevirt_cdi_cr_ready')).toEqual([{ value: 1 }]);
    expect(samplesOf(families, 'kubevirt_cdi_dataimportcron_outdated')).toEqual([
      { labels: { cron_name: 'fedora', namespace: 'a', pending: 'false' }, value: 1 },
    ]);
  });
});

describe('the rules of CDI', () => {
  const [recorded, alerts] = cdiPrometheusRule('ns').spec?.groups ?? [];

  it('record restarts of workers, under old names too', () => {
    expect(recorded?.rules).toContainEqual({
      record: 'cluster:kubevirt_cdi_upload_pods_high_restart:count',
      expr: "count(kube_pod_container_status_restarts_total{pod=~'cdi-upload-.*', container='cdi-upload-server'} > 3) or on() vector(0)",
    });
    expect(recorded?.rules).toContainEqual(
      expect.objectContaining({
        record: 'kubevirt_cdi_clone_pods_high_restart',
        expr: expect.stringContaining("pod=~'.*-source-pod'"),
      }),
    );
  });

  it('tell of each fault with a time, a severity and a runbook', () => {
    expect(alerts?.rules).toHaveLength(8);
    expect(alerts?.rules).toContainEqual({
      alert: 'CDINotReady',
      expr: 'kubevirt_cdi_cr_ready == 0',
      for: '10m',
      labels: {
        severity: 'critical',
        operator_health_impact: 'critical',
        kubernetes_operator_part_of: 'kubevirt',
        kubernetes_operator_component: 'containerized-data-importer',
      },
      annotations: {
        summary: 'CDI is not available to use',
        runbook_url: 'https://kubevirt.io/monitoring/runbooks/CDINotReady',
      },
    });
  });
});
