import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { identifyProcess } from '@slipway/hostapi';
import { afterEach, beforeEach, expect, it, vi } from 'vitest';
import { uptimeMs } from './fence-keeper.ts';
import { WATCHDOG_PROGRAM } from './watchdog-program.ts';

let directory: string;
let watchdog: ChildProcess;
const guests: ChildProcess[] = [];
const patience = { timeout: 60_000, interval: 50 };

/** Stands for the init of a sandbox. */
function guest(): { process: ChildProcess; ended: Promise<unknown>; line: (atMs: number) => string } {
  const process = spawn('sleep', ['1000']);
  guests.push(process);
  const ended = once(process, 'exit');
  const { pid = 0, startTicks = 0 } = identifyProcess(process.pid ?? 0) ?? {};
  return { process, ended, line: (atMs) => `${pid} ${startTicks} ${atMs} pod-${pid}\n` };
}

beforeEach(async () => {
  directory = mkdtempSync(join(tmpdir(), 'slipway-fence-'));
  watchdog = spawn('perl', ['-e', WATCHDOG_PROGRAM, directory]);
  await vi.waitFor(() => expect(existsSync(join(directory, 'alive'))).toBe(true), patience);
});
afterEach(() => {
  for (const process of [watchdog, ...guests.splice(0)]) process.kill('SIGKILL');
  rmSync(directory, { recursive: true, force: true });
});

it('ends a guest at its deadline and no other, and shows that it lives', async () => {
  const [late, due, other] = [guest(), guest(), guest()];
  const now = await uptimeMs();
  const { pid = 0, startTicks = 0 } = identifyProcess(other.process.pid ?? 0) ?? {};
  // a later process with the pid of a guest is not that guest
  const mistaken = `${pid} ${startTicks + 1} ${now - 1} pod-x\n`;
  writeFileSync(join(directory, 'deadlines'), `${late.line(now + 3_600_000)}${mistaken}${due.line(now - 1)}`);
  await due.ended;
  await vi.waitFor(() => expect(readFileSync(join(directory, 'fenced'), 'utf8')).toMatch(/^\d+ pod-\d+\n$/), patience);
  const before = Number(readFileSync(join(directory, 'alive'), 'utf8'));
  await vi.waitFor(() => expect(Number(readFileSync(join(directory, 'alive'), 'utf8'))).toBeGreaterThan(before), patience);
  expect([late.process.exitCode, late.process.signalCode, other.process.signalCode]).toEqual([null, null, null]);
});

it('spares a guest whose deadline is put off', async () => {
  const one = guest();
  const mark = guest();
  const now = await uptimeMs();
  writeFileSync(join(directory, 'deadlines'), one.line(now + 3_600_000));
  writeFileSync(join(directory, 'deadlines'), `${one.line(now + 7_200_000)}${mark.line(now - 1)}`);
  await mark.ended;
  expect(one.process.signalCode).toBe(null);
});
