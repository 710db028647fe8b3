import type { UnstructuredObject } from '@slipway/apimachinery';
import { describe, expect, it } from 'vitest';
import { grantEviction, planEviction } from './eviction-budget.ts';

const pod = (phase: string, ready = 'True'): UnstructuredObject => ({
  apiVersion: 'v1',
  kind: 'Pod',
  metadata: { name: 'p', namespace: 'a', labels: { app: 'web' } },
  status: { phase, conditions: [{ type: 'Ready', status: ready }] },
});

const budget = (status: object = {}, spec: object = {}, name = 'b'): UnstructuredObject => ({
  apiVersion: 'policy/v1',
  kind: 'PodDisruptionBudget',
  metadata: { name, namespace: 'a', generation: 2 },
  spec: { selector: { matchLabels: { app: 'web' } }, ...spec },
  status: { observedGeneration: 2, disruptionsAllowed: 1, currentHealthy: 2, desiredHealthy: 1, ...status },
});

describe('planEviction', () => {
  it.each<[string, UnstructuredObject, UnstructuredObject[], string]>([
    ['no budget', pod('Running'), [], 'delete'],
    ['a budget for others', pod('Running'), [budget({}, { selector: { matchLabels: { app: 'db' } } })], 'delete'],
    ['a pod that is over', pod('Failed'), [budget()], 'delete'],
    ['a pod that never ran', pod('Pending'), [budget()], 'delete'],
    ['a running pod', pod('Running'), [budget()], 'ask'],
    ['an unready pod while enough others are healthy', pod('Running', 'False'), [budget({ currentHealthy: 1 })], 'delete-as-is'],
    ['an unready pod while too few are healthy', pod('Running', 'False'), [budget({ currentHealthy: 0 })], 'ask'],
    ['an unready pod of a budget that wants none', pod('Running', 'False'), [budget({ desiredHealthy: 0 })], 'ask'],
    [
      'an unready pod that may always go',
      pod('Running', 'False'),
      [budget({ currentHealthy: 0 }, { unhealthyPodEvictionPolicy: 'AlwaysAllow' })],
      'delete-as-is',
    ],
  ])('%s', (_what, subject, budgets, wanted) => {
    expect(planEviction(subject, budgets).type).toBe(wanted);
  });

  it('cannot choose between budgets', () => {
    expect(() => planEviction(pod('Running'), [budget(), budget({}, {}, 'c')])).toThrow(/more than one/);
  });
});

describe('grantEviction', () => {
  it('takes one from the room and remembers the pod', () => {
    expect(grantEviction(budget({ disruptionsAllowed: 2 }), 'p', 0)['status']).toMatchObject({
      disruptionsAllowed: 1,
      disruptedPods: { p: '1970-01-01T00:00:00Z' },
    });
    expect(grantEviction(budget(), 'p', 0)['status']).toMatchObject({
      disruptionsAllowed: 0,
      conditions: [{ type: 'DisruptionAllowed', status: 'False', reason: 'InsufficientPods' }],
    });
  });

  const crowd = Object.fromEntries(Array.from({ length: 2001 }, (_, index) => [`p${index}`, '1970-01-01T00:00:00Z']));
  it.each<[string, object, object]>([
    ['has no room', { disruptionsAllowed: 0 }, { code: 429, status: { details: { causes: [{ reason: 'DisruptionBudget' }] } } }],
    [
      'was changed and not looked at yet',
      { observedGeneration: 1 },
      { code: 429, status: { details: { retryAfterSeconds: 10 } } },
    ],
    ['is less than empty', { disruptionsAllowed: -1 }, { code: 403 }],
    ['has granted too many', { disruptedPods: crowd }, { code: 403 }],
  ])('refuses when the budget %s', (_what, status, wanted) => {
    let refusal: unknown;
    try {
      grantEviction(budget(status), 'p', 0);
    } catch (error) {
      refusal = error;
    }
    expect(refusal).toMatchObject(wanted);
  });
});
