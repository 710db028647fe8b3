import { describe, expect, it } from 'vitest';
import { parseSchedule } from './schedule.ts';

const START = Date.parse('2026-01-01T00:00:00Z');

describe('a schedule', () => {
  it.each([
    ['30 3 * * *', undefined, ['01T03:30', '02T03:30']],
    ['25 0/12 * * *', undefined, ['01T00:25', '01T12:25', '02T00:25']],
    ['5/25 4 * * *', undefined, ['01T04:05', '01T04:30', '01T04:55', '02T04:05']],
    ['0 */8 * * *', undefined, ['01T08:00', '01T16:00', '02T00:00']],
    ['@midnight', undefined, ['02T00:00']],
    ['@every 90m', undefined, ['01T01:30', '01T03:00']],
    ['TZ=Europe/Berlin 0 12 * * *', undefined, ['01T11:00']],
    ['0 12 * * *', 'America/New_York', ['01T17:00']],
  ])('%s in %s', (text, timeZone, expected) => {
    const schedule = parseSchedule(text, timeZone);
    const times: string[] = [];
    for (let next = schedule.next(START); next !== undefined && times.length < expected.length; next = schedule.next(next))
      times.push(new Date(next).toISOString().slice('2026-01-'.length, '2026-01-01T00:00'.length));
    expect(times).toEqual(expected);
  });

  it.each(['', 'often', '99 * * * *', '0/0 * * * *'])('"%s" is none', (text) => {
    expect(() => parseSchedule(text, undefined)).toThrow();
  });
});
