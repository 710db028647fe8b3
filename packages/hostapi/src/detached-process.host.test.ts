import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { startDetached } from './detached-process.ts';

/** QEMU's image tools start up to 64 threads for requests; Node.js has some of its own. */
const NEEDED_THREADS = 64 + 32;

describe('startDetached', () => {
  const directory = mkdtempSync(join(tmpdir(), 'slipway-detached-'));
  const file = (name: string): string => join(directory, name);
  afterAll(() => rmSync(directory, { recursive: true, force: true }));

  it('leaves room for the threads of an image tool beside those of the process', async () => {
    await startDetached({
      argv: ['sh', '-c', 'prlimit --nproc --output=SOFT --noheadings >&3'],
      cwd: '/',
      env: { PATH: '/usr/sbin:/usr/bin:/sbin:/bin' },
      uid: 2_100_000_017,
      maxOpenFiles: 256,
      ...{ stdout: file('stdout'), stderr: file('stderr'), outcome: file('outcome') },
    });
    await expect.poll(() => Number(readFileSync(file('outcome'), 'utf8')), { timeout: 60_000 }).toBeGreaterThan(NEEDED_THREADS);
  });
});
