import { spawn } from 'node:child_process';
import { createInterface } from 'node:readline';

const BEAT_SECONDS = '0.01';

/** How a guest answers pings, 100 of them a second. */
export interface Beats {
  /** Resolves at the next answer. */
  next(): Promise<void>;
  /** Forgets what was heard; the next silence begins now. */
  restart(): void;
  /** The longest silence since `restart`, in milliseconds. */
  longestSilence(): number;
  stop(): Promise<void>;
}

/** Pings this address until it is stopped. */
export function listenForBeats(address: string): Beats {
  const child = spawn('busybox', ['ping', '-i', BEAT_SECONDS, address], { stdio: ['ignore', 'pipe', 'ignore'] });
  const ended = new Promise<void>((resolve) => void child.once('close', () => resolve()).once('error', () => resolve()));
  let last = performance.now();
  let longest = 0;
  const waiting = new Set<() => void>();
  createInterface({ input: child.stdout }).on('line', (line) => {
    if (!line.includes(' bytes from ')) return;
    const now = performance.now();
    longest = Math.max(longest, now - last);
    last = now;
    for (const wake of waiting) wake();
    waiting.clear();
  });
  return {
    next: () => new Promise((resolve) => waiting.add(resolve)),
    restart: () => {
      last = performance.now();
      longest = 0;
    },
    longestSilence: () => Math.max(longest, performance.now() - last),
    async stop() {
      child.kill();
      await ended;
    },
  };
}
