import { type Job, JobKind, type Pod, PodKind } from '@slipway/api';
import { keyOf } from '@slipway/apimachinery';
import { built, type TestWorld, testWorld } from '@slipway/testkit';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { garbageCollectorController } from '../garbage-collector/index.ts';
import { formatIndexes, parseIndexes } from './completion-indexes.ts';
import { jobController } from './index.ts';
import { jobPodReleaseController } from './release-pods.ts';

let world: TestWorld;
beforeEach(() => {
  world = testWorld({ api: 'server', controllers: [jobController, jobPodReleaseController] });
});
afterEach(() => world.close());

const job = (spec: object = {}) =>
  built(JobKind, 'a/work', {
    spec: { template: { spec: { restartPolicy: 'Never', containers: [{ name: 'c', image: 'x' }] } }, ...spec },
  });
const get = (): Promise<Job> => world.get(JobKind, 'a/work');
const pods = (): Promise<readonly Pod[]> => world.list(PodKind, 'a');
const active = async () => (await pods()).filter(({ status }) => status?.phase === 'Pending' || status?.phase === 'Running');
const conditions = async () =>
  ((await get()).status?.conditions ?? []).map(({ type, status, reason = '' }) => [type, status, reason]);

async function end(pod: Pod | undefined, phase: string): Promise<void> {
  if (pod === undefined) throw new Error('No pod');
  await world.client.patch(PodKind, keyOf(pod), { status: { phase } }, { type: 'merge', subresource: 'status' });
  await world.settle();
}

describe('Job', () => {
  it('runs as many pods at once as it may until enough have succeeded', async () => {
    await world.with(job({ completions: 3, parallelism: 2 }));
    await world.settle();
    expect((await get()).status).toMatchObject({ active: 2, ready: 0 });
    for (let round = 1; round <= 3; round++) {
      await end((await active())[0], 'Succeeded');
      expect((await get()).status?.succeeded).toBe(round);
    }
    expect(await pods()).toHaveLength(3);
    expect(await conditions()).toEqual([
      ['SuccessCriteriaMet', 'True', 'CompletionsReached'],
      ['Complete', 'True', 'CompletionsReached'],
    ]);
    expect((await get()).status?.completionTime).toBeDefined();
    expect((await get()).status?.active).toBeUndefined();
  });

  it('tries again with growing pauses, and fails at its limit', async () => {
    await world.with(job({ backoffLimit: 1 }));
    await world.settle();
    await end((await active())[0], 'Failed');
    expect(await active()).toEqual([]);
    await world.advance(11_000);
    expect(await active()).toHaveLength(1);
    await end((await active())[0], 'Failed');
    expect(await conditions()).toEqual([
      ['FailureTarget', 'True', 'BackoffLimitExceeded'],
      ['Failed', 'True', 'BackoffLimitExceeded'],
    ]);
    expect((await get()).status?.failed).toBe(2);
  });

  it('gives each completion its index', async () => {
    await world.with(job({ completionMode: 'Indexed', completions: 3, parallelism: 3 }));
    await world.settle();
    const all = await pods();
    expect(all.map(({ metadata }) => metadata.annotations?.['batch.kubernetes.io/job-completion-index'])).toEqual([
      '0',
      '1',
      '2',
    ]);
    expect(all[1]?.spec?.hostname).toBe('work-1');
    expect(all[1]?.spec?.containers[0]?.env?.[0]?.name).toBe('JOB_COMPLETION_INDEX');
    await end(all[0], 'Succeeded');
    await end(all[2], 'Succeeded');
    expect((await get()).status).toMatchObject({ completedIndexes: '0,2', succeeded: 2, active: 1 });
    await end(all[1], 'Succeeded');
    expect((await get()).status).toMatchObject({ completedIndexes: '0-2' });
    expect(await conditions()).toEqual([
      ['SuccessCriteriaMet', 'True', 'CompletionsReached'],
      ['Complete', 'True', 'CompletionsReached'],
    ]);
  });

  it('stops at its deadline', async () => {
    await world.with(job({ activeDeadlineSeconds: 30 }));
    await world.settle();
    await world.advance(31_000);
    expect(await conditions()).toEqual([
      ['FailureTarget', 'True', 'DeadlineExceeded'],
      ['Failed', 'True', 'DeadlineExceeded'],
    ]);
    expect(await pods()).toEqual([]);
  });

  it('can be suspended and resumed', async () => {
    await world.with(job({ suspend: true }));
    await world.settle();
    expect(await pods()).toEqual([]);
    expect(await conditions()).toEqual([['Suspended', 'True', 'JobSuspended']]);
    expect((await get()).status?.startTime).toBeUndefined();
    await world.client.patch(JobKind, { namespace: 'a', name: 'work' }, { spec: { suspend: false } }, { type: 'merge' });
    await world.settle();
    expect(await conditions()).toEqual([['Suspended', 'False', 'JobResumed']]);
    expect(await active()).toHaveLength(1);
  });

  it('stops its pods without counting them when it is suspended, and starts anew', async () => {
    await world.with(job({ completions: 2, parallelism: 2 }));
    await world.settle();
    const started = (await get()).status?.startTime;
    expect(started).toBeDefined();
    await world.client.patch(JobKind, { namespace: 'a', name: 'work' }, { spec: { suspend: true } }, { type: 'merge' });
    await world.settle();
    expect(await pods()).toEqual([]);
    expect((await get()).status?.failed).toBeUndefined();
    expect((await get()).status?.startTime).toBeUndefined();
    await world.advance(5_000);
    await world.client.patch(JobKind, { namespace: 'a', name: 'work' }, { spec: { suspend: false } }, { type: 'merge' });
    await world.settle();
    expect((await get()).status).toMatchObject({ active: 2, uncountedTerminatedPods: {} });
    expect((await get()).status?.startTime).not.toBe(started);
  });

  it('is removed some time after its end when that is asked for', async () => {
    await world.with(job({ ttlSecondsAfterFinished: 60 }));
    await world.settle();
    await end((await active())[0], 'Succeeded');
    await world.advance(59_000);
    expect(await get()).toBeDefined();
    await world.advance(2_000);
    // foreground: the garbage collector, which does not run here, would finish it
    expect((await get()).metadata.deletionTimestamp).toBeDefined();
  });
});

describe('pods of a Job', () => {
  const finalizers = async () => (await pods()).map(({ metadata }) => metadata.finalizers ?? []);
  const TRACKED = 'batch.kubernetes.io/job-tracking';

  it('are kept until their end is counted, and count once when they are deleted after it', async () => {
    await world.with(job({ completions: 3, parallelism: 1 }));
    await world.settle();
    expect(await finalizers()).toEqual([[TRACKED]]);
    for (let round = 1; round <= 3; round++) {
      const [pod] = await active();
      if (pod === undefined) throw new Error('No pod');
      await end(pod, 'Succeeded');
      await world.client.delete(PodKind, keyOf(pod));
      await world.settle();
      expect((await get()).status).toMatchObject({ succeeded: round, uncountedTerminatedPods: {} });
    }
    expect(await pods()).toEqual([]);
    expect((await get()).status?.failed).toBeUndefined();
  });

  it('count as failed when somebody deletes them while they run', async () => {
    await world.with(job());
    await world.settle();
    const [pod] = await active();
    if (pod === undefined) throw new Error('No pod');
    await world.client.delete(PodKind, keyOf(pod), { gracePeriodSeconds: 0 });
    await world.settle();
    expect((await get()).status).toMatchObject({ failed: 1, uncountedTerminatedPods: {} });
    expect((await pods()).map(({ metadata }) => metadata.name)).not.toContain(pod.metadata.name);
  });

  it('do not count when they are too many', async () => {
    await world.with(job({ completions: 4, parallelism: 3 }));
    await world.settle();
    await world.client.patch(JobKind, { namespace: 'a', name: 'work' }, { spec: { parallelism: 1 } }, { type: 'merge' });
    await world.settle();
    expect(await pods()).toHaveLength(1);
    expect((await get()).status).toMatchObject({ active: 1 });
    expect((await get()).status?.failed).toBeUndefined();
  });

  it.each(['Background', 'Orphan', 'Foreground'] as const)(
    'are let go when their Job is deleted (%s)',
    async (propagationPolicy) => {
      await world.with(job({ completions: 2, parallelism: 2 }));
      await world.settle();
      await world.client.delete(JobKind, { namespace: 'a', name: 'work' }, { propagationPolicy });
      await world.settle();
      expect(await finalizers()).toEqual([[], []]);
    },
  );

  it.each(['Background', 'Foreground'] as const)(
    'go with their Job where garbage is collected (%s)',
    async (propagationPolicy) => {
      await world.close();
      const collector = garbageCollectorController(() => Promise.resolve([PodKind, JobKind]));
      world = testWorld({ api: 'server', controllers: [jobController, jobPodReleaseController, collector] });
      await world.with(job({ completions: 2, parallelism: 2 }));
      await world.settle();
      await world.client.delete(JobKind, { namespace: 'a', name: 'work' }, { propagationPolicy });
      await world.settle();
      expect(await pods()).toEqual([]);
      expect(await world.list(JobKind, 'a')).toEqual([]);
    },
  );

  it("are let go when they are not the Job's any more", async () => {
    await world.with(job());
    await world.settle();
    const [pod] = await active();
    if (pod === undefined) throw new Error('No pod');
    const labels = Object.fromEntries(Object.keys(pod.metadata.labels ?? {}).map((label) => [label, null]));
    await world.client.patch(PodKind, keyOf(pod), { metadata: { labels } }, { type: 'merge' });
    await world.settle();
    const free = await world.get(PodKind, `a/${pod.metadata.name}`);
    expect(free.metadata.ownerReferences ?? []).toEqual([]);
    expect(free.metadata.finalizers ?? []).toEqual([]);
  });
});

describe('completion indexes', () => {
  it.each([
    [[], ''],
    [[3], '3'],
    [[0, 1], '0,1'],
    [[0, 1, 2, 5, 7, 8], '0-2,5,7,8'],
  ])('%j is %s', (numbers, text) => {
    expect(formatIndexes(new Set(numbers))).toBe(text);
    expect([...parseIndexes(text, 10)]).toEqual(numbers);
  });
});
