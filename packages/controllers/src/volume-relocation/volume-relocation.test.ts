import { MOVED_TO, PersistentVolumeKind } from '@slipway/api';
import { pv, type TestWorld, testWorld } from '@slipway/testkit';
import { afterEach, expect, it } from 'vitest';
import { affinityTo, volumeRelocationController } from './index.ts';

let world: TestWorld;
afterEach(() => world.close());

it.each([
  ['local.slipway.dev', 'node2', 'node2'],
  ['local.slipway.dev', undefined, 'node1'],
  ['somebody.else', 'node2', 'node1'],
])('a volume of %s with its content on %s is one of %s', async (provisioner, movedTo, expected) => {
  world = testWorld({ api: 'server', controllers: [volumeRelocationController] });
  const annotations = { 'pv.kubernetes.io/provisioned-by': provisioner, ...(movedTo && { [MOVED_TO]: movedTo }) };
  await world.with(pv('v', { metadata: { annotations }, spec: { nodeAffinity: affinityTo('node1') } }));
  await world.settle();
  const { spec, metadata } = await world.get(PersistentVolumeKind, 'v');
  expect(spec?.nodeAffinity).toEqual(affinityTo(expected));
  expect(metadata.annotations?.[MOVED_TO]).toBe(expected === 'node2' ? undefined : movedTo);
});
