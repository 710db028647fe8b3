import type { kubevirt } from '@slipway/api';
import type { CpuTopology } from '../domain/shape.ts';

const DEFAULT_RATIO = 2;

/** Older names carry a prefix. */
const ALIASES: Readonly<Record<string, string>> = {
  preferSockets: 'sockets',
  preferCores: 'cores',
  preferThreads: 'threads',
  preferSpread: 'spread',
  preferAny: 'any',
};

/** The current name of a topology value. */
export function topologyName(name: string | undefined): string {
  return name === undefined || name === '' ? 'sockets' : (ALIASES[name] ?? name);
}

/** What the author of a preference should write instead of an older name. */
export function preferenceWarnings({ spec }: Pick<kubevirt.VirtualMachinePreference, 'spec'>): readonly string[] {
  const topology = spec?.cpu?.preferredCPUTopology;
  const current = topology === undefined ? undefined : ALIASES[topology];
  const { preferredUseEfi, preferredUseSecureBoot } = spec?.firmware ?? {};
  return [
    ...(current === undefined ? [] : [`spec.cpu.preferredCPUTopology ${topology} is deprecated, please use ${current} instead.`]),
    ...(preferredUseEfi === undefined ? [] : [deprecated('preferredUseEfi')]),
    ...(preferredUseSecureBoot === undefined ? [] : [deprecated('preferredUseSecureBoot')]),
    ...(spec?.preferSpreadSocketToCoreRatio
      ? ['spec.preferSpreadSocketToCoreRatio is deprecated, please use spec.cpu.spreadOptions instead.']
      : []),
  ];
}

const deprecated = (field: string): string =>
  `spec.firmware.${field} is deprecated, please use spec.firmware.preferredEfi instead.`;

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
