import { describe, expect, it } from 'vitest';
import { planStrategy, type StrategyFacts } from './clone-strategy.ts';

const GIB = 1024 ** 3;
const side = { driver: 'local.slipway.dev', volumeMode: 'Filesystem', sizeBytes: GIB };
const facts: StrategyFacts = {
  isSnapshot: false,
  source: side,
  target: { ...side, canExpand: true, canPopulate: true },
  advised: 'csi-clone',
  snapshotClass: 'local',
};

describe('the strategy of a clone', () => {
  it.each<[string, Partial<StrategyFacts>, string, string?]>([
    ['is what the profile advises', {}, 'csi-clone'],
    ['is a snapshot when nobody advises anything', { advised: undefined }, 'snapshot'],
    ['is what the CDI object says before that', { override: 'copy' }, 'copy'],
    ['is what the author asks for before anything else', { override: 'copy', requested: 'snapshot' }, 'snapshot'],
    ['is not what nobody knows', { requested: 'teleport' }, 'csi-clone'],
    ['of a snapshot is to restore it', { isSnapshot: true }, 'snapshot'],
    ['of a snapshot may be a copy', { isSnapshot: true, override: 'copy' }, 'copy'],
    ['of a snapshot needs no class for snapshots', { isSnapshot: true, snapshotClass: undefined }, 'snapshot'],
    ['without a class for snapshots', { advised: 'snapshot', snapshotClass: undefined }, 'copy', 'NoVolumeSnapshotClass'],
    ['to another driver', { source: { ...side, driver: 'example.com/nfs' } }, 'copy', 'IncompatibleProvisioners'],
    ['of a foreign snapshot', { isSnapshot: true, source: { ...side, driver: 'x' } }, 'copy', 'NoProvisionerMatch'],
    ['to another volume mode', { source: { ...side, volumeMode: 'Block' } }, 'copy', 'IncompatibleVolumeModes'],
    [
      'to a larger claim that cannot grow',
      { target: { ...facts.target, sizeBytes: 2 * GIB, canExpand: false } },
      'copy',
      'NoVolumeExpansion',
    ],
    ['to a larger claim', { target: { ...facts.target, sizeBytes: 2 * GIB } }, 'csi-clone'],
    ['to a class that takes no source', { target: { ...facts.target, canPopulate: false } }, 'copy', 'NoPopulator'],
    ['that is a copy anyway has no reason', { advised: 'copy', source: { ...side, driver: 'x' } }, 'copy'],
  ])('%s', (_, rest, strategy, reason) => {
    const plan = planStrategy({ ...facts, ...rest });
    expect([plan.strategy, plan.fallback?.reason]).toEqual([strategy, reason]);
  });
});
