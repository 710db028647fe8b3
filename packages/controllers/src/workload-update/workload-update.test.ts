import type { kubevirt, VirtualMachineInstance, VirtualMachineInstanceMigration } from '@slipway/api';
import { migrationSettings } from '@slipway/virt';
import { describe, expect, it } from 'vitest';
import { planWorkloadUpdates, type WorkloadUpdateInput } from './plan-workload-updates.ts';

const NOW = Date.parse('2026-05-01T12:00:00Z');
const NEW = 'launcher:2';

const guest = (name: string, image = NEW, conditions: readonly string[] = [], labels = {}): VirtualMachineInstance => ({
  apiVersion: 'kubevirt.io/v1',
  kind: 'VirtualMachineInstance',
  metadata: { name, namespace: 'default', labels },
  spec: { domain: { devices: {} } },
  status: {
    phase: 'Running',
    launcherContainerImageVersion: image,
    conditions: conditions.map((type) => ({ type, status: 'True' })),
  },
});
const job = (vmiName: string, phase = 'Running', annotations = {}): VirtualMachineInstanceMigration => ({
  apiVersion: 'kubevirt.io/v1',
  kind: 'VirtualMachineInstanceMigration',
  metadata: { name: `of-${vmiName}`, namespace: 'default', annotations },
  spec: { vmiName },
  status: { phase, phaseTransitionTimestamps: [{ phase, phaseTransitionTimestamp: '2026-05-01T11:59:50Z' }] },
});
const OURS = { 'kubevirt.io/workloadUpdateMigration': '' };

function plan(strategy: kubevirt.KubeVirtWorkloadUpdateStrategy, more: Partial<WorkloadUpdateInput>): string[] {
  const input = { vmis: [], migrations: [], image: NEW, settings: migrationSettings(), lastEvictionMs: undefined, nowMs: NOW };
  const { labels, migrate, evict, abort, retryInMs } = planWorkloadUpdates({ ...input, strategy, ...more });
  return [
    ...labels.map(({ vmi, isOutdated }) => `${isOutdated ? 'label' : 'unlabel'} ${vmi.metadata.name}`),
    ...migrate.map(({ vmi, priority }) => `migrate ${vmi.metadata.name} ${priority}`),
    ...evict.map(({ metadata }) => `evict ${metadata.name}`),
    ...abort.map(({ metadata }) => `abort ${metadata.name}`),
    ...(retryInMs === undefined ? [] : [`again ${retryInMs}`]),
  ];
}

const LABELLED = { 'kubevirt.io/outdatedLauncherImage': '' };
const old = (name: string, conditions = ['LiveMigratable']) => guest(name, 'launcher:1', conditions, LABELLED);
const LIVE = { workloadUpdateMethods: ['LiveMigrate'] };
const EVICT = { workloadUpdateMethods: ['Evict'], batchEvictionSize: 1 };

describe('planWorkloadUpdates', () => {
  it.each<[string, kubevirt.KubeVirtWorkloadUpdateStrategy, Partial<WorkloadUpdateInput>, string[]]>([
    [
      'says which are old',
      {},
      { vmis: [guest('a'), guest('b', 'launcher:1'), guest('c', NEW, [], LABELLED)] },
      ['label b', 'unlabel c'],
    ],
    ['moves what is old', LIVE, { vmis: [old('a'), guest('b')] }, ['migrate a system-critical']],
    ['leaves what moves', LIVE, { vmis: [old('a')], migrations: [job('a')] }, []],
    [
      'moves what needs another pod',
      LIVE,
      { vmis: [guest('a', NEW, ['LiveMigratable', 'MigrationRequired'])] },
      ['migrate a user-triggered'],
    ],
    [
      'waits for a free place',
      LIVE,
      { vmis: [old('a')], migrations: ['v', 'w', 'x', 'y', 'z'].map((name) => job(name)) },
      ['again 5000'],
    ],
    ['waits after a failure', LIVE, { vmis: [old('a')], migrations: [job('a', 'Failed', OURS)] }, ['again 5000']],
    ['takes back what is not needed', LIVE, { vmis: [guest('a')], migrations: [job('a', 'Running', OURS)] }, ['abort of-a']],
    ['ends what is old, in batches', EVICT, { vmis: [old('a'), old('b')] }, ['evict a', 'again 60000']],
    [
      'waits between batches',
      { ...EVICT, batchEvictionInterval: '1m30s' as never },
      { vmis: [old('a')], lastEvictionMs: NOW - 30_000 },
      ['again 60000'],
    ],
    [
      'moves what can move and ends the rest',
      { workloadUpdateMethods: ['LiveMigrate', 'Evict'] },
      { vmis: [old('a'), old('b', [])] },
      ['migrate a system-critical', 'evict b', 'again 60000'],
    ],
  ])('%s', (_, strategy, more, expected) => expect(plan(strategy, more)).toEqual(expected));
});
