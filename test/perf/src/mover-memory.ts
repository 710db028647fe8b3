import { readdirSync, readFileSync } from 'node:fs';

const SAMPLE_MS = 100;

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

function moverMemory(): MemoryPeaks {
  const processes = new Map(readdirSync('/proc').flatMap((name) => (/^\d+$/.test(name) ? [[name, parentOf(name)]] : [])));
  const isOfMover = (pid: string | undefined): boolean =>
    pid !== undefined && (isMover(pid) || (processes.has(pid) && isOfMover(processes.get(pid))));
  let anonymous = 0;
  let proportional = 0;
  for (const pid of processes.keys()) {
    if (!isOfMover(pid)) continue;
    const rollup = read(`/proc/${pid}/smaps_rollup`);
    anonymous += kib(rollup, 'Pss_Anon');
    proportional += kib(rollup, 'Pss');
  }
  return { anonymous: anonymous / 1024, proportional: proportional / 1024 };
}

const kib = (rollup: string, name: string): number => Number(new RegExp(`^${name}:\\s+(\\d+) kB`, 'm').exec(rollup)?.[1] ?? 0);

const isMover = (pid: string): boolean => read(`/proc/${pid}/cmdline`).includes('/mover.mjs');

/** `4 (name) S 1 …`; a name may hold anything. */
const parentOf = (pid: string): string | undefined => /\) \S (\d+) [^)]*$/.exec(read(`/proc/${pid}/stat`))?.[1];

/** Empty for a process that has ended meanwhile. */
function read(path: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return '';
  }
}
