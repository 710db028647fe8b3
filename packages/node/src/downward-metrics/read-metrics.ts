import { readFile } from 'node:fs/promises';
import type { DownwardMetrics } from './metrics-document.ts';

/** Kernel units: ticks per second and bytes of a page are fixed on the architectures that guests run on. */
const TICKS_PER_SECOND = 100;
const PAGE_KIB = 4;

const numberAfter = (text: string, name: string): number => Number(new RegExp(`^${name}:?\\s+(\\d+)`, 'm').exec(text)?.[1] ?? 0);

/** Figures of `/proc` files, as text. Pure. */
export function parseHostFigures(files: {
  readonly stat: string;
  readonly meminfo: string;
  readonly vmstat: string;
}): Omit<DownwardMetrics, 'hostName' | 'timeSeconds' | 'guestCpuSeconds' | 'guestCpus' | 'guestMemoryKiB'> {
  const { stat, meminfo, vmstat } = files;
  // user, nice, system; then idle and waiting, which are no use of a processor
  const times = /^cpu\s+(\d+) (\d+) (\d+)/.exec(stat)?.slice(1).map(Number) ?? [];
  return {
    cpuCount: [...stat.matchAll(/^cpu\d+ /gm)].length,
    hostCpuSeconds: times.reduce((sum, ticks) => sum + ticks, 0) / TICKS_PER_SECOND,
    memoryTotalKiB: numberAfter(meminfo, 'MemTotal'),
    memoryFreeKiB: numberAfter(meminfo, 'MemFree'),
    memoryAvailableKiB: numberAfter(meminfo, 'MemAvailable'),
    swapTotalKiB: numberAfter(meminfo, 'SwapTotal'),
    swapFreeKiB: numberAfter(meminfo, 'SwapFree'),
    pagedInKiB: numberAfter(vmstat, 'pswpin') * PAGE_KIB,
    pagedOutKiB: numberAfter(vmstat, 'pswpout') * PAGE_KIB,
  };
}

/** Seconds of processor time from `/proc/PID/stat`. Pure. */
export function parseProcessSeconds(stat: string): number {
  // the second field is the program's name in parentheses and may hold anything; user and system time are 14 and 15
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  return (Number(fields[11] ?? 0) + Number(fields[12] ?? 0)) / TICKS_PER_SECOND;
}

export interface MetricsSubject {
  readonly hostName: string;
  readonly guestCpus: number;
  readonly guestMemoryKiB: number;
  readonly qemuPid: number | undefined;
}

/** What a guest is told now. */
export async function readMetrics({ qemuPid, ...subject }: MetricsSubject, nowMs: number): Promise<DownwardMetrics> {
  const text = (path: string): Promise<string> => readFile(path, 'utf8').catch(() => '');
  const [stat, meminfo, vmstat] = await Promise.all(['/proc/stat', '/proc/meminfo', '/proc/vmstat'].map(text));
  const guestStat = qemuPid === undefined ? '' : await text(`/proc/${qemuPid}/stat`);
  return {
    ...parseHostFigures({ stat: stat ?? '', meminfo: meminfo ?? '', vmstat: vmstat ?? '' }),
    ...subject,
    timeSeconds: nowMs / 1000,
    guestCpuSeconds: guestStat === '' ? 0 : parseProcessSeconds(guestStat),
  };
}
