import { PodDisruptionBudgetKind, PodKind } from '@slipway/api';
import { built, node, pod, type TestWorld, testWorld } from '@slipway/testkit';
import { afterEach, describe, expect, it } from 'vitest';
import { drainNode } from './drain-node.ts';

let world: TestWorld;
afterEach(() => world.close());

const labels = { app: 'db' };
const member = (name: string) =>
  pod(`a/${name}`, {
    metadata: { name, namespace: 'a', labels },
    // what ends at once: nobody is there to end it
    spec: { nodeName: 'box-1', terminationGracePeriodSeconds: 0 },
    status: { phase: 'Running', conditions: [{ type: 'Ready', status: 'True' }] },
  });
const budget = (disruptionsAllowed: number) =>
  built(PodDisruptionBudgetKind, 'a/db', {
    spec: { minAvailable: 1, selector: { matchLabels: labels } },
    status: { disruptionsAllowed, observedGeneration: 1, currentHealthy: 1, desiredHealthy: 1, expectedPods: 1 },
  });

/** Drains in steps: each wait lets `during` happen, and time pass. */
function drain(during: (round: number) => Promise<void> | void, signal = new AbortController().signal) {
  const said: string[] = [];
  let round = 0;
  const left = drainNode(
    {
      ...{ client: world.client, nodeName: 'box-1', say: (line: string) => void said.push(line), now: () => round * 5_000 },
      wait: async () => during(++round),
    },
    signal,
  );
  return left.then((remaining) => ({ remaining, said, rounds: round }));
}

describe('drain', () => {
  it('repeats what a budget refuses, and says it once', async () => {
    world = await testWorld({ controllers: [], api: 'server' }).with(node('box-1'), member('free'), member('kept'), budget(1));
    const { remaining, said } = await drain(async (round) => {
      if (round !== 3) return;
      const current = await world.get(PodDisruptionBudgetKind, 'a/db');
      const status = { ...current.status, disruptionsAllowed: 1 };
      await world.client.update(PodDisruptionBudgetKind, { ...current, status } as typeof current, { subresource: 'status' });
    });
    expect(remaining).toEqual([]);
    expect(await world.list(PodKind)).toEqual([]);
    const refusal = said.filter((line) => line.includes('disruption budget'));
    expect(refusal).toEqual([
      "pod a/kept: Cannot evict pod as it would violate the pod's disruption budget. The disruption budget db needs 1 healthy pods and has 1 currently",
    ]);
    expect(said.at(-1)).toBe('pod a/kept: left box-1');
  });

  it('ends when it is interrupted, with what is left and why', async () => {
    world = await testWorld({ controllers: [], api: 'server' }).with(node('box-1'), member('kept'), budget(0));
    const interrupted = new AbortController();
    const { remaining, rounds } = await drain((round) => {
      if (round === 2) interrupted.abort();
    }, interrupted.signal);
    expect(rounds).toBe(2);
    expect(remaining).toEqual([{ title: 'pod a/kept', why: expect.stringContaining("violate the pod's disruption budget") }]);
  });
});
