import { node, testWorld } from '@slipway/testkit';
import { expect, it } from 'vitest';
import { type ClusterFacts, clusterFacts } from './cluster-facts.ts';

it.each([
  ['1k', false],
  ['1000', false],
  ['0', true],
])('with %s devices for KVM on the only node, guests are emulated: %s', async (devices, expected) => {
  let facts: ClusterFacts | undefined;
  const world = testWorld({
    controllers: [
      {
        name: 'facts',
        create({ informers }) {
          facts = clusterFacts(informers, {});
          return {};
        },
      },
    ],
  });
  try {
    await world.with(node('node1', { status: { allocatable: { 'devices.kubevirt.io/kvm': devices } } }));
    await world.settle();
    expect(facts?.emulation()).toBe(expected);
  } finally {
    await world.close();
  }
});
