import { describe, expect, it } from 'vitest';
import type { TimerClock } from './clock.ts';
import { QueueMetrics } from './queue-metrics.ts';
import { WorkQueue } from './work-queue.ts';

function manualClock(): TimerClock & { advance(ms: number): void } {
  let now = 0;
  let timers: { due: number; callback: () => void }[] = [];
  return {
    now: () => now,
    setTimer(delayMs, callback) {
      const timer = { due: now + delayMs, callback };
      timers.push(timer);
      return () => {
        timers = timers.filter((other) => other !== timer);
      };
    },
    advance(ms) {
      now += ms;
      const due = timers.filter((timer) => timer.due <= now);
      timers = timers.filter((timer) => timer.due > now);
      for (const timer of due) timer.callback();
    },
  };
}

function queueWith(random = () => 0) {
  const clock = manualClock();
  return { clock, queue: new WorkQueue({ clock, random, backOff: { baseMs: 10, maxMs: 40, jitter: 0.5 } }) };
}

describe('WorkQueue', () => {
  it('hands out each waiting key once, in order', async () => {
    const { queue } = queueWith();
    for (const key of ['a', 'b', 'a']) queue.add(key);
    expect([await queue.take(), await queue.take()]).toEqual(['a', 'b']);
    expect(queue.isIdle).toBe(false);
    queue.done('a');
    queue.done('b');
    expect(queue.isIdle).toBe(true);
  });

  it('returns a key that was added while it was worked on', async () => {
    const { queue } = queueWith();
    queue.add('a');
    await queue.take();
    queue.add('a');
    queue.add('a');
    expect(queue.length).toBe(1);
    queue.done('a');
    expect(await queue.take()).toBe('a');
    queue.done('a');
    expect(queue.isIdle).toBe(true);
  });

  it('gives a key to a waiting worker at once', async () => {
    const { queue } = queueWith();
    const taken = queue.take();
    queue.add('a');
    expect(await taken).toBe('a');
  });

  it('keeps the earlier of two delayed adds', () => {
    const { queue, clock } = queueWith();
    queue.addAfter('a', 100);
    queue.addAfter('a', 50);
    queue.addAfter('a', 80);
    clock.advance(49);
    expect(queue.length).toBe(0);
    clock.advance(1);
    expect(queue.length).toBe(1);
  });

  it('doubles the back-off to its limit, takes jitter off, and starts again after forget', async () => {
    const { queue, clock } = queueWith(() => 0.5);
    const delays: number[] = [];
    const measure = async (): Promise<void> => {
      const before = clock.now();
      queue.addRateLimited('a');
      while (queue.length === 0) clock.advance(0.5);
      delays.push(clock.now() - before);
      await queue.take();
      queue.done('a');
    };
    for (let attempt = 0; attempt < 4; attempt++) await measure();
    queue.forget('a');
    await measure();
    expect(delays).toEqual([7.5, 15, 30, 30, 7.5]);
  });

  it('makes retries due when asked, but not delayed adds', () => {
    const { queue } = queueWith();
    queue.addRateLimited('retry');
    queue.addAfter('later', 1000);
    expect(queue.expediteRetries(5)).toBe(1);
    expect(queue.length).toBe(1);
  });

  it('releases its workers when shut down', async () => {
    const { queue } = queueWith();
    const taken = queue.take();
    queue.shutDown();
    expect(await taken).toBeUndefined();
    expect(await queue.take()).toBeUndefined();
  });
});

describe('the metrics of a queue', () => {
  it('count keys once while they wait, and measure waiting and work', async () => {
    const clock = manualClock();
    const metrics = new QueueMetrics('kubevirt_');
    const queue = new WorkQueue({ clock, random: () => 0, observer: metrics.observer('vm') });
    const values = () =>
      Object.fromEntries(
        metrics
          .families(clock.now())
          .flatMap(({ name, samples }) =>
            samples
              .filter(({ suffix }) => suffix !== '_bucket')
              .map(({ suffix = '', value }) => [`${name.replace('kubevirt_workqueue_', '')}${suffix}`, value]),
          ),
      );
    queue.add('a');
    queue.add('a');
    clock.advance(2_000);
    expect(values()).toMatchObject({ adds_total: 1, depth: 1 });
    await queue.take();
    queue.add('a');
    clock.advance(3_000);
    expect(values()).toMatchObject({ adds_total: 2, depth: 1, unfinished_work_seconds: 3, longest_running_processor_seconds: 3 });
    queue.addRateLimited('a');
    queue.done('a');
    expect(values()).toEqual({
      adds_total: 2,
      depth: 1,
      retries_total: 1,
      unfinished_work_seconds: 0,
      longest_running_processor_seconds: 0,
      queue_duration_seconds_sum: 2,
      queue_duration_seconds_count: 1,
      work_duration_seconds_sum: 3,
      work_duration_seconds_count: 1,
    });
    const [buckets] = metrics.families(clock.now()).filter(({ name }) => name === 'kubevirt_workqueue_work_duration_seconds');
    expect(buckets?.samples.slice(-4).map(({ labels, value }) => [labels?.['le'], value])).toEqual([
      ['10', 1],
      ['+Inf', 1],
      [undefined, 3],
      [undefined, 1],
    ]);
  });
});
