import { randomInt } from 'node:crypto';
import { constants } from 'node:fs';
import { access } from 'node:fs/promises';
import { delimiter, join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import type { ClientVersion, VirtctlIo } from './io.ts';

export interface TerminalOptions {
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly home: string;
  /** The command line that starts this program again. */
  readonly self: readonly string[];
  readonly version: ClientVersion;
  readonly runProgram: VirtctlIo['runProgram'];
}

/** The caller's terminal, for `runVirtctl`. */
export function terminalIo(options: TerminalOptions): VirtctlIo {
  const { env } = options;
  return {
    ...options,
    stdin: process.stdin,
    stdout: process.stdout,
    stderr: process.stderr,
    hasProgram: (name) => isInPath(name, env['PATH'] ?? ''),
    sleep: (ms, signal) => delay(ms, undefined, signal === undefined ? {} : { signal }),
    now: () => Date.now(),
    randomName: (length) => Array.from({ length }, () => LETTERS.charAt(randomInt(LETTERS.length))).join(''),
  };
}

/** Without vowels and look-alikes, as Kubernetes names things. */
const LETTERS = 'bcdfghjklmnpqrstvwxz2456789';

async function isInPath(name: string, path: string): Promise<boolean> {
  for (const directory of path.split(delimiter)) {
    if (directory === '') continue;
    try {
      await access(join(directory, name), constants.X_OK);
      return true;
    } catch {
      // not here: the next directory may have it
    }
  }
  return false;
}
