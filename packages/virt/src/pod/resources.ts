import type { core, kubevirt, VirtualMachineInstance } from '@slipway/api';
import { guestMemory } from '../domain/shape.ts';
import { bytesOf, decimalQuantity, formatLike, milliOf, type Quantity, unitsOf } from '../quantity.ts';
import type { LauncherContext } from './context.ts';
import { memoryOverheadBytes, podVcpus } from './overhead.ts';

type List = Record<string, string>;

const EPHEMERAL_OVERHEAD = 50_000_000n;
const text = (quantity: Quantity): string => String(quantity);

function cpuRequest(vmi: VirtualMachineInstance, { config }: LauncherContext): string {
  const ratio = BigInt(config.configuration.developerConfiguration?.cpuAllocationRatio ?? 10);
  const pool =
    vmi.spec.domain.ioThreadsPolicy === 'supplementalPool' ? (vmi.spec.domain.ioThreads?.supplementalPoolThreadCount ?? 0) : 0;
  const count = BigInt(podVcpus(vmi) + pool);
  return decimalQuantity((count * 1000n) / (ratio > 0n ? ratio : 1n));
}

function emulatorThreads(vmi: VirtualMachineInstance, vcpus: number, { config }: LauncherContext): number {
  if (!vmi.spec.domain.cpu?.isolateEmulatorThread) return 0;
  const parity = 'alpha.kubevirt.io/EmulatorThreadCompleteToEvenParity';
  const even = config.hasGate('AlignCPUs') && vmi.metadata.annotations?.[parity] !== undefined;
  return even && vcpus % 2 === 0 ? 2 : 1;
}

function setDedicatedCpus(vmi: VirtualMachineInstance, context: LauncherContext, requests: List, limits: List): void {
  const { resources } = vmi.spec.domain;
  const given = resources?.limits?.['cpu'] ?? resources?.requests?.['cpu'];
  const vcpus = podVcpus(vmi);
  if (given === undefined || vmi.spec.domain.cpu?.isolateEmulatorThread) {
    const base = given === undefined ? vcpus : Number(unitsOf(given));
    limits['cpu'] = String(base + emulatorThreads(vmi, base, context));
    if (given !== undefined) requests['cpu'] = limits['cpu'];
    else delete requests['cpu'];
  } else {
    limits['cpu'] = text(given);
    requests['cpu'] = text(given);
  }
  if (requests['memory'] !== undefined) limits['memory'] = requests['memory'];
}

function setHugepages(domain: kubevirt.DomainSpec, requests: List, limits: List): void {
  const size = domain.memory?.hugepages?.pageSize;
  if (size === undefined) return;
  const guest = domain.memory?.guest ?? domain.resources?.requests?.['memory'] ?? size;
  const name = `hugepages-${size}`;
  requests[name] = text(guest);
  limits[name] = text(guest);
}

function guestRequest(vmi: VirtualMachineInstance, { config }: LauncherContext): bigint {
  const { domain } = vmi.spec;
  const explicit = domain.resources?.requests?.['memory'] ?? domain.resources?.limits?.['memory'];
  if (explicit !== undefined) return unitsOf(explicit);
  const guest = guestMemory(domain);
  if (guest === undefined) return 0n;
  const overcommit = BigInt(config.configuration.developerConfiguration?.memoryOvercommit ?? 100);
  return (unitsOf(guest) * 100n) / overcommit;
}

const writeBytes = (bytes: bigint): string => formatLike(bytes * 1000n, '1Mi');
const beyond = (quantity: bigint, backed: bigint): bigint => (quantity > backed ? quantity - backed : 0n);

/** Huge pages hold the guest; ordinary memory is needed for the rest alone. */
function setMemoryBesideHugepages(
  domain: kubevirt.DomainSpec,
  guest: bigint,
  overhead: bigint,
  requests: List,
  limits: List,
): void {
  const { requests: asked, limits: limited } = domain.resources ?? {};
  const backed = unitsOf(domain.memory?.guest ?? asked?.['memory'] ?? domain.memory?.hugepages?.pageSize ?? 0);
  requests['memory'] = writeBytes(overhead + beyond(guest, backed));
  const limit = limited?.['memory'];
  if (limit !== undefined) limits['memory'] = writeBytes(overhead + beyond(unitsOf(limit), backed));
}

function setMemory(vmi: VirtualMachineInstance, context: LauncherContext, requests: List, limits: List): void {
  const { domain } = vmi.spec;
  const overhead = BigInt(memoryOverheadBytes(vmi, context));
  const guest = guestRequest(vmi, context);
  if (domain.memory?.hugepages) {
    setMemoryBesideHugepages(domain, guest, overhead, requests, limits);
    return;
  }
  const request = writeBytes(domain.resources?.overcommitGuestOverhead ? guest : guest + overhead);
  requests['memory'] = request;
  const limit = domain.resources?.limits?.['memory'];
  const ratio = context.autoLimits?.memoryRatio;
  if (limit !== undefined) limits['memory'] = writeBytes(unitsOf(limit) + overhead);
  else if (ratio !== undefined) limits['memory'] = writeBytes(BigInt(Math.ceil(bytesOf(request) * ratio)));
}

function setEphemeralStorage(requests: List, limits: List): void {
  const name = 'ephemeral-storage';
  const plus = (quantity: string | undefined) => {
    const base = quantity ?? '0M';
    return formatLike(milliOf(base) + EPHEMERAL_OVERHEAD * 1000n, base);
  };
  requests[name] = plus(requests[name]);
  if (limits[name] !== undefined) limits[name] = plus(limits[name]);
}

function countDevice(list: List, name: string): void {
  list[name] = String(Number(list[name] ?? 0) + 1);
}

const DEVICE = 'devices.kubevirt.io';

/** Device nodes that QEMU opens; they are limits alone. */
function deviceNodes(vmi: VirtualMachineInstance, context: LauncherContext): readonly string[] {
  const { devices } = vmi.spec.domain;
  const emulated = context.emulation ?? context.config.configuration.developerConfiguration?.useEmulation ?? false;
  const taps = (vmi.spec.networks ?? []).length === 0 ? [] : (devices.interfaces ?? []).filter(({ sriov }) => !sriov);
  const hasVirtio = taps.some(({ model }) => !model || model === 'virtio');
  return [
    ...(emulated ? [] : ['kvm']),
    ...(taps.length > 0 ? ['tun'] : []),
    ...(hasVirtio && !emulated ? ['vhost-net'] : []),
    ...(devices.autoattachVSOCK ? ['vhost-vsock'] : []),
  ];
}

/** Devices that the scheduler counts: requests and limits. */
function countedDevices(vmi: VirtualMachineInstance, { networkResources }: LauncherContext): readonly string[] {
  const { devices, launchSecurity } = vmi.spec.domain;
  const { disks = [], gpus = [], hostDevices = [] } = devices;
  return [
    ...((launchSecurity?.sev ?? launchSecurity?.snp) ? [`${DEVICE}/sev`] : []),
    ...(launchSecurity?.tdx ? [`${DEVICE}/tdx`] : []),
    ...(disks.some(({ lun }) => lun?.reservation) ? [`${DEVICE}/pr-helper`] : []),
    ...[...gpus, ...hostDevices].map(({ deviceName }) => deviceName ?? ''),
    ...networkResources.map(({ resourceName }) => resourceName),
  ].filter((name) => name !== '');
}

function setDevices(vmi: VirtualMachineInstance, context: LauncherContext, requests: List, limits: List): void {
  for (const node of deviceNodes(vmi, context)) limits[`${DEVICE}/${node}`] = '1';
  for (const name of countedDevices(vmi, context)) {
    countDevice(requests, name);
    countDevice(limits, name);
  }
}

const copyOf = (list: Readonly<Record<string, Quantity>> | undefined): List =>
  Object.fromEntries(Object.entries(list ?? {}).map(([name, quantity]) => [name, text(quantity)]));

/** Resources of the compute container. */
export function computeResources(vmi: VirtualMachineInstance, context: LauncherContext): core.ResourceRequirements {
  const { domain } = vmi.spec;
  const requests = copyOf(domain.resources?.requests);
  const limits = copyOf(domain.resources?.limits);
  const dedicated = domain.cpu?.dedicatedCpuPlacement === true;
  if (requests['cpu'] === undefined && !dedicated) requests['cpu'] = limits['cpu'] ?? cpuRequest(vmi, context);
  if (context.autoLimits?.cpu && !dedicated) limits['cpu'] ??= String(podVcpus(vmi));
  setMemory(vmi, context, requests, limits);
  setHugepages(domain, requests, limits);
  if (dedicated) setDedicatedCpus(vmi, context, requests, limits);
  setEphemeralStorage(requests, limits);
  setDevices(vmi, context, requests, limits);
  return { requests, ...(Object.keys(limits).length > 0 && { limits }) };
}

const HELPERS = {
  'container-disk': { requests: ['1m', '1M'], limits: ['10m', '40M'] },
  'container-disk-init': { requests: ['10m', '1M'], limits: ['100m', '40M'] },
  'guest-console-log': { requests: ['5m', '35M'], limits: ['15m', '60M'] },
  virtiofs: { requests: ['10m', '1M'], limits: ['100m', '80M'] },
  sidecar: { requests: undefined, limits: undefined },
  'hotplug-disk': { requests: ['10m', '2M'], limits: ['100m', '80M'] },
} as const;

export type HelperKind = keyof typeof HELPERS;

/** Resources of a helper container: the cluster's figures, else KubeVirt's; equal to the limits for guaranteed pods. */
export function helperResources(kind: HelperKind, guaranteed: boolean, context: LauncherContext): core.ResourceRequirements {
  const type = kind === 'container-disk-init' ? 'container-disk' : kind;
  const custom = context.config.configuration.supportContainerResources?.find((entry) => entry.type === type)?.resources;
  const list = (figures: readonly [string, string] | undefined, given: Readonly<Record<string, Quantity>> | undefined): List => ({
    ...(figures && { cpu: figures[0], memory: figures[1] }),
    ...copyOf(given),
  });
  const base = HELPERS[kind];
  const limits = list(kind === 'sidecar' && guaranteed ? ['200m', '64M'] : base.limits, custom?.limits);
  if (kind === 'container-disk-init' && guaranteed) limits['cpu'] = '10m';
  const requests = guaranteed ? { ...limits } : list(base.requests, custom?.requests);
  if (kind === 'container-disk') requests['ephemeral-storage'] = '50M';
  return {
    ...(Object.keys(limits).length > 0 && { limits }),
    ...(Object.keys(requests).length > 0 && { requests }),
  };
}
