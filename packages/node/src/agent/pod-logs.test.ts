import { expect, it } from 'vitest';
import { cutLog } from './pod-logs.ts';

const log = Buffer.from('one\ntwo\nthree\n');

it.each([
  [{}, 'one\ntwo\nthree\n'],
  [{ tailLines: 0 }, ''],
  [{ tailLines: 1 }, 'three\n'],
  [{ tailLines: 2 }, 'two\nthree\n'],
  [{ tailLines: 9 }, 'one\ntwo\nthree\n'],
  [{ limitBytes: 5 }, 'one\nt'],
  [{ tailLines: 2, limitBytes: 3 }, 'two'],
])('cuts a log by %j', (options, expected) => {
  expect(cutLog(log, options).toString()).toBe(expected);
});

it('counts a last line without its end', () => {
  expect(cutLog(Buffer.from('one\nlogin: '), { tailLines: 1 }).toString()).toBe('login: ');
});
