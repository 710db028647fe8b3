import type { kubevirt } from '@slipway/api';
import { unitsOf } from '../quantity.ts';

/** IO threads of a domain and who uses them. */
export interface IoThreadPlan {
  /** 0: no element. */
  readonly count: number;
  /** Disks and the SCSI controller name their thread. */
  readonly assigned: boolean;
  /** Threads of the supplemental pool that every virtio disk uses; 0 without that policy. */
  readonly poolSize: number;
  /** Disk name to thread number. */
  readonly byDisk: ReadonlyMap<string, number>;
}

function autoThreads(domain: kubevirt.DomainSpec, shared: number, dedicated: number): number {
  const isolated = domain.cpu?.isolateEmulatorThread && domain.cpu.dedicatedCpuPlacement;
  if (isolated) return 1;
  const cpus = domain.resources?.requests?.['cpu'] ?? domain.resources?.limits?.['cpu'];
  const limit = 2 * (cpus === undefined ? 1 : Math.max(1, Number(unitsOf(cpus))));
  return Math.max(1, Math.min(shared, limit - dedicated));
}

/** Numbers the IO threads: the automatic ones first, then one for each disk that asks for its own. */
export function planIoThreads(domain: kubevirt.DomainSpec): IoThreadPlan {
  const disks = domain.devices.disks ?? [];
  const policy = domain.ioThreadsPolicy;
  const dedicated = disks.filter((disk) => disk.dedicatedIOThread).length;
  const byDisk = new Map<string, number>();
  if (policy === 'supplementalPool') {
    const poolSize = domain.ioThreads?.supplementalPoolThreadCount ?? 1;
    return { count: poolSize, assigned: true, poolSize, byDisk };
  }
  const shared = disks.length - dedicated;
  let auto = shared > 0 ? 1 : 0;
  if (policy === 'auto' && shared > 0) auto = autoThreads(domain, shared, dedicated);
  const assigned = policy !== undefined || dedicated > 0;
  let nextAuto = 1;
  let nextDedicated = auto + 1;
  for (const disk of disks) {
    if (disk.dedicatedIOThread) byDisk.set(disk.name, nextDedicated++);
    else {
      byDisk.set(disk.name, nextAuto);
      nextAuto = nextAuto >= auto ? 1 : nextAuto + 1;
    }
  }
  return { count: auto + dedicated, assigned, poolSize: 0, byDisk };
}
