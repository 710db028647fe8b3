import type { KubeObject, ResourceKind } from '@slipway/apimachinery';
import { node, type TestWorld } from '@slipway/testkit';
import { expect } from 'vitest';
import { type MonitoredOptions, type MonitoredWorld, monitoredWorld } from './monitored-world.ts';

export const MINUTE = 60_000;

export const healthyNode = (name: string) =>
  node(name, {
    metadata: { labels: { 'kubevirt.io/schedulable': 'true' } },
    status: { allocatable: { cpu: '4', memory: '8Gi', pods: '110', 'devices.kubevirt.io/kvm': '1000' } },
  });

/** A platform with a node that works and nothing that fires. */
export async function workingPlatform(options: MonitoredOptions = {}): Promise<MonitoredWorld> {
  const monitored = await monitoredWorld(options);
  await monitored.world.with(healthyNode('node1'));
  await monitored.world.settle();
  await monitored.evaluateAfter(MINUTE);
  expect(monitored.alerts()).toEqual([]);
  return monitored;
}

/** Waits as long as the alerts ask for; each of them fires then, and there are events about them. */
export async function expectFiring(monitored: MonitoredWorld, names: readonly string[], ms: number): Promise<void> {
  await monitored.evaluateAfter(ms);
  expect(monitored.firing()).toEqual(expect.arrayContaining([...names]));
  const events = await monitored.world.events();
  for (const name of names) expect(events.filter((event) => event.includes(` AlertFiring ${name}`))).not.toEqual([]);
}

export const patch = (
  world: TestWorld,
  kind: ResourceKind<KubeObject>,
  key: { namespace?: string; name: string },
  body: object,
) => world.client.patch(kind, { namespace: '', ...key }, body, { type: 'merge' });
