import type { kubevirt } from '@slipway/api';
import { bytesOf, isQuantity, milliOf, type Quantity, unitsOf } from '../quantity.ts';
import { type Cause, invalid, notSupported, required, when } from './causes.ts';

type Spec = kubevirt.VirtualMachineInstanceSpec;

const isZero = (quantity: Quantity | undefined): boolean => quantity === undefined || milliOf(quantity) === 0n;
const isSet = (quantity: Quantity | undefined): quantity is Quantity => !isZero(quantity);

function negative(field: string, quantity: Quantity | undefined): readonly Cause[] {
  return when(quantity !== undefined && milliOf(quantity) < 0n, () =>
    invalid(field, `${field} '${quantity}': must be greater than or equal to 0.`),
  );
}

function checkMemory(path: string, { domain }: Spec): readonly Cause[] {
  const { requests, limits } = domain.resources ?? {};
  const request = requests?.['memory'];
  const limit = limits?.['memory'];
  const guest = domain.memory?.guest;
  const at = `${path}.domain.resources`;
  const over = (a: Quantity | undefined, b: Quantity | undefined) =>
    isSet(a) && isSet(b) && milliOf(b) > 0n && milliOf(a) > milliOf(b);
  return [
    ...negative(`${at}.requests.memory`, request),
    ...when(isSet(request) && milliOf(request) > 0n && bytesOf(request) < 1_000_000, () =>
      invalid(`${at}.requests.memory`, `${at}.requests.memory '${request}': must be greater than or equal to 1M.`),
    ),
    ...negative(`${at}.limits.memory`, limit),
    ...when(over(request, limit), () =>
      invalid(`${at}.requests.memory`, `${at}.requests.memory '${request}' is greater than ${at}.limits.memory '${limit}'`),
    ),
    ...when(over(guest, limit) && !over(request, limit), () =>
      invalid(
        `${path}.domain.memory.guest`,
        `${path}.domain.memory.guest '${guest}' must be equal to or less than the memory limit ${at}.limits.memory '${limit}'`,
      ),
    ),
  ];
}

function checkHugepages(path: string, { domain }: Spec): readonly Cause[] {
  const size = domain.memory?.hugepages?.pageSize;
  if (size === undefined) return [];
  const field = `${path}.domain.hugepages.size`;
  if (!isQuantity(size)) return [invalid(field, `${field} '${size}': quantities must match the regular expression`)];
  const request = domain.memory?.guest ?? domain.resources?.requests?.['memory'];
  if (!isSet(request)) return [];
  const at =
    domain.resources?.requests?.['memory'] === undefined
      ? `${path}.domain.memory.guest`
      : `${path}.domain.resources.requests.memory`;
  if (bytesOf(request) < bytesOf(size))
    return [invalid(at, `${at} '${request}' must be equal to or larger than page size ${field} '${size}'`)];
  return when(bytesOf(request) % bytesOf(size) !== 0, () =>
    invalid(at, `${at} '${request}' is not a multiple of the page size ${field} '${size}'`),
  );
}

function checkCpuResources(path: string, { domain }: Spec): readonly Cause[] {
  const { requests, limits } = domain.resources ?? {};
  const [request, limit] = [requests?.['cpu'], limits?.['cpu']];
  const at = `${path}.domain.resources`;
  return [
    ...negative(`${at}.requests.cpu`, request),
    ...negative(`${at}.limits.cpu`, limit),
    ...when(isSet(request) && isSet(limit) && milliOf(limit) > 0n && milliOf(request) > milliOf(limit), () =>
      invalid(`${at}.requests.cpu`, `${at}.requests.cpu '${request}' is greater than ${at}.limits.cpu '${limit}'`),
    ),
  ];
}

/** Memory that the guest is given in some way. */
function checkMemoryGiven({ domain }: Spec): readonly Cause[] {
  const given =
    isSet(domain.memory?.guest) ||
    domain.memory?.hugepages !== undefined ||
    isSet(domain.resources?.requests?.['memory']) ||
    isSet(domain.resources?.limits?.['memory']);
  return when(!given, () =>
    required(
      undefined,
      "no memory requested, at least one of 'spec.domain.memory.guest', 'spec.domain.memory.hugepages.size' or 'spec.domain.resources.requests.memory' must be set",
    ),
  );
}

const isFraction = (quantity: Quantity | undefined): boolean => quantity !== undefined && milliOf(quantity) % 1000n !== 0n;

const differs = (a: Quantity | undefined, b: Quantity | undefined): boolean =>
  a !== undefined && b !== undefined && milliOf(a) !== milliOf(b);

function checkDedicatedResources(path: string, field: string, { resources }: kubevirt.DomainSpec): readonly Cause[] {
  const { requests, limits } = resources ?? {};
  const at = `${path}.domain.resources`;
  return [
    ...when(isFraction(limits?.['cpu']), () => invalid(`${at}.limits.cpu`, 'provided resources CPU limits must be an interger')),
    ...when(isFraction(requests?.['cpu']), () =>
      invalid(`${at}.requests.cpu`, 'provided resources CPU requests must be an interger'),
    ),
    ...when(differs(requests?.['memory'], limits?.['memory']), () =>
      invalid(`${at}.requests.memory`, `${at}.requests.memory must be equal to ${at}.limits.memory`),
    ),
    ...when(differs(requests?.['cpu'], limits?.['cpu']), () =>
      invalid(field, `${at}.requests.cpu or ${at}.limits.cpu must be equal when DedicatedCPUPlacement is true `),
    ),
  ];
}

function checkDedicatedTopology(path: string, field: string, cpu: kubevirt.CPU, cpus: Quantity | undefined): readonly Cause[] {
  const at = `${path}.domain.resources`;
  const given = isSet(cpus);
  const { cores = 0, threads = 1 } = cpu;
  // The defaulted topology of one socket and one thread says nothing that resources could contradict.
  const contradicts = cores > 0 && given && !topologyFromResources(cpu, cpus);
  return [
    ...when(!given && (cpu.cores ?? cpu.sockets ?? cpu.threads) === undefined, () =>
      invalid(
        field,
        `either ${at}.requests.cpu or ${at}.limits.cpu or ${path}.domain.cpu.cores must be provided when DedicatedCPUPlacement is true `,
      ),
    ),
    ...when(contradicts, () =>
      invalid(
        field,
        `${at}.requests.cpu or ${at}.limits.cpu must not be provided at the same time with ${path}.domain.cpu.cores when DedicatedCPUPlacement is true `,
      ),
    ),
    ...when(threads > 2, () =>
      invalid(
        `${path}.domain.cpu.threads`,
        'Not more than two threads must be provided at the same time with DedicatedCPUPlacement',
      ),
    ),
  ];
}

function checkDedicated(path: string, { domain }: Spec): readonly Cause[] {
  const { cpu, resources } = domain;
  const field = `${path}.domain.cpu.dedicatedCpuPlacement`;
  if (!cpu?.dedicatedCpuPlacement)
    return when(cpu?.isolateEmulatorThread, () =>
      invalid(
        `${path}.domain.cpu.isolateEmulatorThread`,
        'IsolateEmulatorThread should be only set in combination with DedicatedCPUPlacement',
      ),
    );
  const cpus = resources?.limits?.['cpu'] ?? resources?.requests?.['cpu'];
  return [...checkDedicatedResources(path, field, domain), ...checkDedicatedTopology(path, field, cpu, cpus)];
}

const topologyFromResources = (cpu: kubevirt.CPU, cpus: Quantity | undefined): boolean =>
  cpu.cores === 1 && cpu.threads === 1 && cpus !== undefined && BigInt(cpu.sockets ?? 0) === unitsOf(cpus);

function checkNumaAndRealtime(path: string, { domain }: Spec): readonly Cause[] {
  const { cpu, memory } = domain;
  const dedicated = `${path}.domain.cpu.dedicatedCpuPlacement`;
  const numa = `${path}.domain.cpu.numa.guestMappingPassthrough`;
  const passthrough = cpu?.numa?.guestMappingPassthrough !== undefined;
  return [
    ...when(passthrough && !cpu?.dedicatedCpuPlacement, () =>
      invalid(numa, `${dedicated} must be set to true when NUMA topology strategy is set in ${numa}`),
    ),
    ...when(passthrough && memory?.hugepages === undefined, () =>
      invalid(numa, `${path}.domain.memory.hugepages must be requested when NUMA topology strategy is set in ${numa}`),
    ),
    ...when(cpu?.realtime !== undefined && !cpu.dedicatedCpuPlacement, () =>
      required(dedicated, `${dedicated} must be set to true when ${path}.domain.cpu.realtime is used`),
    ),
    ...when(cpu?.realtime !== undefined && !passthrough, () =>
      required(numa, `${numa} must be defined when ${path}.domain.cpu.realtime is used`),
    ),
  ];
}

const POLICIES = new Set(['force', 'require', 'optional', 'disable', 'forbid', '']);

function checkArmCpu(path: string, { model = 'host-passthrough', threads = 1 }: kubevirt.CPU = {}): readonly Cause[] {
  return [
    ...when(model !== 'host-passthrough', () =>
      notSupported(`${path}.domain.cpu.model`, 'currently, host-passthrough is the only model supported on Arm64'),
    ),
    ...when(threads > 1, () =>
      invalid(`${path}.domain.cpu.threads`, `threads must not be greater than 1 at arm64 (got ${threads})`),
    ),
  ];
}

function checkCpu(path: string, { domain, architecture }: Spec): readonly Cause[] {
  const { cpu } = domain;
  return [
    ...when((cpu?.maxSockets ?? 0) > 0 && (cpu?.sockets ?? 1) > (cpu?.maxSockets ?? 0), () =>
      invalid(`${path}.domain.cpu.sockets`, 'Number of sockets in CPU topology is greater than the maximum sockets allowed'),
    ),
    ...(cpu?.features ?? []).flatMap(({ name, policy = '' }, index) =>
      when(!POLICIES.has(policy), () =>
        notSupported(
          `${path}.domain.cpu.features[${index}].policy`,
          `CPU feature ${name} uses policy ${policy} that is not supported.`,
        ),
      ),
    ),
    ...(architecture === 'arm64' ? checkArmCpu(path, cpu) : []),
  ];
}

/** CPU, memory, huge pages, NUMA. */
export function checkResources(path: string, spec: Spec): readonly Cause[] {
  return [
    ...checkMemory(path, spec),
    ...checkHugepages(path, spec),
    ...checkCpuResources(path, spec),
    ...checkMemoryGiven(spec),
    ...checkCpu(path, spec),
    ...checkDedicated(path, spec),
    ...checkNumaAndRealtime(path, spec),
  ];
}
