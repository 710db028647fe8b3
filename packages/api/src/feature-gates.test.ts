import { expect, it } from 'vitest';
import { featureGates, isFeatureEnabled } from './feature-gates.ts';

it.each([
  ['LiveMigration', { disabledFeatureGates: ['LiveMigration'] }, true],
  ['Snapshot', undefined, true],
  ['Snapshot', { disabledFeatureGates: ['Snapshot'] }, false],
  ['HostDisk', undefined, false],
  ['HostDisk', { featureGates: ['HostDisk'] }, true],
  ['HotplugVolumes', { featureGates: ['HotplugVolumes'] }, true],
  ['Passt', { featureGates: ['Passt'] }, false],
  ['NoSuchGate', { featureGates: ['NoSuchGate'] }, false],
] as const)('%s with %j is %s', (gate, settings, expected) => {
  expect(isFeatureEnabled(gate, settings)).toBe(expected);
});

it('knows each gate once', () => {
  expect(featureGates.size).toBeGreaterThan(80);
});
