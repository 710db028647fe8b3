import type { kubevirt } from '@slipway/api';
import { pv, pvc, vmi } from '@slipway/testkit';
import { expect, it } from 'vitest';
import { movedVolumes } from './moved-claims.ts';

const onNode = (name: string) => ({
  required: {
    nodeSelectorTerms: [{ matchExpressions: [{ key: 'kubernetes.io/hostname', operator: 'In' as const, values: [name] }] }],
  },
});
const facts = {
  claim: (name: string) => pvc(`default/${name}`, { spec: { volumeName: `pv-${name}` } }).object,
  volume: (name: string) => pv(name, { spec: { nodeAffinity: onNode('a') } }).object,
};

it.each<[string, Partial<kubevirt.Volume>, string | undefined, boolean, string?]>([
  ['a claim', { persistentVolumeClaim: { claimName: 'data' } }, undefined, true],
  ['a DataVolume', { dataVolume: { name: 'data' } }, undefined, true],
  ['a claim that the guest reads', { persistentVolumeClaim: { claimName: 'data', readOnly: true } }, undefined, false],
  ['what lies below a throw-away disk', { ephemeral: { persistentVolumeClaim: { claimName: 'data' } } }, undefined, false],
  ['a plugged disk', { persistentVolumeClaim: { claimName: 'data', hotpluggable: true } }, 'Ready', true],
  ['a plugged disk whose next pod is on its way', { dataVolume: { name: 'data', hotpluggable: true } }, 'Bound', true],
  ['a disk that is being plugged', { dataVolume: { name: 'data', hotpluggable: true } }, 'AttachedToNode', false, ''],
  ['a memory dump', { memoryDump: { claimName: 'data', hotpluggable: true } }, 'MemoryVolumeMounted', false],
])('%s goes with its guest, or stays', (_, volume, phase, moves, target = 'sda') => {
  const guest = vmi('default/web', {
    spec: { volumes: [{ name: 'disk', ...volume }] },
    ...(phase && { status: { volumeStatus: [{ name: 'disk', target, phase }] } }),
  }).object;
  const moved = movedVolumes(guest, ['data'], { source: 'a', target: 'b' }, facts);
  expect(moved.map(({ spec }) => spec?.nodeAffinity)).toEqual(moves ? [onNode('b')] : []);
  expect(movedVolumes(guest, ['data'], { source: 'c', target: 'b' }, facts)).toEqual([]);
});
