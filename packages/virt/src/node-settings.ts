import type { ClusterConfig } from './config.ts';

/** What the configuration says about every node. */
export interface NodeSettings {
  /** CPU models that are not offered to guests. */
  readonly obsoleteCpuModels: ReadonlySet<string>;
  /** How many of each device that guests share a node offers: at most that many guests run on it. */
  readonly sharedDevices: number;
}

const OBSOLETE = [
  ...['486', 'pentium', 'pentium2', 'pentium3', 'pentiumpro', 'coreduo', 'n270', 'core2duo', 'Conroe', 'athlon', 'phenom'],
  ...['qemu64', 'qemu32', 'kvm64', 'kvm32'],
].flatMap((model) => [model, `${model}-v1`]);

/** KubeVirt-compat: its device plugins offer a thousand of each device that may be shared. */
const SHARED_DEVICES = 1_000;

/** Resolves the settings; a list of obsolete models takes the place of the default one. */
export function nodeSettings({ configuration }: ClusterConfig): NodeSettings {
  const { obsoleteCPUModels: listed, virtualMachineInstancesPerNode } = configuration;
  const obsolete = listed === undefined ? OBSOLETE : Object.entries(listed).flatMap(([model, is]) => (is ? [model] : []));
  return { obsoleteCpuModels: new Set(obsolete), sharedDevices: virtualMachineInstancesPerNode ?? SHARED_DEVICES };
}
