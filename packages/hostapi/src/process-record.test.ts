import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { expect, it } from 'vitest';
import { childPids, identifyProcess, isSameProcess, pssBytes, signalProcess } from './process-record.ts';

it('recognises a process until it ends, and never signals another with its pid', async () => {
  const child = spawn('sleep', ['60']);
  await once(child, 'spawn');
  const record = identifyProcess(child.pid ?? 0);
  expect(record).toBeDefined();
  if (record === undefined) return;
  expect(isSameProcess(record)).toBe(true);
  expect(childPids(process.pid)).toContain(record.pid);
  expect(pssBytes(process.pid)).toBeGreaterThan(1024 ** 2);
  const impostor = { ...record, startTicks: record.startTicks - 1 };
  expect(isSameProcess(impostor)).toBe(false);
  expect(signalProcess(impostor, 'SIGKILL')).toBe(false);
  expect(signalProcess(record, 'SIGTERM')).toBe(true);
  await once(child, 'exit');
  expect(isSameProcess(record)).toBe(false);
});
