import type { core, Node } from '@slipway/api';
import type { NodeSettings } from '@slipway/virt';
import type { HostDevices } from '../devices/index.ts';
import type { KvmState } from '../kvm/index.ts';

/** What this machine can do, read once when the agent starts. */
export interface NodeCapabilities {
  readonly hostname: string;
  /** Kubernetes' name: `amd64`, `arm64`. */
  readonly architecture: string;
  readonly cpuCount: number;
  readonly memoryBytes: number;
  readonly diskBytes: number;
  readonly kernelVersion: string;
  readonly osImage: string;
  readonly machineId: string;
  readonly bootId: string;
  readonly agentVersion: string;
  readonly libvirtVersion: string;
  readonly kvm: KvmState;
  readonly hasVhostNet: boolean;
  readonly hasVhostVsock: boolean;
  /** Reserved huge pages: resource name to KiB. */
  readonly hugePages: ReadonlyMap<string, number>;
  /** Named CPU models that QEMU can give a guest here. */
  readonly cpuModels: readonly string[];
  readonly cpuFeatures: readonly string[];
  readonly hostCpuModel: string | undefined;
  readonly cpuVendor: string | undefined;
  readonly machineTypes: readonly string[];
  /** Devices of the host that guests can be given. */
  readonly devices?: Pick<HostDevices, 'counts' | 'problems'>;
  /** Why this host cannot run guests yet, with the remedy. */
  readonly problem?: string;
}

export interface NodeIdentity {
  readonly nodeName: string;
  readonly podCidrV4: string;
  readonly podCidrV6: string;
  /** Addresses by which the node itself is reached, IPv4 first. */
  readonly addresses: readonly string[];
}

const MAX_PODS = '500';
const MAX_MESSAGE = 2000;
/** Left for the host and the platform itself when pods are placed. */
const RESERVED_MEMORY_BYTES = 512 * 1024 * 1024;
/** Prefixes of labels that this agent owns: those it no longer gives are removed. */
export const OWNED_LABEL_PREFIXES = [
  'cpu-model.node.kubevirt.io/',
  'cpu-model-migration.node.kubevirt.io/',
  'cpu-feature.node.kubevirt.io/',
  'cpu-vendor.node.kubevirt.io/',
  'host-model-cpu.node.kubevirt.io/',
  'machine-type.node.kubevirt.io/',
  'node-labeller.kubevirt.io/',
] as const;

const OBSOLETE_HOST_MODEL = 'node-labeller.kubevirt.io/obsolete-host-model';

/** Labels that scheduling of launcher pods relies on (kubevirt.md §11.6), and those every node has. */
export function nodeLabels(
  identity: NodeIdentity,
  host: NodeCapabilities,
  { obsoleteCpuModels }: NodeSettings,
): Record<string, string> {
  const flags = (prefix: string, names: readonly string[]) =>
    Object.fromEntries(names.filter(isLabelName).map((name) => [`${prefix}${name}`, 'true']));
  return {
    'kubernetes.io/hostname': identity.nodeName,
    'kubernetes.io/os': 'linux',
    'kubernetes.io/arch': host.architecture,
    'beta.kubernetes.io/os': 'linux',
    'beta.kubernetes.io/arch': host.architecture,
    'node-role.kubernetes.io/control-plane': '',
    'node-role.kubernetes.io/worker': '',
    [SCHEDULABLE]: 'true',
    'kubevirt.io/cpumanager': 'false',
    cpumanager: 'false',
    ...flags(
      'cpu-model.node.kubevirt.io/',
      host.cpuModels.filter((model) => !obsoleteCpuModels.has(model)),
    ),
    ...(obsoleteCpuModels.has(host.hostCpuModel ?? '') && { [OBSOLETE_HOST_MODEL]: 'true' }),
    ...flags('cpu-model-migration.node.kubevirt.io/', [...host.cpuModels, ...(host.hostCpuModel ? [host.hostCpuModel] : [])]),
    ...flags('cpu-feature.node.kubevirt.io/', host.cpuFeatures),
    ...flags('cpu-vendor.node.kubevirt.io/', host.cpuVendor ? [host.cpuVendor] : []),
    ...flags('host-model-cpu.node.kubevirt.io/', host.hostCpuModel ? [host.hostCpuModel] : []),
    ...flags('machine-type.node.kubevirt.io/', host.machineTypes),
  };
}

/** Whether guests may come: true until the server says otherwise, which knows where workloads shall be. */
const SCHEDULABLE = 'kubevirt.io/schedulable';

/** Labels as they shall be: the agent's own, and whatever people added. */
export function mergedLabels(
  current: Readonly<Record<string, string>>,
  own: Readonly<Record<string, string>>,
): Record<string, string> {
  const foreign = Object.entries(current).filter(([name]) => !OWNED_LABEL_PREFIXES.some((prefix) => name.startsWith(prefix)));
  const decided = current[SCHEDULABLE];
  return { ...Object.fromEntries(foreign), ...own, ...(decided !== undefined && { [SCHEDULABLE]: decided }) };
}

export function newNode(identity: NodeIdentity, host: NodeCapabilities, settings: NodeSettings): Node {
  return {
    apiVersion: 'v1',
    kind: 'Node',
    metadata: { name: identity.nodeName, labels: nodeLabels(identity, host, settings) },
    spec: { podCIDR: identity.podCidrV4, podCIDRs: [identity.podCidrV4, identity.podCidrV6] },
  };
}

/** The whole status; conditions keep their transition time while their status stays. */
export function nodeStatus(
  identity: NodeIdentity,
  host: NodeCapabilities,
  settings: NodeSettings,
  previous: core.NodeStatus | undefined,
  now: string,
): core.NodeStatus {
  const shared = settings.sharedDevices === 1_000 ? '1k' : String(settings.sharedDevices);
  const capacity = {
    cpu: String(host.cpuCount),
    memory: `${Math.floor(host.memoryBytes / 1024)}Ki`,
    'ephemeral-storage': `${Math.floor(host.diskBytes / 1024)}Ki`,
    pods: MAX_PODS,
    'devices.kubevirt.io/kvm': host.kvm.state === 'usable' ? shared : '0',
    'devices.kubevirt.io/tun': shared,
    'devices.kubevirt.io/vhost-net': host.hasVhostNet ? shared : '0',
    'devices.kubevirt.io/vhost-vsock': host.hasVhostVsock ? shared : '0',
    ...Object.fromEntries([...host.hugePages].map(([name, kib]) => [name, `${kib}Ki`])),
    ...Object.fromEntries([...(host.devices?.counts() ?? [])].map(([name, count]) => [name, String(count)])),
  };
  // huge pages are taken out of the memory that everything else can have
  const hugeBytes = [...host.hugePages.values()].reduce((sum, kib) => sum + kib * 1024, 0);
  const freeBytes = Math.max(0, host.memoryBytes - RESERVED_MEMORY_BYTES - hugeBytes);
  const allocatable = { ...capacity, memory: `${Math.floor(freeBytes / 1024)}Ki` };
  return {
    capacity,
    allocatable,
    addresses: [
      ...identity.addresses.map((address) => ({ type: 'InternalIP', address })),
      { type: 'Hostname', address: identity.nodeName },
    ],
    conditions: nodeConditions(host, previous?.conditions ?? [], now),
    nodeInfo: {
      architecture: host.architecture,
      bootID: host.bootId,
      containerRuntimeVersion: `slipway://${host.agentVersion}`,
      kernelVersion: host.kernelVersion,
      kubeProxyVersion: host.agentVersion,
      kubeletVersion: `v1.26.0+slipway-${host.agentVersion}`,
      machineID: host.machineId,
      operatingSystem: 'linux',
      osImage: host.osImage,
      systemUUID: host.machineId,
    },
  };
}

/** Lost nodes are told apart by the server, which sees the lease and not this condition. */
function nodeConditions(host: NodeCapabilities, previous: readonly core.NodeCondition[], now: string): core.NodeCondition[] {
  const kvm =
    host.kvm.state === 'usable'
      ? { status: 'True', reason: 'KVMUsable', message: 'KVM runs guest code' }
      : {
          status: 'False',
          reason: host.kvm.state === 'absent' ? 'KVMAbsent' : 'KVMUnusable',
          message: `Guests run under software emulation (TCG): ${host.kvm.reason}`,
        };
  const wanted = [
    {
      type: 'MemoryPressure',
      status: 'False',
      reason: 'KubeletHasSufficientMemory',
      message: 'kubelet has sufficient memory available',
    },
    { type: 'DiskPressure', status: 'False', reason: 'KubeletHasNoDiskPressure', message: 'kubelet has no disk pressure' },
    { type: 'PIDPressure', status: 'False', reason: 'KubeletHasSufficientPID', message: 'kubelet has sufficient PID available' },
    host.problem === undefined
      ? { type: 'Ready', status: 'True', reason: 'KubeletReady', message: 'slipway node agent is posting ready status' }
      : {
          type: 'Ready',
          status: 'False',
          reason: 'KubeletNotReady',
          message: `This host cannot run guests yet: ${host.problem}`,
        },
    { type: 'slipway.dev/KVMUsable', ...kvm },
    ...deviceCondition(host),
  ];
  return wanted.map((condition) => {
    const before = previous.find(({ type }) => type === condition.type);
    const isSame = before?.status === condition.status && before.lastTransitionTime !== undefined;
    return { ...condition, lastHeartbeatTime: now, lastTransitionTime: isSame ? (before.lastTransitionTime ?? now) : now };
  });
}

/** Only nodes with devices for guests say something of them. */
function deviceCondition({ devices }: NodeCapabilities): Omit<core.NodeCondition, 'lastHeartbeatTime'>[] {
  if (devices === undefined || devices.counts().size === 0) return [];
  const type = 'slipway.dev/DevicesUsable';
  const problems = devices.problems();
  if (problems.length === 0)
    return [{ type, status: 'True', reason: 'DevicesUsable', message: 'Every configured device can be given to a guest' }];
  return [{ type, status: 'False', reason: 'DevicesUnusable', message: problems.join('; ').slice(0, MAX_MESSAGE) }];
}

/** Names from libvirt become label names; a few CPU models hold characters that labels may not. */
function isLabelName(name: string): boolean {
  return name.length <= 63 && /^[A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?$/.test(name);
}
