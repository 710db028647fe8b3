import type { VirtualMachineInstance } from '@slipway/api';
import { type ClusterConfig, type DomainFacts, guestMemoryBytes } from '@slipway/virt';
import type { PodNetworkStatus, PreparedFiles, PreparedVolume } from '../contracts.ts';
import { INSIDE } from '../sandbox/index.ts';
import { SHARES_DIRECTORY } from './guest-helpers.ts';
import type { NodeFacts } from './node-facts.ts';

/** Paths beneath the private directory of a sandbox. */
export const SERIAL_SOCKET = 'run/serial0';
export const VNC_SOCKET = 'run/vnc';
/** Before the number of a USB redirection. */
export const USB_SOCKETS = 'run/usbredir-';
export const METRICS_SOCKET = 'run/metrics';

const SMALL_GUEST_BYTES = 512 * 1024 ** 2;
/** Bound of the translation cache of small guests; larger ones get QEMU's own. */
const SMALL_TB_CACHE_MIB = 32;

const GIB = 1024 ** 3;

/**
 * Free slots for devices that are plugged in later. Each costs the guest boot time, under software emulation about 0.35
 * seconds of a processor, so that small guests get few; SCSI disks need none.
 */
function spareSlots(vmi: VirtualMachineInstance): number {
  if (vmi.spec.domain.devices.disableHotplug) return 0;
  const bytes = guestMemoryBytes(vmi.spec.domain);
  if (bytes < GIB) return 2;
  return bytes > 2 * GIB ? 8 : 4;
}

/** libvirt 9.1 is the first that knows the PCI panic device. */
function panicModels(libvirtVersion: string): Pick<DomainFacts, 'panicModels'> {
  const [major = 0, minor = 0] = libvirtVersion.split('.').map(Number);
  const isOld = major > 0 && (major < 9 || (major === 9 && minor < 1));
  return isOld ? { panicModels: ['isa', 'hyperv'] } : {};
}

export interface DomainInputs {
  readonly vmi: VirtualMachineInstance;
  readonly node: NodeFacts;
  readonly config: ClusterConfig;
  readonly network: PodNetworkStatus;
  readonly volumes: readonly PreparedVolume[];
  /** Absent for what is planned of a guest that runs already. */
  readonly files?: PreparedFiles;
  /** What device plugins would have set in the pod. */
  readonly env?: DomainFacts['env'];
}

/** Everything the planner needs, as the sandbox sees it. Pure. */
export function domainFacts({ vmi, node, config, network, volumes, files, env }: DomainInputs): DomainFacts {
  const isSmall = guestMemoryBytes(vmi.spec.domain) < SMALL_GUEST_BYTES;
  return {
    config,
    accelerator:
      node.kvm.state === 'usable'
        ? { kind: 'kvm' }
        : { kind: 'tcg', usableCpuModels: node.host.cpuModels, ...(isSmall && { tbCacheMiB: SMALL_TB_CACHE_MIB }) },
    // a host without usable KVM runs guests slowly rather than not at all, and says so in a condition
    allowEmulation: true,
    volumes: volumes.map((volume) => ({ ...volume })),
    interfaces: network.interfaces.map(({ name, tapName, mac, mtu, queues, device }) => ({
      ...{ name, mac, mtu, queues },
      ...(tapName !== undefined && { tapName }),
      ...(device !== undefined && { device }),
    })),
    sockets: {
      serialConsole: `${INSIDE}/${SERIAL_SOCKET}`,
      vnc: `${INSIDE}/${VNC_SOCKET}`,
      usbRedirPrefix: `${INSIDE}/${USB_SOCKETS}`,
      virtiofsDir: SHARES_DIRECTORY,
      downwardMetrics: `${INSIDE}/${METRICS_SOCKET}`,
    },
    logs: {},
    nvramPath: `${files?.statePath ?? `${INSIDE}/data`}/nvram.fd`,
    ...(files?.kernelBoot && { kernelBoot: files.kernelBoot }),
    ...(files?.acpiTables && { acpiTables: files.acpiTables }),
    firmware: node.firmware,
    hostMemoryBytes: node.memoryBytes,
    machineTypes: node.host.machineTypes,
    videoModels: node.host.videoModels,
    ...panicModels(node.host.libvirtVersion),
    vhostNet: false,
    spareRootPorts: spareSlots(vmi),
    ...(env && { env }),
  };
}
