import { type Duplex, PassThrough } from 'node:stream';
import { buffer } from 'node:stream/consumers';
import type { Pod } from '@slipway/api';
import type { NodeHandlers } from '@slipway/runtime';
import { fakeClock } from '@slipway/testkit';
import { expect, it } from 'vitest';
import { cutLog, selectLog, withPodLogs } from './pod-logs.ts';

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

const START = Date.parse('2026-01-01T00:00:00Z');
const timed = {
  text: Buffer.from('boot\nkernel\nlogin: '),
  marks: [
    { offset: 0, timeMs: START },
    { offset: 12, timeMs: START + 2000 },
  ],
};

it.each([
  [{ sinceMs: START + 1000 }, 'login: '],
  [{ sinceMs: START + 9000 }, ''],
  [{ sinceMs: START }, 'boot\nkernel\nlogin: '],
  [{ timestamps: true, tailLines: 2 }, '2026-01-01T00:00:00.000Z kernel\n2026-01-01T00:00:02.000Z login: '],
  [{ timestamps: true, sinceMs: START + 1000 }, '2026-01-01T00:00:02.000Z login: '],
  [{ timestamps: true, tailLines: 1, limitBytes: 4 }, '2026'],
])('selects %j of a log with times', (selection, expected) => {
  expect(selectLog(timed, selection).toString()).toBe(expected);
});

it('puts no more times into a log than are sent, however short its lines', () => {
  const flood = { text: Buffer.alloc(2 * 1024 * 1024, '\n'), marks: [{ offset: 0, timeMs: START }] };
  const logs = [selectLog(flood, { timestamps: true }), selectLog(flood, { timestamps: true, limitBytes: 1000 })];
  expect(logs.map(({ length }) => length)).toEqual([4 * 1024 * 1024, 1000]);
  expect(logs[1]?.toString().split('\n')[1]).toBe('2026-01-01T00:00:00.000Z ');
});

it('follows a console from where its log ends, each line with its time', async () => {
  const clock = fakeClock(START + 5000);
  const live = new PassThrough();
  const pod: Pod = {
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: { name: 'p', uid: 'u' },
    spec: { containers: [{ name: 'compute', image: 'slipway/virt-launcher' }] },
  };
  const none: NodeHandlers = { call: () => Promise.reject(new Error('no')), open: () => Promise.reject(new Error('no')) };
  const handlers = withPodLogs(none, {
    ...{ clock, consoleLog: () => timed, followConsole: () => live, podOf: () => pod },
    moverLog: () => Promise.resolve(''),
    followMover: () => new PassThrough(),
  });
  const params = { podUid: 'u', pod: 'p', follow: true, timestamps: true, sinceSeconds: 4 };
  const stream: Duplex = await handlers.open({ verb: 'pod-log', params }, new AbortController().signal);
  live.write('cloud-user\nPassw');
  live.end('ord:');
  expect((await buffer(stream)).toString()).toBe(
    '2026-01-01T00:00:02.000Z login: cloud-user\n2026-01-01T00:00:05.000Z Password:',
  );
});
