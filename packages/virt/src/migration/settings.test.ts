import type { kubevirt } from '@slipway/api';
import { describe, expect, it } from 'vitest';
import { matchingPolicy, migrationSettings } from './settings.ts';

const policy = (name: string, spec: object): kubevirt.MigrationPolicy => ({
  apiVersion: 'migrations.kubevirt.io/v1alpha1',
  kind: 'MigrationPolicy',
  metadata: { name },
  spec: { selectors: {}, ...spec },
});
const by = (name: string, virtualMachineInstanceSelector?: Record<string, string>, namespaceSelector?: Record<string, string>) =>
  policy(name, {
    selectors: {
      ...(virtualMachineInstanceSelector && { virtualMachineInstanceSelector }),
      ...(namespaceSelector && { namespaceSelector }),
    },
  });

describe('matchingPolicy', () => {
  const guest = { os: 'linux', size: 'big', app: 'db' };
  const space = { team: 'red', tier: 'gold' };

  it.each([
    ['none without selectors', [by('a')], undefined],
    ['none when one label differs', [by('a', { os: 'linux', size: 'small' })], undefined],
    ['none when the namespace differs', [by('a', { os: 'linux' }, { team: 'blue' })], undefined],
    ['by the namespace alone', [by('a', undefined, { team: 'red' })], 'a'],
    ['most labels together', [by('a', { os: 'linux' }), by('b', undefined, { team: 'red', tier: 'gold' })], 'b'],
    [
      'most labels of the instance when even',
      [by('a', { os: 'linux' }, { team: 'red' }), by('b', { os: 'linux', app: 'db' })],
      'b',
    ],
    ['the first by name when even in both', [by('z', { os: 'linux' }), by('m', { app: 'db' })], 'm'],
    ['whatever the order', [by('m', { app: 'db' }), by('z', { os: 'linux' })], 'm'],
  ])('takes %s', (_, policies, name) => {
    expect(matchingPolicy(policies, guest, space)?.metadata.name).toBe(name);
    expect(matchingPolicy(policies.toReversed(), guest, space)?.metadata.name).toBe(name);
  });
});

describe('migrationSettings', () => {
  it('has the defaults of KubeVirt', () => {
    expect(migrationSettings()).toEqual({
      ...{ parallelMigrationsPerCluster: 5, parallelOutboundMigrationsPerNode: 2, bandwidthPerMigration: '0' },
      ...{ completionTimeoutPerGiB: 150, progressTimeout: 150, maxDowntimeMs: 900, utilityVolumesTimeout: 150 },
      ...{ allowAutoConverge: false, allowPostCopy: false, allowWorkloadDisruption: false, unsafeMigrationOverride: false },
      ...{ disableTLS: false, nodeDrainTaintKey: 'kubevirt.io/drain', matchSELinuxLevelOnMigration: true },
    });
  });

  it.each([
    ['the cluster over defaults', { progressTimeout: 9 }, {}, { progressTimeout: 9 }],
    [
      'a policy over the cluster',
      { bandwidthPerMigration: '1Gi' },
      { bandwidthPerMigration: '64Mi' },
      { bandwidthPerMigration: '64Mi' },
    ],
    ['a false of a policy', { allowAutoConverge: true }, { allowAutoConverge: false }, { allowAutoConverge: false }],
    ['disruption with post-copy', { allowPostCopy: true }, {}, { allowWorkloadDisruption: true }],
    ['disruption with post-copy of a policy', {}, { allowPostCopy: true }, { allowWorkloadDisruption: true }],
    [
      'disruption as a policy says',
      {},
      { allowPostCopy: true, allowWorkloadDisruption: false },
      { allowWorkloadDisruption: false },
    ],
    [
      'no disruption when a policy takes post-copy away',
      { allowPostCopy: true },
      { allowPostCopy: false },
      { allowWorkloadDisruption: false },
    ],
  ])('takes %s', (_, cluster, spec, expected) => {
    expect(migrationSettings(cluster, policy('p', spec))).toMatchObject(expected);
  });
});
