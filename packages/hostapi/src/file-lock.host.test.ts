import { type ChildProcess, execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { build } from 'esbuild';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { FileLocks } from './file-lock.ts';

const signal = new AbortController().signal;
let directory: string;
let locks: FileLocks;
beforeEach(() => {
  locks = new FileLocks();
  directory = mkdtempSync(join(tmpdir(), 'file-lock-'));
});
afterEach(() => rmSync(directory, { recursive: true, force: true }));

/** Another process that has the lock until its input ends; like an agent, it is killed without a word. */
async function holdElsewhere(path: string): Promise<ChildProcess> {
  const contents = `
    import { FileLocks } from './file-lock.ts';
    const forEver = () => new Promise(() => { console.log('held'); setInterval(() => {}, 1000); });
    await new FileLocks().exclusively(${JSON.stringify(path)}, forEver, new AbortController().signal);`;
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
    const first = locks.exclusively(
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
    await Promise.all([first, locks.exclusively(path, async () => void order.push('second'), signal)]);
    expect(order).toEqual(['first begins', 'first ends', 'second']);
  });

  it('is free again when whoever had it was killed, and after a failure', async () => {
    const path = join(directory, 'lock');
    const other = await holdElsewhere(path);
    let isFree = false;
    const mine = locks.exclusively(path, async () => isFree, signal);
    isFree = true;
    other.kill('SIGKILL');
    expect(await mine).toBe(true);
    await expect(locks.exclusively(path, () => Promise.reject(new Error('no')), signal)).rejects.toThrow('no');
    expect(await locks.exclusively(path, () => Promise.resolve(7), signal)).toBe(7);
  });

  it('is taken again and again by the shell that is there', async () => {
    const path = join(directory, 'lock');
    const holders: string[] = [];
    const children = (): string => readFileSync(`/proc/${process.pid}/task/${process.pid}/children`, 'utf8');
    for (let time = 0; time < 5; time++) await locks.exclusively(path, async () => void holders.push(children()), signal);
    expect(new Set(holders).size).toBe(1);
  });

  it('says why it cannot be taken', async () => {
    await expect(locks.exclusively(join(directory, 'none', 'lock'), () => Promise.resolve(), signal)).rejects.toThrow(
      /Cannot lock .*none\/lock: .*(nonexistent|No such file)/,
    );
    await expect(locks.exclusively('two\nlines', () => Promise.resolve(), signal)).rejects.toThrow('No lock can have this name');
    expect(await locks.exclusively(join(directory, " odd 'name' $(false)"), () => Promise.resolve(1), signal)).toBe(1);
    expect(readdirSync(directory)).toContain(" odd 'name' $(false)");
  });

  it('does not keep a program that is done with it', async () => {
    const contents = `
      import { FileLocks } from './file-lock.ts';
      await new FileLocks().exclusively(${JSON.stringify(join(directory, 'lock'))}, async () => console.log('had it'), new AbortController().signal);`;
    const outfile = join(directory, 'user.mjs');
    const stdin = { contents, resolveDir: import.meta.dirname };
    await build({ stdin, bundle: true, platform: 'node', format: 'esm', target: 'node20.19', outfile });
    expect(await promisify(execFile)(process.execPath, [outfile])).toMatchObject({ stdout: 'had it\n' });
  });

  it('is not waited for when the caller gives up', async () => {
    const path = join(directory, 'lock');
    const stop = new AbortController();
    await locks.exclusively(
      path,
      async () => {
        const waiting = locks.exclusively(path, () => Promise.resolve(), stop.signal);
        stop.abort(new Error('enough'));
        await expect(waiting).rejects.toThrow();
      },
      signal,
    );
  });
});
