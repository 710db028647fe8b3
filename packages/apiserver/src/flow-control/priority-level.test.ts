import { describe, expect, it } from 'vitest';
import { type Hall, PriorityLevel, type Seat } from './priority-level.ts';

interface World {
  readonly level: PriorityLevel;
  /** Runs what was put off, one turn. */
  readonly turn: () => Promise<void>;
  readonly expire: () => void;
}

function world(seats: number, { queueLength = 1000, spare = 0, seatsPerFlow = 100 } = {}): World {
  let tasks: (() => void)[] = [];
  const timers = new Set<() => void>();
  const hall: Hall = {
    inUse: 0,
    seats: seats + spare,
    seatsPerFlow,
    soon: (task) => tasks.push(task),
    after(_ms, task) {
      timers.add(task);
      return () => timers.delete(task);
    },
  };
  return {
    level: new PriorityLevel({ name: 'test', seats, queueLength }, hall),
    async turn() {
      const due = tasks;
      tasks = [];
      for (const task of due) task();
      await Promise.resolve();
    },
    expire: () => timers.forEach((task) => task()),
  };
}

const stay = (): void => undefined;
const enter = (level: PriorityLevel, flow: string, width = 1): Seat | Promise<Seat> => level.enter(flow, width, stay);

describe('PriorityLevel', () => {
  it('lets in at once what finds a seat', () => {
    const { level } = world(2);
    const seats = [enter(level, 'a'), enter(level, 'b')];
    expect(seats.some((seat) => seat instanceof Promise)).toBe(false);
    expect(enter(level, 'c')).toBeInstanceOf(Promise);
  });

  it('answers a client that asks now and then after a few requests of one that floods it', async () => {
    const { level, turn } = world(4);
    const served: string[] = [];
    const working: (() => void)[] = [];
    const request = async (flow: string): Promise<void> => {
      const seat = await enter(level, flow);
      working.push(() => {
        served.push(flow);
        seat.release();
      });
    };
    const flood = Array.from({ length: 1000 }, () => request('noisy'));
    for (let round = 0; round < 20; round += 1) {
      const before = served.length;
      const mine = request('controller');
      while (served.indexOf('controller', before) < 0) {
        await turn();
        working.shift()?.();
      }
      await mine;
      // those that had a seat when it came, and those that were let in before its turn
      expect(served.slice(before).filter((flow) => flow === 'noisy').length).toBeLessThanOrEqual(5);
    }
    expect(flood).toHaveLength(1000);
    expect(level.counters.waiting).toBeGreaterThan(900);
  });

  it('shares seats by the work that requests are', async () => {
    const { level, turn } = world(10);
    const held = await enter(level, 'first', 10);
    const order: string[] = [];
    const serve = async (flow: string, width: number): Promise<void> => {
      const seat = await enter(level, flow, width);
      order.push(flow);
      seat.release();
    };
    const all = [...Array.from({ length: 4 }, () => serve('wide', 10)), ...Array.from({ length: 20 }, () => serve('narrow', 1))];
    held.release();
    while (level.counters.waiting > 0) await turn();
    await Promise.all(all);
    const untilSecondWide = order.slice(0, order.indexOf('wide', order.indexOf('wide') + 1));
    expect(untilSecondWide.filter((flow) => flow === 'narrow').length).toBeGreaterThanOrEqual(9);
  });

  it('refuses what is too much: a full queue, a long wait, a client that has left', async () => {
    const { level, expire } = world(1, { queueLength: 2 });
    const seat = enter(level, 'a');
    const late = enter(level, 'a');
    let leave: () => void = stay;
    const gone = level.enter('a', 1, (how) => (leave = how));
    expect(() => enter(level, 'a')).toThrow(/too many requests/);
    leave();
    await expect(gone).rejects.toMatchObject({ code: 429 });
    expire();
    await expect(late).rejects.toMatchObject({ code: 429, status: { details: { retryAfterSeconds: 1 } } });
    expect(level.counters.waiting).toBe(0);
    expect([...level.counters.rejected]).toEqual([
      ['queue-full', 1],
      ['time-out', 1],
    ]);
    (await seat).release();
    expect(level.inUse).toBe(0);
  });

  it('goes beyond its seats while others leave theirs, but one flow never takes all', () => {
    const { level } = world(2, { spare: 8, seatsPerFlow: 5 });
    const taken = Array.from({ length: 6 }, () => enter(level, 'a'));
    expect(taken.filter((seat) => !(seat instanceof Promise))).toHaveLength(5);
    expect(enter(level, 'b')).not.toBeInstanceOf(Promise);
  });

  it('gives a seat back once', async () => {
    const { level } = world(1);
    const seat = await enter(level, 'a');
    seat.release();
    seat.release();
    expect(level.inUse).toBe(0);
  });
});
