import { cdiControllers, cdiPrometheusRule } from '@slipway/cdi';
import { controllers } from '@slipway/controllers';
import {
  alerting,
  convertHyperConverged,
  type ListedAlert,
  operators,
  type TemplateValidator,
  templateValidator,
} from '@slipway/operators';
import type { ControllerRegistration, MetricFamily, MetricFilter } from '@slipway/runtime';
import { type TestWorld, testWorld } from '@slipway/testkit';
import { vi } from 'vitest';
import { clientPartOf } from '../../server/client-parts.ts';

/** Two rounds of the evaluation: the first sees a condition, the second that it has lasted. */
const ROUND_MS = 60_000;
/** Nodes of a test have no agents that report, and failed pods are what one test is about. */
const LEFT_OUT = [
  'default-scheduler',
  'node-lifecycle-controller',
  'pod-garbage-collector',
  'taint-eviction-controller',
  'fencing-controller',
];

const REGISTRATIONS = [...controllers, ...cdiControllers, ...operators];

/** The platform in this process: its API, its controllers, its metrics, and its alerts, whose time stands still. */
export interface MonitoredWorld {
  readonly world: TestWorld;
  readonly families: (wanted?: MetricFilter) => Promise<readonly MetricFamily[]>;
  firing(): readonly string[];
  alerts(): readonly ListedAlert[];
  /** Lets a condition that holds now be seen, and lets time pass after that. */
  evaluateAfter(ms: number): Promise<void>;
}

export interface MonitoredOptions {
  readonly more?: readonly ControllerRegistration[];
  /** Controllers that are not to run, so that what they would mend stays; `template-validator` is not one, and left out too. */
  readonly without?: readonly string[];
}

export async function monitoredWorld({ more = [], without = [] }: MonitoredOptions = {}): Promise<MonitoredWorld> {
  let validator: TemplateValidator | undefined;
  const late: { world?: TestWorld } = {};
  const families = async (wanted?: MetricFilter): Promise<readonly MetricFamily[]> => [
    ...((await late.world?.metrics(wanted)) ?? []),
    ...(validator?.metrics() ?? []),
  ];
  const { registration, alerts, evaluatedAtMs } = alerting({
    families,
    rules: (namespace) => [cdiPrometheusRule(namespace)],
  });
  const world = testWorld({
    api: 'server',
    controllers: [...REGISTRATIONS.filter(({ name }) => ![...LEFT_OUT, ...without].includes(name)), ...more, registration],
    fieldConverters: new Map([['hco.kubevirt.io/HyperConverged', convertHyperConverged]]),
    clientParts: clientPartOf,
    admission(client) {
      if (without.includes('template-validator')) return [];
      validator = templateValidator({ client });
      return [validator.handler];
    },
  });
  late.world = world;
  await world.settle();
  return {
    world,
    families,
    alerts,
    firing: () => alerts().flatMap(({ labels, state }) => (state === 'firing' ? [labels['alertname'] ?? ''] : [])),
    async evaluateAfter(ms) {
      await world.settle();
      await evaluate(world, evaluatedAtMs, ROUND_MS);
      await evaluate(world, evaluatedAtMs, Math.max(ms, ROUND_MS));
    },
  };
}

/** Moves time by at least so much, until the rules were evaluated at the new time. */
async function evaluate(world: TestWorld, evaluatedAtMs: () => number | undefined, ms: number): Promise<void> {
  await world.advance(ms);
  await vi.waitFor(
    () => {
      if (evaluatedAtMs() === world.clock.now()) return;
      throw new Error('The rules were not evaluated');
    },
    { timeout: 15_000, interval: 5 },
  );
  await world.settle();
}
