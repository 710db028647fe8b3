import { Label, type Pod, type VirtualMachineInstance, type VmiCalculator } from '@slipway/api';
import { parseQuantity, type Quantity, subtractQuantities } from '@slipway/apimachinery';
import { podUsage, type Usage } from '@slipway/runtime';
import { cpuTopology, guestMemory, vcpuCount } from '@slipway/virt';

const ONE = parseQuantity('1');
const ZERO = parseQuantity('0');

/** How pods of guests are counted unless something else is asked for. */
export const DEFAULT_CALCULATOR: VmiCalculator = 'DedicatedVirtualResources';

/** What a pod takes of a quota; `vmi` is the instance that it runs, undefined for all other pods. */
export function podCharge(pod: Pod, vmi: VirtualMachineInstance | undefined, calculator: VmiCalculator): Usage {
  const usage = podUsage(pod);
  const isFinished = pod.status?.phase === 'Succeeded' || pod.status?.phase === 'Failed';
  if (vmi === undefined || isFinished || calculator === 'IgnoreVmiCalculator') return usage;
  const count = (size: GuestSize): Usage => guestUsage(size, usage, calculator);
  if (!isMigrationTarget(pod, vmi)) return count(currentSize(vmi));
  // while a guest moves it is there twice, and counts once
  return difference(count(wantedSize(vmi)), count(currentSize(vmi)));
}

function isMigrationTarget(pod: Pod, { status }: VirtualMachineInstance): boolean {
  const isTarget = pod.metadata.labels?.[Label.migrationJobUid] !== undefined;
  return isTarget && (status?.nodeName === undefined || pod.spec?.nodeName !== status.nodeName);
}

interface GuestSize {
  readonly memory: Quantity;
  readonly cpus: Quantity;
}

/** As the guest shall be. */
function wantedSize({ spec }: VirtualMachineInstance): GuestSize {
  const cpus = vcpuCount(cpuTopology(spec.domain));
  return { memory: parseQuantity(String(guestMemory(spec.domain) ?? '0')), cpus: parseQuantity(String(cpus)) };
}

/** As the guest is: memory and CPUs that are being plugged count once they are there. */
function currentSize(vmi: VirtualMachineInstance): GuestSize {
  const { memory, currentCPUTopology } = vmi.status ?? {};
  const wanted = wantedSize(vmi);
  const { sockets = 0, cores = 0, threads = 0 } = currentCPUTopology ?? {};
  const isKnown = sockets + cores + threads > 0;
  return {
    memory: memory?.guestCurrent === undefined ? wanted.memory : parseQuantity(String(memory.guestCurrent)),
    cpus: isKnown ? parseQuantity(String((sockets || 1) * (cores || 1) * (threads || 1))) : wanted.cpus,
  };
}

function guestUsage({ memory, cpus }: GuestSize, pod: Usage, calculator: VmiCalculator): Usage {
  switch (calculator) {
    case 'DedicatedVirtualResources':
      return new Map(
        ['', 'requests.'].flatMap((prefix): [string, Quantity][] => [
          [`${prefix}instances/vmi`, ONE],
          [`${prefix}cpu/vmi`, cpus],
          [`${prefix}memory/vmi`, memory],
        ]),
      );
    case 'VirtualResources':
      return new Map([
        ['pods', ONE],
        ['count/pods', ONE],
        ...['', 'requests.', 'limits.'].flatMap((prefix): [string, Quantity][] => [
          [`${prefix}cpu`, cpus],
          [`${prefix}memory`, memory],
        ]),
      ]);
    case 'GuestEffectiveResources':
      // what the guest sees, in place of what its pod asks for with everything around the guest
      return new Map([...pod].map(([name, amount]) => [name, /(?:^|\.)memory$/.test(name) ? memory : amount]));
    default:
      return pod;
  }
}

const difference = (more: Usage, less: Usage): Usage =>
  new Map(
    [...more].map(([name, amount]) => {
      const rest = subtractQuantities(amount, less.get(name) ?? ZERO);
      return [name, rest.nano > 0n ? rest : ZERO];
    }),
  );
