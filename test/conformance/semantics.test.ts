// The semantics that clients rely on, told as requests and answers over HTTPS.
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { admissionCases } from './cases/admission.ts';
import { customResourceCases } from './cases/custom-resources.ts';
import { readCases } from './cases/reads.ts';
import { validationCases } from './cases/validation.ts';
import { webhookCases } from './cases/webhooks.ts';
import { writeCases } from './cases/writes.ts';
import { runCase } from './replayer/run-case.ts';
import { type World, startWorld } from './replayer/world.ts';

let world: World;
let count = 0;

beforeAll(async () => {
  world = await startWorld();
}, 60_000);
afterAll(() => world.close());

describe.each([
  ['writes', writeCases],
  ['reads', readCases],
  ['admission and controllers', admissionCases],
  ['validation of built-in kinds', validationCases],
  ['webhooks', webhookCases],
  ['custom resources', customResourceCases],
] as const)('%s', (_area, cases) => {
  it.each(cases.map((one) => [one.name, one] as const))('%s', async (_name, one) => {
    expect(await runCase(world, one, `story-${++count}`)).toEqual([]);
  });
});
