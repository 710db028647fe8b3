import { CDIKind, DataVolumeKind, NamespaceKind, StorageProfileKind } from '@slipway/api';
import type { Controller, ControllerRegistration, MetricFamily } from '@slipway/runtime';
import { built, node, pod, storageClass, type TestWorld, testWorld } from '@slipway/testkit';
import { afterEach, describe, expect, it } from 'vitest';
import { ALERTS, runbookOf } from './alerts.ts';
import { cdiMetrics } from './index.ts';
import { PrometheusRuleKind } from './prometheus-rule.ts';
import { type StorageFacts, storageMetrics } from './storage-metrics.ts';

const DEFAULT = { 'storageclass.kubernetes.io/is-default-class': 'true' };
const VIRT = { 'storageclass.kubevirt.io/is-default-virt-class': 'true' };

const classOf = (name: string, annotations: Record<string, string> = {}, provisioner = 'csi.example.com') =>
  storageClass(name, { provisioner, metadata: { name, annotations } }).object;

const profile = (accessModes: string[], cloneStrategy = 'csi-clone') =>
  built(StorageProfileKind, 'p', {
    spec: {},
    status: { cloneStrategy, claimPropertySets: [{ accessModes, volumeMode: 'Block' }] },
  }).object;

const dataVolume = (phase: string, storageClassName?: string) =>
  built(DataVolumeKind, 'a/disk', { spec: { storage: { storageClassName } }, status: { phase } }).object;

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

const holding = (fields: Partial<StorageFacts>): readonly string[] =>
  ALERTS.filter(({ holds }) => holds(facts(fields))).map(({ name }) => name);

describe('an alert of CDI', () => {
  it.each<[string, Partial<StorageFacts>, readonly string[]]>([
    ['nothing is wrong', {}, []],
    ['CDI is not available', { cdi: cdi('False') }, ['CDINotReady']],
    ['CDI was never looked at', { cdi: undefined }, []],
    ['an importer fails again and again', { pods: [worker('importer-disk', 4)] }, ['CDIDataVolumeUnusualRestartCount']],
    ['an upload server fails again and again', { pods: [worker('cdi-upload-disk', 4)] }, ['CDIDataVolumeUnusualRestartCount']],
    ['an importer has failed three times', { pods: [worker('importer-disk', 3)] }, []],
    [
      'nobody knows a provisioner',
      { profile: () => undefined },
      ['CDIStorageProfilesIncomplete', 'CDIDefaultStorageClassDegraded'],
    ],
    [
      'a provisioner makes no disks',
      { profile: () => undefined, classes: [classOf('hand', {}, 'kubernetes.io/no-provisioner')] },
      [],
    ],
    ['a golden image is old', { crons: [cron('False')] }, ['CDIDataImportCronOutdated']],
    ['a golden image is new', { crons: [cron('True')] }, []],
    [
      'a golden image waits for a class',
      { crons: [cron('False')], classes: [], dataVolumes: [dataVolume('')] },
      ['CDINoDefaultStorageClass'],
    ],
    [
      'a disk waits for a class',
      { classes: [classOf('plain')], dataVolumes: [dataVolume('Pending')] },
      ['CDINoDefaultStorageClass'],
    ],
    [
      'no default class is there, and nobody waits',
      { classes: [classOf('plain')], dataVolumes: [dataVolume('Pending', 'plain')] },
      [],
    ],
    [
      'two classes are the default for VMs',
      { classes: [classOf('a', VIRT), classOf('b', VIRT)] },
      ['CDIMultipleDefaultVirtStorageClasses'],
    ],
    [
      'the default class copies to clone',
      { profile: () => profile(['ReadWriteMany'], 'copy') },
      ['CDIDefaultStorageClassDegraded'],
    ],
    [
      'the default class has no RWX',
      { nodeCount: 2, profile: () => profile(['ReadWriteOnce']) },
      ['CDIDefaultStorageClassDegraded'],
    ],
    ['the default class has no RWX on the only node', { profile: () => profile(['ReadWriteOnce']) }, []],
  ])('holds when %s', (_, fields, names) => {
    expect(holding(fields)).toEqual(names);
  });

  it('is told of with a runbook and a time, once', () => {
    expect(new Set(ALERTS.map(({ name }) => name)).size).toBe(ALERTS.length);
    for (const alert of ALERTS)
      expect([alert.for, runbookOf(alert)]).toEqual([
        expect.stringMatching(/^\d+m$/),
        `https://kubevirt.io/monitoring/runbooks/${alert.name}`,
      ]);
  });
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

describe('the rules for a Prometheus operator', () => {
  let world: TestWorld;
  afterEach(() => world.close());

  it('are there as soon as it is', async () => {
    let families: Controller['metrics'];
    const registration: ControllerRegistration = {
      ...cdiMetrics,
      create(deps) {
        const controller = cdiMetrics.create(deps);
        families = controller.metrics;
        return controller;
      },
    };
    world = testWorld({ api: 'server', controllers: [registration] });
    await world.with(built(NamespaceKind, 'openshift-cnv'), node('node1'), storageClass('local'));
    await world.settle();
    expect((await families?.())?.map(({ name }) => name)).toContain('slipway_cdi_alert_condition');
    // the server takes its kinds in beside its other work
    const key = 'openshift-cnv/prometheus-cdi-rules';
    await expect.poll(() => world.exists(PrometheusRuleKind, key), { timeout: 15_000, interval: 20 }).toBe(true);
    const rule = await world.get(PrometheusRuleKind, key);
    const [recorded, alerts] = rule.spec.groups;
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
    expect(alerts?.rules).toHaveLength(ALERTS.length);
    expect(alerts?.rules).toContainEqual(
      expect.objectContaining({ alert: 'CDINotReady', for: '10m', labels: expect.objectContaining({ severity: 'critical' }) }),
    );
  });
});
