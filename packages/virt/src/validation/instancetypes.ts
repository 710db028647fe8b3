import type { kubevirt } from '@slipway/api';
import { topologyName } from '../instancetype/topology.ts';
import { unitsOf } from '../quantity.ts';
import { type Cause, invalid, required, when } from './causes.ts';

/** Rules for (cluster) instance types. */
export function validateInstancetype({ spec }: { readonly spec: kubevirt.VirtualMachineInstancetypeSpec }): readonly Cause[] {
  const { cpu, memory } = spec;
  const guest = cpu?.guest ?? 0;
  const maxSockets = cpu?.maxSockets ?? 0;
  const percent = memory?.overcommitPercent;
  const field = 'spec.memory.overcommitPercent';
  return [
    ...when(guest === 0, () => required('spec.cpu.guest', 'spec.cpu.guest is required')),
    ...when(memory?.guest === undefined || unitsOf(memory.guest) <= 0n, () =>
      required('spec.memory.guest', 'spec.memory.guest is required'),
    ),
    ...when(percent !== undefined && (percent < 0 || percent > 99), () =>
      invalid(field, `${field} should be in range of 0 to 99`),
    ),
    ...when(Boolean(percent) && memory?.hugepages !== undefined, () =>
      invalid(field, `${field} and spec.memory.hugepages should not be requested together.`),
    ),
    ...when(maxSockets > 0 && guest > maxSockets, () =>
      invalid('spec.cpu.maxSockets', 'spec.cpu.maxSockets must not be less than spec.cpu.guest'),
    ),
  ];
}

const TOPOLOGIES = ['sockets', 'cores', 'threads', 'spread', 'any'];
const ACROSS = ['SocketsCores', 'CoresThreads', 'SocketsCoresThreads'];

/** Rules for (cluster) preferences. */
export function validatePreference({ spec }: { readonly spec?: kubevirt.VirtualMachinePreferenceSpec }): readonly Cause[] {
  const cpu = spec?.cpu;
  const topology = topologyName(cpu?.preferredCPUTopology);
  const across = cpu?.spreadOptions?.across;
  const ratio = cpu?.spreadOptions?.ratio;
  const field = 'spec.cpu.spreadOptions';
  return [
    ...when(!TOPOLOGIES.includes(topology), () =>
      invalid('spec.cpu.preferredCPUTopology', `unknown preferredCPUTopology ${cpu?.preferredCPUTopology}`),
    ),
    ...when(across !== undefined && !ACROSS.includes(across), () =>
      invalid(`${field}.across`, `across ${across} is not supported`),
    ),
    ...when(across === 'CoresThreads' && ratio !== undefined && ratio !== 2, () =>
      invalid(`${field}.ratio`, 'only a ratio of 2 (1 core 2 threads) is allowed when spreading vCPUs over cores and threads'),
    ),
  ];
}
