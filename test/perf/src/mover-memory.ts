import { readdirSync, readFileSync } from 'node:fs';

const SAMPLE_MS = 200;

/** Most memory (MiB) that was seen, of data movers and the programs that they run. */
export interface MemoryPeaks {
  /** Memory that the kernel cannot take back without swap. */
  readonly anonymous: number;
  /** Everything in use, with its share of what several processes use; page cache of files that are written is not in it. */
  readonly proportional: number;
}

/** Watches data movers until `stop`. */
export function watchMoverMemory(): { stop: () => MemoryPeaks } {
  let peaks: MemoryPeaks = { anonymous: 0, proportional: 0 };
  const timer = setInterval(() => {
    const now = moverMemory();
    peaks = {
      anonymous: Math.max(peaks.anonymous, now.anonymous),
      proportional: Math.max(peaks.proportional, now.proportional),
    };
  }, SAMPLE_MS);
  return {
    stop: () => {
      clearInterval(timer);
      return peaks;
    },
  };
}

/** Samples after which a process that is no mover will not become one by exec. */
const SETTLED = 5;
const seen = new Map<string, number>();

/** Looks at few files: the images are served by this process, and what it spends here would be missing there. */
function moverMemory(): MemoryPeaks {
  let anonymous = 0;
  let proportional = 0;
  for (const pid of readdirSync('/proc')) {
    if (!/^\d+$/.test(pid) || (seen.get(pid) ?? 0) >= SETTLED) continue;
    if (!read(`/proc/${pid}/cmdline`).includes('/mover.mjs')) {
      seen.set(pid, (seen.get(pid) ?? 0) + 1);
      continue;
    }
    for (const member of withChildren(pid)) {
      const rollup = read(`/proc/${member}/smaps_rollup`);
      anonymous += kib(rollup, 'Pss_Anon');
      proportional += kib(rollup, 'Pss');
    }
  }
  return { anonymous: anonymous / 1024, proportional: proportional / 1024 };
}

const withChildren = (pid: string): string[] => [
  pid,
  ...read(`/proc/${pid}/task/${pid}/children`)
    .split(' ')
    .filter((child) => child !== '')
    .flatMap(withChildren),
];

const kib = (rollup: string, name: string): number => Number(new RegExp(`^${name}:\\s+(\\d+) kB`, 'm').exec(rollup)?.[1] ?? 0);

/** Empty for a process that has ended meanwhile. */
function read(path: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return '';
  }
}
