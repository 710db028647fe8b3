import { describe, expect, it } from 'vitest';
import type { Pod } from '@slipway/api';
import type { MoverRecord } from './mover-launcher.ts';
import { moverPodStatus } from './mover-status.ts';

const pod = {
  metadata: { name: 'importer-x', namespace: 'default' },
  spec: { containers: [{ name: 'importer' }] },
} as unknown as Pod;
const killed = { exitCode: 137, reason: 'Killed', message: 'it was killed' };
const first: MoverRecord = { uid: 7, restarts: 0, startedAtMs: 1000 };
const ended: MoverRecord = { ...first, outcome: killed, endedAtMs: 2000 };
const again: MoverRecord = {
  uid: 7,
  restarts: 1,
  startedAtMs: 3000,
  last: { startedAtMs: 1000, outcome: killed, endedAtMs: 2000 },
};

const lastOf = (...args: Parameters<typeof moverPodStatus>): unknown =>
  (moverPodStatus(...args) as unknown as { containerStatuses: { lastState: unknown }[] }).containerStatuses[0]?.lastState;

describe('the last state of a mover', () => {
  const how = {
    terminated: expect.objectContaining({ exitCode: 137, message: 'it was killed', finishedAt: '1970-01-01T00:00:02Z' }),
  };

  it('is nothing in its first run', () => {
    expect(lastOf(pod, { kind: 'running' }, first)).toEqual({});
  });

  it('says how the run ended that is being repeated', () => {
    expect(lastOf(pod, { kind: 'waiting', reason: 'CrashLoopBackOff', message: 'back-off' }, ended)).toEqual(how);
  });

  it('stays for as long as the next run lives', () => {
    expect(lastOf(pod, { kind: 'running' }, again)).toEqual(how);
    expect(lastOf(pod, { kind: 'running', isReady: false }, again)).toEqual(how);
  });
});
