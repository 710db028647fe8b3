import type { VirtualMachine } from '@slipway/api';
import { isObject } from '@slipway/apimachinery';
import { bytesOf, cpuTopology, vcpuCount } from '@slipway/virt';
import { describeObject, type Finding, type LocatedObject } from './located.ts';

/** What the machines would run on. */
export interface Capacity {
  readonly nodes: number;
  /** Of one node. */
  readonly memoryBytes: number;
  readonly cpus: number;
  /** Guests may together have this much of the memory, in percent. */
  readonly memoryOvercommit: number;
}

/** A machine as it will be, with its instance type. */
export interface PlannedMachine {
  readonly located: LocatedObject;
  readonly vm: VirtualMachine;
}

/** Machines that no node could take, and more of them than all nodes could. Pure. */
export function capacityFindings(machines: readonly PlannedMachine[], capacity: Capacity): Finding[] {
  const findings: Finding[] = [];
  let sum = 0;
  for (const { located, vm } of machines) {
    const { domain } = vm.spec.template.spec ?? { domain: { devices: {} } };
    const requested = requestedBytes(vm, capacity.memoryOvercommit);
    const at = (field: string, message: string): Finding => ({
      ...{ severity: 'error', file: located.file, document: located.document, object: describeObject(located.object) },
      ...{ field, message, line: located.lineOf(field) },
    });
    const size = (bytes: number): string => `${Math.round((bytes / 2 ** 30) * 10) / 10}Gi`;
    const isTooLarge = requested > capacity.memoryBytes;
    if (isTooLarge)
      findings.push(
        at(
          'spec.template.spec.domain.memory',
          `asks a node for ${size(requested)}; the largest has ${size(capacity.memoryBytes)}`,
        ),
      );
    const vcpus = vcpuCount(cpuTopology(domain));
    if (domain.cpu?.dedicatedCpuPlacement === true && vcpus > capacity.cpus)
      findings.push(
        at('spec.template.spec.domain.cpu', `wants ${vcpus} processors of its own; the largest node has ${capacity.cpus}`),
      );
    if (isTooLarge || !isRunning(vm)) continue;
    sum += requested;
    if (sum > capacity.memoryBytes * capacity.nodes && sum - requested <= capacity.memoryBytes * capacity.nodes)
      findings.push({
        ...at(
          'spec.template.spec.domain.memory',
          `with this one the machines ask for more memory than ${capacity.nodes} x ${size(capacity.memoryBytes)}`,
        ),
        severity: 'warning',
      });
  }
  return findings;
}

function requestedBytes({ spec }: VirtualMachine, overcommit: number): number {
  const { memory, resources } = spec.template.spec?.domain ?? {};
  const asked = isObject(resources?.requests) ? resources.requests['memory'] : undefined;
  if (asked !== undefined) return bytesOf(asked);
  return memory?.guest === undefined ? 0 : (bytesOf(memory.guest) * 100) / overcommit;
}

const isRunning = ({ spec }: VirtualMachine): boolean =>
  spec.running === true || (spec.runStrategy !== undefined && spec.runStrategy !== 'Halted' && spec.runStrategy !== 'Manual');
