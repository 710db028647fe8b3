import type { HostPathProvisioner } from '@slipway/api';
import { built, storageClass } from '@slipway/testkit';
import { HostPathProvisionerKind } from '@slipway/api';
import { describe, expect, it } from 'vitest';
import { isFor } from './node-pools.ts';
import { complaintAboutPool, declaredPools, poolOfClass } from './pool.ts';
import { isNews } from './pool-reporter.ts';

const hpp = (name: string, spec: HostPathProvisioner['spec'], createdAt = '2026-01-01T00:00:00Z'): HostPathProvisioner =>
  built(HostPathProvisionerKind, name, { metadata: { name, creationTimestamp: createdAt }, spec }).object;

describe('pools are declared', () => {
  it.each<[string, HostPathProvisioner[], string[]]>([
    ['by nobody', [], []],
    ['by their names', [hpp('a', { storagePools: [{ name: 'fast', path: '/srv/fast' }] })], ['fast=/srv/fast']],
    ['in the form before there were pools', [hpp('a', { pathConfig: { path: '/var/hpvolumes' } })], ['legacy=/var/hpvolumes']],
    [
      'twice: the older object counts',
      [
        hpp('a', { storagePools: [{ name: 'p', path: '/srv/new' }] }, '2026-02-01T00:00:00Z'),
        hpp('b', { storagePools: [{ name: 'p', path: '/srv/old' }] }, '2026-01-01T00:00:00Z'),
      ],
      ['p=/srv/old'],
    ],
    ['by an object without a spec', [hpp('a', undefined)], []],
  ])('%s', (_, provisioners, expected) => {
    expect(declaredPools(provisioners).map(({ name, path }) => `${name}=${path}`)).toEqual(expected);
  });

  it('for the nodes that the workload selects', () => {
    const onDisks = hpp('a', { workload: { nodeSelector: { disks: 'yes' } } });
    expect([isFor(onDisks, {}), isFor(onDisks, { disks: 'yes' }), isFor(hpp('b', {}), {})]).toEqual([false, true, true]);
  });
});

describe('the words of a pool', () => {
  it.each([
    ['fast', '/srv/fast', undefined],
    ['fast', '/var/hpvolumes', undefined],
    ['fast', '/mnt/disk-1/vms', undefined],
    ['../x', '/srv/fast', 'is no name for a pool'],
    ['a/b', '/srv/fast', 'is no name for a pool'],
    ['fast', 'srv/fast', 'is no path for a pool'],
    ['fast', '/srv/../etc/x', 'is no path for a pool'],
    ['fast', '/srv/a b', 'is no path for a pool'],
    ['fast', '/srv/a:b', 'is no path for a pool'],
    ['fast', '/etc/pool', 'belongs to the system'],
    ['fast', '/usr/local/pool', 'belongs to the system'],
    ['fast', '/run/vm/pool', 'belongs to the system'],
    ['fast', '/var', 'belongs to the system'],
    ['fast', '/', 'is no path for a pool'],
  ])('%s at %s', (name, path, complaint) => {
    const found = complaintAboutPool({ name, path });
    if (complaint === undefined) expect(found).toBeUndefined();
    else expect(found).toContain(complaint);
  });
});

describe('the pool of a class', () => {
  it.each<[string, Record<string, string>, string | undefined]>([
    ['local.slipway.dev', {}, undefined],
    ['local.slipway.dev', { pool: 'fast' }, 'fast'],
    ['local.slipway.dev', { storagePool: 'fast' }, undefined],
    ['kubevirt.io.hostpath-provisioner', { storagePool: 'fast' }, 'fast'],
    ['kubevirt.io.hostpath-provisioner', {}, 'legacy'],
    ['kubevirt.io/hostpath-provisioner', {}, 'legacy'],
  ])('of %s with %o is %s', (provisioner, parameters, pool) => {
    expect(poolOfClass({ ...storageClass('c').object, provisioner, parameters })).toBe(pool);
  });
});

describe('a report is news', () => {
  const report = {
    ...{ name: 'a', path: '/srv/a', totalBytes: 1000, freeBytes: 500, promisedBytes: 10, usedBytes: 5 },
    ...{ volumes: 1, isSharedWithSystem: false },
  };
  it.each([
    ['nothing', {}, false],
    ['a little was written', { freeBytes: 495, usedBytes: 10 }, false],
    ['much was written', { freeBytes: 300 }, true],
    ['a claim came', { promisedBytes: 20 }, true],
    ['it is gone', { problem: 'gone' }, true],
  ])('when %s', (_, change, expected) => {
    expect(isNews([report], [{ ...report, ...change }])).toBe(expected);
  });
});
