import { describe, expect, it } from 'vitest';
import { nextPace, type Pace, type PaceSample } from './connection-pace.ts';

const MiB = 1024 * 1024;
const slow: PaceSample = { bytes: 20 * MiB, elapsedMs: 2000, waitedMs: 1900, leftBytes: 1024 * MiB };

describe('nextPace', () => {
  const one: Pace = { connections: 1, isSettled: false };
  it.each<[string, Pace, Partial<PaceSample>, Pace]>([
    [
      'adds a connection while the network is what is waited for',
      one,
      {},
      { ...one, connections: 2, rateBefore: (10 * MiB) / 1000 },
    ],
    ['waits until there is something to judge by', one, { elapsedMs: 1999 }, one],
    ['leaves a link alone that is fast enough', one, { bytes: 1024 * MiB }, one],
    ['leaves a transfer alone that waits for its disk', one, { waitedMs: 500 }, one],
    ['adds none for the rest of a file', one, { leftBytes: 63 * MiB }, one],
    [
      'adds more while that pays',
      { connections: 2, isSettled: false, rateBefore: 6000 },
      {},
      { connections: 4, isSettled: false, rateBefore: (10 * MiB) / 1000 },
    ],
    [
      'goes back when it did not pay, for good',
      { connections: 2, isSettled: false, rateBefore: 10_000 },
      {},
      { connections: 1, isSettled: true },
    ],
    ['stays at the most', { connections: 4, isSettled: false, rateBefore: 6000 }, {}, { connections: 4, isSettled: true }],
    ['changes nothing any more once it is settled', { connections: 1, isSettled: true }, {}, { connections: 1, isSettled: true }],
  ])('%s', (_, pace, change, next) => {
    expect(nextPace(pace, { ...slow, ...change })).toEqual(next);
  });
});
