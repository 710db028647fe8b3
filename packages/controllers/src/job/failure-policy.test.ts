import { type Job, JobKind, PodKind } from '@slipway/api';
import { keyOf } from '@slipway/apimachinery';
import { built, testWorld } from '@slipway/testkit';
import { describe, expect, it } from 'vitest';
import { failureVerdict } from './failure-policy.ts';
import { jobController } from './index.ts';
import { jobPodReleaseController } from './release-pods.ts';

const exited = (exitCode: number, name = 'main') => ({
  phase: 'Failed',
  containerStatuses: [{ name, image: 'x', imageID: '', ready: false, restartCount: 0, state: { terminated: { exitCode } } }],
});
const disrupted = { phase: 'Failed', conditions: [{ type: 'DisruptionTarget', status: 'True' }] };

const rules = [
  { action: 'Ignore', onPodConditions: [{ type: 'DisruptionTarget', status: 'True' }] },
  { action: 'FailJob', onExitCodes: { containerName: 'main', operator: 'In', values: [42, 43] } },
  { action: 'Count', onExitCodes: { containerName: 'side', operator: 'NotIn', values: [1] } },
];

describe('failureVerdict', () => {
  it.each([
    [
      'a code that is listed',
      exited(42),
      'FailJob',
      'Container main for pod a/p failed with exit code 42 matching FailJob rule at index 1',
    ],
    ['a code that is not', exited(1), undefined, undefined],
    ['a listed code of another container', exited(42, 'other'), undefined, undefined],
    ['a code that is not excluded', exited(2, 'side'), 'Count', undefined],
    ['a code that is excluded', exited(1, 'side'), undefined, undefined],
    ['success, which no rule means', exited(0, 'side'), undefined, undefined],
    ['a condition', disrupted, 'Ignore', 'Pod a/p has condition DisruptionTarget matching Ignore rule at index 0'],
    ['the first of two rules', { ...exited(42), ...disrupted }, 'Ignore', undefined],
    [
      'a condition that is not true',
      { ...disrupted, conditions: [{ type: 'DisruptionTarget', status: 'False' }] },
      undefined,
      undefined,
    ],
  ])('finds the rule for %s', (_what, status, action, message) => {
    const verdict = failureVerdict({ rules }, { apiVersion: 'v1', kind: 'Pod', metadata: { namespace: 'a', name: 'p' }, status });
    expect(verdict?.action).toBe(action);
    if (message !== undefined) expect(verdict?.message).toBe(message);
  });
});

describe('Job with a failure policy', () => {
  const run = async (status: object): Promise<{ job: Job; pods: number }> => {
    const world = testWorld({ api: 'server', controllers: [jobController, jobPodReleaseController] });
    try {
      const template = { spec: { restartPolicy: 'Never', containers: [{ name: 'main', image: 'x' }] } };
      await world.with(built(JobKind, 'a/work', { spec: { template, backoffLimit: 0, podFailurePolicy: { rules } } }));
      await world.settle();
      const [first] = await world.list(PodKind, 'a');
      if (first === undefined) throw new Error('No pod');
      await world.client.patch(PodKind, keyOf(first), { status }, { type: 'merge', subresource: 'status' });
      await world.settle();
      return { job: await world.get(JobKind, 'a/work'), pods: (await world.list(PodKind, 'a')).length };
    } finally {
      await world.close();
    }
  };
  const reasons = ({ status }: Job) => (status?.conditions ?? []).map(({ type, reason }) => [type, reason]);

  it('fails at once where a rule says so', async () => {
    const { job, pods } = await run(exited(42));
    expect(reasons(job)).toEqual([
      ['FailureTarget', 'PodFailurePolicy'],
      ['Failed', 'PodFailurePolicy'],
    ]);
    expect(job.status).toMatchObject({ failed: 1, uncountedTerminatedPods: {} });
    expect(pods).toBe(1);
  });

  it('does not count what a rule ignores', async () => {
    const { job, pods } = await run(disrupted);
    expect(reasons(job)).toEqual([]);
    expect(job.status).toMatchObject({ active: 1 });
    expect(job.status?.failed).toBeUndefined();
    expect(pods).toBe(2);
  });

  it('waits for the end of a pod that is deleted, and not for one that nobody runs any more', async () => {
    const world = testWorld({ api: 'server', controllers: [jobController, jobPodReleaseController] });
    try {
      const template = { spec: { nodeName: 'n', restartPolicy: 'Never', containers: [{ name: 'main', image: 'x' }] } };
      await world.with(built(JobKind, 'a/work', { spec: { template, podFailurePolicy: { rules } } }));
      await world.settle();
      const [first] = await world.list(PodKind, 'a');
      if (first === undefined) throw new Error('No pod');
      await world.client.delete(PodKind, keyOf(first));
      await world.settle();
      expect((await world.list(PodKind, 'a')).map(({ metadata }) => metadata.name)).toEqual([first.metadata.name]);
      await world.client.delete(PodKind, keyOf(first), { gracePeriodSeconds: 0 });
      await world.settle();
      expect((await world.list(PodKind, 'a')).map(({ metadata }) => metadata.name)).not.toContain(first.metadata.name);
      expect((await world.get(JobKind, 'a/work')).status).toMatchObject({ failed: 1 });
    } finally {
      await world.close();
    }
  });

  it('counts what no rule matches', async () => {
    const { job } = await run(exited(1));
    expect(reasons(job)[1]).toEqual(['Failed', 'BackoffLimitExceeded']);
  });
});
