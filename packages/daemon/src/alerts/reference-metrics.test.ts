import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import {
  DataImportCronKind,
  NodeVerb,
  PersistentVolumeClaimKind,
  VirtualMachineInstanceKind,
  VirtualMachineInstanceMigrationKind,
  VirtualMachineKind,
  VirtualMachineSnapshotKind,
} from '@slipway/api';
import { countStreams } from '@slipway/controllers';
import type { MessageStream } from '@slipway/client';
import { HCO_NAME, HyperConvergedKind } from '@slipway/operators';
import {
  type AggregatedApi,
  type AlertRule,
  type MetricFamily,
  PrometheusRuleKind,
  type RouteRequest,
  type Rule,
} from '@slipway/runtime';
import { built, node, pod, simulatedNode } from '@slipway/testkit';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type MonitoredWorld, monitoredWorld } from './testing/monitored-world.ts';
import { REFERENCE_ALERTS, REFERENCE_METRICS, REFERENCE_RECORDINGS } from './testing/reference-metrics.ts';

const PAGE = readFileSync(fileURLToPath(new URL('../../../../docs/dev/monitoring.md', import.meta.url)), 'utf8');
/** Names that the page gives a reason for, in its tables of what is not there. */
const EXPLAINED = new Set(
  PAGE.slice(PAGE.indexOf('## Not produced'), PAGE.indexOf('## Which faults'))
    .split('\n')
    .flatMap((line) => [...(line.split(' | ')[0] ?? '').matchAll(/`([\w:]+)`/g)].map(([, name = '']) => name)),
);
const TYPES = { C: 'counter', G: 'gauge', H: 'histogram' } as const;

let monitored: MonitoredWorld;
let shown: ReadonlyMap<string, MetricFamily>;

const guestNode = simulatedNode();
const of = (name: string) => ({ namespace: 'shop', name });

/** Makes every metric have a sample: a guest that runs, one that has moved, one that has panicked, and what surrounds them. */
beforeAll(async () => {
  monitored = await monitoredWorld({ more: [guestNode.registration] });
  const { world, families } = monitored;
  world.nodes.onCall(NodeVerb.stats, () => STATS);
  await world.with(
    node('node-a'),
    node('node-b'),
    built(PersistentVolumeClaimKind, 'shop/disk', CLAIM),
    ...['web', 'fails', 'panics', 'goes'].map((name) => built(VirtualMachineKind, `shop/${name}`, VM)),
    built(VirtualMachineSnapshotKind, 'shop/before', SNAPSHOT),
    built(DataImportCronKind, 'shop/debian', CRON),
    worker('importer-disk'),
    worker('disk-source-pod'),
  );
  await world.settle();
  await change('web', { interfaces: [{ name: 'default', interfaceName: 'eth0', ipAddresses: ['10.0.0.5'] }] });
  await change('panics', { reason: 'GuestPanicked' });
  await world.with(migrationOf('web'));
  await world.settle();
  guestNode.migrations = 'fails';
  await world.with(migrationOf('fails'));
  await world.settle();
  await world.client.delete(VirtualMachineKind, of('goes'));
  await world.client.patch(HyperConvergedKind, HCO, { spec: { workloadSources: BOOT_IMAGES } }, { type: 'merge' });
  await world.settle();
  shown = new Map([...(await families()), ...(await streamFamilies())].map((family) => [family.name, family]));
}, 60_000);
afterAll(() => monitored.world.close());

async function change(name: string, status: object): Promise<void> {
  const vmi = await monitored.world.get(VirtualMachineInstanceKind, of(name));
  await monitored.world.client.update(VirtualMachineInstanceKind, { ...vmi, status: { ...vmi.status, ...status } });
  await monitored.world.settle();
}

/** One stream of each kind to a guest. */
async function streamFamilies(): Promise<readonly MetricFamily[]> {
  const stream = { connect: async () => ({ protocols: [], run: async () => {} }), methods: {}, discoverable: true };
  const api: AggregatedApi = {
    group: 'subresources.kubevirt.io',
    versions: ['v1'],
    routes: ['console', 'vnc', 'usbredir', 'portforward'].map((subresource) => ({
      ...stream,
      ...{ resource: 'virtualmachineinstances', namespaced: true, subresource },
    })),
  };
  const counts = countStreams(api, () => 5_000);
  for (const { connect } of counts.api.routes) {
    const request = { namespace: 'shop', name: 'web' } as RouteRequest; // what is counted by
    const acceptor = await connect?.(request);
    await acceptor?.run({} as MessageStream); // the stream above looks at nothing
  }
  return counts.metrics(() => true);
}

/** Transitions of the simulated node carry no times. */
const WITHOUT_SAMPLES = ['kubevirt_vmi_phase_transition_time_from_deletion_seconds'];

describe('metrics that KubeVirt, CDI, HCO, SSP and HPP document', () => {
  it.each(REFERENCE_METRICS)('%s is shown, or the page says why not', (name, type, labels) => {
    const family = shown.get(name);
    if (family === undefined) {
      expect([...EXPLAINED]).toContain(name);
      return;
    }
    expect([...EXPLAINED]).not.toContain(name);
    expect(family.type).toBe(TYPES[type]);
    if (WITHOUT_SAMPLES.includes(name)) return;
    const wanted = labels.split(' ').filter((label) => label !== '');
    expect(family.samples.some((sample) => wanted.every((label) => sample.labels?.[label] !== undefined))).toBe(true);
  });
});

describe('rules that they document', () => {
  let rules: readonly Rule[];
  beforeAll(async () => {
    const objects = await monitored.world.list(PrometheusRuleKind, 'openshift-cnv');
    rules = objects.flatMap(({ spec }) => spec?.groups ?? []).flatMap((group) => group.rules ?? []);
  });

  it.each(REFERENCE_RECORDINGS)('%s is recorded, or the page says why not', (name) => {
    const isRecorded = rules.some((rule) => 'record' in rule && rule.record === name);
    expect([isRecorded, EXPLAINED.has(name)]).toContain(true);
    expect(isRecorded && EXPLAINED.has(name)).toBe(false);
  });

  it.each(REFERENCE_ALERTS)('%s is an alert, or the page says why not', (name, levels, lasts) => {
    const found = rules.filter((rule): rule is AlertRule => 'alert' in rule && rule.alert === name);
    if (found.length === 0) {
      expect([...EXPLAINED]).toContain(name);
      return;
    }
    expect([...EXPLAINED]).not.toContain(name);
    expect(
      found.map(({ labels = {}, for: time = '' }) => [`${labels['severity']}/${labels['operator_health_impact']}`, time]),
    ).toContainEqual([levels, lasts]);
  });
});

const HCO = { namespace: 'openshift-cnv', name: HCO_NAME };
const CLAIM = {
  spec: { accessModes: ['ReadWriteOnce'], volumeMode: 'Block', resources: { requests: { storage: '1Gi' } } },
  status: { phase: 'Bound', capacity: { storage: '1Gi' } },
};
const VM = {
  metadata: { labels: { app: 'web' } },
  spec: {
    runStrategy: 'Always',
    template: {
      spec: {
        domain: {
          memory: { guest: '64Mi' },
          resources: { limits: { memory: '128Mi' } },
          devices: { interfaces: [{ name: 'default', masquerade: {} }] },
        },
        networks: [{ name: 'default', pod: {} }],
        volumes: [{ name: 'root', persistentVolumeClaim: { claimName: 'disk' } }],
      },
    },
  },
};
const SNAPSHOT = {
  spec: { source: { apiGroup: 'kubevirt.io', kind: 'VirtualMachine', name: 'web' } },
  status: { phase: 'Succeeded', readyToUse: true, creationTime: '2026-01-01T00:00:00Z' },
};
const CRON = {
  spec: { schedule: '', managedDataSource: 'debian', template: { spec: { source: { registry: { url: 'docker://x' } } } } },
};
const BOOT_IMAGES = { enableMultiArchBootImageImport: true, enableCommonBootImageImport: true };
const worker = (name: string) =>
  pod(`shop/${name}`, { spec: { containers: [{ name: 'importer', image: 'i', env: [{ name: 'OWNER_UID', value: 'u' }] }] } });
const migrationOf = (vmiName: string) => built(VirtualMachineInstanceMigrationKind, `shop/${vmiName}`, { spec: { vmiName } });
const STATS = {
  domain: {
    ...{ 'cpu.time': 1, 'cpu.user': 1, 'cpu.system': 1, 'balloon.rss': 1, 'balloon.available': 1, 'balloon.unused': 1 },
    ...{ 'balloon.usable': 1, 'balloon.disk_caches': 1, 'balloon.current': 1, 'balloon.maximum': 1, 'balloon.swap_in': 1 },
    ...{ 'balloon.swap_out': 1, 'balloon.major_fault': 1, 'balloon.minor_fault': 1, 'dirtyrate.megabytes_per_second': 1 },
    ...{ 'vcpu.0.state': 1, 'vcpu.0.time': 1, 'vcpu.0.wait': 1, 'vcpu.0.delay': 1, 'net.count': 1, 'block.count': 1 },
    ...Object.fromEntries(
      ['rx', 'tx'].flatMap((way) => ['bytes', 'pkts', 'errs', 'drop'].map((what) => [`net.0.${way}.${what}`, 1])),
    ),
    ...Object.fromEntries(
      ['rd.reqs', 'wr.reqs', 'rd.bytes', 'wr.bytes', 'rd.times', 'wr.times', 'fl.reqs', 'fl.times'].map((what) => [
        `block.0.${what}`,
        1,
      ]),
    ),
  },
  filesystems: [{ diskName: 'vda1', mountPoint: '/', fileSystemType: 'ext4', totalBytes: 2, usedBytes: 1 }],
  load: [1, 2, 3],
  job: { data_total: 4, data_processed: 1, data_remaining: 3, memory_dirty_rate: 1, memory_bps: 1 },
};
