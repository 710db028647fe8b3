import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { build } from 'esbuild';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { withFileLock } from './file-lock.ts';

const signal = new AbortController().signal;
let directory: string;
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'file-lock-'));
});
afterEach(() => rmSync(directory, { recursive: true, force: true }));

/** Another process that has the lock until its input ends; like an agent, it is killed without a word. */
async function holdElsewhere(path: string): Promise<ChildProcess> {
  const contents = `
    import { withFileLock } from './file-lock.ts';
    const forEver = () => new Promise(() => { console.log('held'); setInterval(() => {}, 1000); });
    await withFileLock(${JSON.stringify(path)}, forEver, new AbortController().signal);`;
  const program = join(directory, 'holder.mjs');
  const stdin = { contents, resolveDir: import.meta.dirname };
  await build({ stdin, bundle: true, platform: 'node', format: 'esm', target: 'node20.19', outfile: program });
  const child = spawn(process.execPath, [program], { stdio: ['ignore', 'pipe', 'inherit'] });
  const ended = once(child, 'exit').then(() => Promise.reject(new Error('The holder ended')));
  ended.catch(() => {}); // later it is killed
  await Promise.race([once(child.stdout, 'data'), ended]);
  return child;
}

describe('a lock of a file', () => {
  it('lets one in at a time', async () => {
    const path = join(directory, 'lock');
    const order: string[] = [];
    let open = (): void => {};
    const opened = new Promise<void>((resolve) => {
      open = resolve;
    });
    const first = withFileLock(
      path,
      async () => {
        order.push('first begins');
        open();
        await new Promise((resolve) => setImmediate(resolve));
        order.push('first ends');
      },
      signal,
    );
    await opened;
    await Promise.all([first, withFileLock(path, async () => void order.push('second'), signal)]);
    expect(order).toEqual(['first begins', 'first ends', 'second']);
  });

  it('is free again when whoever had it was killed, and after a failure', async () => {
    const path = join(directory, 'lock');
    const other = await holdElsewhere(path);
    let isFree = false;
    const mine = withFileLock(path, async () => isFree, signal);
    isFree = true;
    other.kill('SIGKILL');
    expect(await mine).toBe(true);
    await expect(withFileLock(path, () => Promise.reject(new Error('no')), signal)).rejects.toThrow('no');
    expect(await withFileLock(path, () => Promise.resolve(7), signal)).toBe(7);
  });

  it('is not waited for when the caller gives up', async () => {
    const path = join(directory, 'lock');
    const stop = new AbortController();
    await withFileLock(
      path,
      async () => {
        const waiting = withFileLock(path, () => Promise.resolve(), stop.signal);
        stop.abort(new Error('enough'));
        await expect(waiting).rejects.toThrow();
      },
      signal,
    );
  });
});
