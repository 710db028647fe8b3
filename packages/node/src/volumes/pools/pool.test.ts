import { type HostPathProvisioner, HostPathProvisionerKind, type PersistentVolume, PersistentVolumeKind } from '@slipway/api';
import { built, pvc, storageClass } from '@slipway/testkit';
import { describe, expect, it } from 'vitest';
import { isFor } from './node-pools.ts';
import { volumeFor } from '../provision-plan.ts';
import { complaintAboutRoom, PoolRoom } from './pool-room.ts';
import { complaintAboutPool, declaredPools, poolOfClass } from './pool.ts';
import { isNews, isUsageNews } from './pool-reporter.ts';

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

describe('room in a pool of 100 with 90 promised', () => {
  it.each<[string, number, number | undefined, string | undefined]>([
    ['is thin', 80, undefined, undefined],
    ['is not for one that is larger than all', 101, undefined, 'request less'],
    ['is counted when the class says so', 11, 1, 'allows 1 times what there is'],
    ['is all given away', 10, 1, undefined],
    ['is promised one and a half times', 60, 1.5, undefined],
    ['is promised not more often', 61, 1.5, 'raise parameter overcommit'],
  ])('%s', (_, sizeBytes, overcommit, complaint) => {
    const limit = overcommit !== undefined && { overcommit };
    const found = complaintAboutRoom({ pool: 'fast', sizeBytes, totalBytes: 100, promisedBytes: 90, ...limit });
    if (complaint === undefined) expect(found).toBeUndefined();
    else expect(found).toContain(complaint);
  });

  const volumeOf = (claimUid: string, sizeBytes: number): PersistentVolume => {
    const facts = { nodeName: 'node1', provisioner: 'local.slipway.dev', reclaimPolicy: 'Delete', sizeBytes };
    const volume = volumeFor(pvc('a/x').object, { ...facts, directory: `/pool/volumes/${claimUid}` });
    return { ...volume, spec: { ...volume.spec, capacity: { storage: String(sizeBytes) } } };
  };

  it('is not promised twice before the first volume is seen, and is free again with its claim', async () => {
    const volumes = [volumeOf('old', 50)];
    const claims = new Set(['one', 'two']);
    const room = new PoolRoom({
      nodeName: 'node1',
      pools: { space: () => Promise.resolve({ totalBytes: 100, freeBytes: 100 }), poolOf: () => undefined },
      volumes: () => volumes,
      isClaimed: (uid) => claims.has(uid),
    });
    await room.promise('one', undefined, 30, 1);
    await room.promise('one', undefined, 30, 1); // tried again
    await expect(room.promise('two', undefined, 30, 1)).rejects.toThrow('has 100 in all, other claims were promised 80');
    volumes.push(volumeOf('one', 30));
    await expect(room.promise('two', undefined, 30, 1)).rejects.toThrow('has 100 in all, other claims were promised 80');
    await room.promise('two', undefined, 20, 1);
    claims.delete('two');
    await room.promise('one', undefined, 50, 1); // it grows
  });
});

describe('what a volume of 10Gi takes is news', () => {
  const volume = (used: string | undefined) =>
    built(PersistentVolumeKind, 'v', {
      metadata: { name: 'v', ...(used !== undefined && { annotations: { 'slipway.dev/used': used } }) },
      spec: { capacity: { storage: '10Gi' } },
    }).object;
  it.each([
    [undefined, 1, false],
    [undefined, 200 * 1024 ** 2, true],
    ['1Gi', 1024 ** 3 + 50 * 1024 ** 2, false],
    ['1Gi', 2 * 1024 ** 3, true],
    ['1Gi', 0, true],
  ])('after %s it takes %i: %s', (before, now, expected) => {
    expect(isUsageNews(volume(before), now)).toBe(expected);
  });
});
