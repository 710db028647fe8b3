import type { kubevirt } from '@slipway/api';
import type { CpuTopology } from '../domain/shape.ts';

const DEFAULT_RATIO = 2;

/** The current name of a topology value; older names carry a prefix. */
export function topologyName(name: string | undefined): string {
  const aliases: Readonly<Record<string, string>> = {
    preferSockets: 'sockets',
    preferCores: 'cores',
    preferThreads: 'threads',
    preferSpread: 'spread',
    preferAny: 'any',
  };
  return name === undefined || name === '' ? 'sockets' : (aliases[name] ?? name);
}

function spread(guest: number, preference: kubevirt.VirtualMachinePreferenceSpec): CpuTopology {
  const options = preference.cpu?.spreadOptions;
  const ratio = options?.ratio ?? (preference.preferSpreadSocketToCoreRatio || DEFAULT_RATIO);
  switch (options?.across ?? 'SocketsCores') {
    case 'CoresThreads':
      return { sockets: 1, cores: guest / ratio, threads: ratio };
    case 'SocketsCoresThreads':
      return { sockets: guest / 2 / ratio, cores: ratio, threads: 2 };
    default:
      return { sockets: guest / ratio, cores: ratio, threads: 1 };
  }
}

/** How many sockets, cores and threads a number of vCPUs becomes. */
export function preferredTopology(guest: number, preference: kubevirt.VirtualMachinePreferenceSpec | undefined): CpuTopology {
  const one: CpuTopology = { sockets: 1, cores: 1, threads: 1 };
  if (guest <= 1 || !preference) return { ...one, sockets: Math.max(guest, 1) };
  switch (topologyName(preference.cpu?.preferredCPUTopology)) {
    case 'cores':
      return { ...one, cores: guest };
    case 'threads':
      return { ...one, threads: guest };
    case 'spread':
      return spread(guest, preference);
    default:
      return { ...one, sockets: guest };
  }
}
