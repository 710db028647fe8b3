import { CronJobKind, type Job, JobKind } from '@slipway/api';
import { keyOf } from '@slipway/apimachinery';
import { latestDue, parseSchedule } from '@slipway/runtime';
import { built, type TestWorld, testWorld } from '@slipway/testkit';
import { afterEach, describe, expect, it } from 'vitest';
import { cronJobController } from './index.ts';

let world: TestWorld | undefined;
afterEach(() => world?.close());

const at = (text: string): number => Date.parse(`2026-03-01T${text}Z`);
const MINUTE = 60_000;

describe('schedules', () => {
  it.each([
    ['*/5 * * * *', undefined, '00:02:00', '00:05:00'],
    ['@hourly', undefined, '00:02:00', '01:00:00'],
    ['@every 90s', undefined, '00:02:00', '00:03:30'],
    ['30 6 * * *', 'Europe/Madrid', '00:00:00', '05:30:00'],
    ['TZ=Europe/Madrid 30 6 * * *', undefined, '00:00:00', '05:30:00'],
  ])('%s %s after %s is %s', (text, zone, after, next) => {
    expect(parseSchedule(text, zone).next(at(after))).toBe(at(next));
  });

  it('find the latest time that is due, also after a long absence', () => {
    const schedule = parseSchedule('* * * * *', undefined);
    expect(latestDue(schedule, at('00:00:00'), at('00:00:59'))).toEqual({ dueMs: undefined, missed: 0 });
    expect(latestDue(schedule, at('00:00:00'), at('00:03:10'))).toEqual({ dueMs: at('00:03:00'), missed: 3 });
    expect(latestDue(schedule, at('00:00:00'), at('23:59:30'))).toEqual({ dueMs: at('23:59:00'), missed: 100 });
  });
});

const cronJob = (spec: object = {}) =>
  built(CronJobKind, 'a/tick', {
    spec: {
      schedule: '*/10 * * * *',
      jobTemplate: {
        metadata: { labels: { of: 'tick' } },
        spec: { template: { spec: { restartPolicy: 'Never', containers: [{ name: 'c', image: 'x' }] } } },
      },
      ...spec,
    },
  });

async function start(spec: object = {}): Promise<{ jobs: () => Promise<readonly Job[]>; world: TestWorld }> {
  world = await testWorld({ api: 'server', controllers: [cronJobController] }).with(cronJob(spec));
  const made = world;
  await made.settle();
  return { world: made, jobs: () => made.list(JobKind, 'a') };
}

async function finish(job: Job | undefined, type: string): Promise<void> {
  if (job === undefined || world === undefined) throw new Error('No job');
  const now = new Date(world.clock.now()).toISOString().replace(/\.\d+/, '');
  const status = { completionTime: now, conditions: [{ type, status: 'True', lastTransitionTime: now }] };
  await world.client.patch(JobKind, keyOf(job), { status }, { type: 'merge', subresource: 'status' });
  await world.settle();
}

describe('CronJob', () => {
  it('starts a Job each time it is due, named after the time', async () => {
    const { world, jobs } = await start();
    expect(await jobs()).toEqual([]);
    await world.advance(10 * MINUTE);
    const [first] = await jobs();
    expect(first?.metadata.labels?.['of']).toBe('tick');
    expect(first?.metadata.ownerReferences?.[0]).toMatchObject({ kind: 'CronJob', name: 'tick', controller: true });
    const { status } = await world.get(CronJobKind, 'a/tick');
    expect(status?.active?.map(({ name }) => name)).toEqual([first?.metadata.name]);
    expect(first?.metadata.name).toBe(`tick-${Date.parse(String(status?.lastScheduleTime)) / MINUTE}`);
    await finish(first, 'Complete');
    expect((await world.get(CronJobKind, 'a/tick')).status).toMatchObject({ lastSuccessfulTime: expect.any(String) });
    expect((await world.get(CronJobKind, 'a/tick')).status?.active).toBeUndefined();
    await world.advance(10 * MINUTE);
    expect(await jobs()).toHaveLength(2);
  });

  it.each([
    ['Allow', 2],
    ['Forbid', 1],
    ['Replace', 1],
  ])('%s: %i Jobs while the first still runs', async (concurrencyPolicy, count) => {
    const { world, jobs } = await start({ concurrencyPolicy });
    await world.advance(10 * MINUTE);
    const [first] = await jobs();
    await world.advance(10 * MINUTE);
    const now = await jobs();
    expect(now).toHaveLength(count);
    expect(now.some(({ metadata }) => metadata.uid === first?.metadata.uid)).toBe(concurrencyPolicy !== 'Replace');
  });

  it('starts nothing while suspended, and keeps as many ended Jobs as it is asked to', async () => {
    const { world, jobs } = await start({ successfulJobsHistoryLimit: 1 });
    for (let round = 0; round < 3; round++) {
      await world.advance(10 * MINUTE);
      await finish(
        (await jobs()).find(({ status }) => !status?.conditions),
        'Complete',
      );
    }
    expect(await jobs()).toHaveLength(1);
    await world.client.patch(CronJobKind, { namespace: 'a', name: 'tick' }, { spec: { suspend: true } }, { type: 'merge' });
    await world.settle();
    await world.advance(30 * MINUTE);
    expect(await jobs()).toHaveLength(1);
  });
});
