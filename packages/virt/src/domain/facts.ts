import type { ClusterConfig } from '../config.ts';

/** A disk image or device that a volume of the VMI turned into on this node. */
export interface VolumeFacts {
  /** Volume name of the VMI spec. */
  readonly name: string;
  /** As QEMU sees it. */
  readonly path: string;
  readonly format: 'raw' | 'qcow2';
  /** A block device instead of a file. */
  readonly isBlock?: boolean;
  /** May not be written, whatever the disk says. */
  readonly readOnly?: boolean;
  readonly sizeBytes?: number;
  /** O_DIRECT works on it (and on its backing file); decides the default cache mode. Default true. */
  readonly supportsDirectIO?: boolean;
  /** Fully allocated on purpose: no discard. */
  readonly preallocated?: boolean;
  /** A file without holes, so that native AIO never blocks on allocation. */
  readonly fullyAllocated?: boolean;
  /** Image below an overlay, when its chain must be written into the domain. */
  readonly backing?: { readonly path: string; readonly format: 'raw' | 'qcow2'; readonly isBlock?: boolean };
  /** For `blockSize.matchVolume`. */
  readonly blockSize?: { readonly logical: number; readonly physical: number; readonly discardGranularity?: number };
}

/** One guest network interface that is ready for QEMU; fields that are absent are left out of the domain. */
export interface InterfaceFacts {
  /** Interface (= network) name of the VMI spec. */
  readonly name: string;
  readonly tapName?: string;
  /** PCI address of the host's device that is this interface. Absent: the next one of the resource of its network. */
  readonly device?: string;
  readonly mac?: string;
  readonly mtu?: number;
  /** Queues the tap was made with; must match QEMU's. Default: computed from the VMI. */
  readonly queues?: number;
}

/** A firmware image of the host, read from a descriptor in /usr/share/qemu/firmware. */
export interface FirmwareImage {
  readonly code: string;
  /** Variable store template; absent for images without one. */
  readonly vars?: string;
  readonly codeFormat?: 'raw' | 'qcow2';
  readonly varsFormat?: 'raw' | 'qcow2';
  /** For example `x86_64`, `aarch64`. */
  readonly architecture: string;
  /** Descriptor features, for example `secure-boot`, `enrolled-keys`, `requires-smm`, `amd-sev`. */
  readonly features: readonly string[];
}

/** NUMA layout of the host, as the node agent reports it. */
export interface HostTopology {
  readonly cells: readonly {
    readonly id: number;
    readonly cpus: readonly { readonly id: number; readonly siblings: readonly number[] }[];
  }[];
}

export interface SocketPaths {
  readonly serialConsole: string;
  readonly vnc: string;
  /** Guest agent channel; libvirt chooses a path when absent. */
  readonly guestAgent?: string;
  /** Directory and prefix of the four USB redirection sockets; `0`…`3` is appended. */
  readonly usbRedirPrefix?: string;
  readonly downwardMetrics?: string;
  /** Directory that holds `<filesystem>.sock` of each virtiofsd. */
  readonly virtiofsDir?: string;
  readonly persistentReservation?: string;
  readonly passtLog?: string;
}

export type Accelerator =
  | { readonly kind: 'kvm' }
  | {
      readonly kind: 'tcg';
      /** Upper bound of the translation cache; without it QEMU grows far past the guest's memory. */
      readonly tbCacheMiB?: number;
      /** Named CPU models that this QEMU can run in software. Default none: every model becomes `maximum`. */
      readonly usableCpuModels?: readonly string[];
    };

/** Everything the planner needs to know besides the VMI. Collected by the node agent; no function here does I/O. */
export interface DomainFacts {
  readonly config: ClusterConfig;
  readonly accelerator: Accelerator;
  /** TCG may be used. Without it a guest on a host without usable KVM is an error. */
  readonly allowEmulation: boolean;
  readonly volumes: readonly VolumeFacts[];
  readonly interfaces: readonly InterfaceFacts[];
  readonly sockets: SocketPaths;
  readonly logs: {
    /** File that gets everything the guest prints on its serial console; absent: not kept. */
    readonly serialConsole?: string;
  };
  /** Variable store of this VMI, for EFI guests. */
  readonly nvramPath: string;
  readonly firmware: readonly FirmwareImage[];
  /** Files of the kernelBoot container on this node. */
  readonly kernelBoot?: { readonly kernel?: string; readonly initrd?: string };
  /** Files of `firmware.acpi`. */
  readonly acpiTables?: { readonly slic?: string; readonly msdm?: string };
  /** File with the ignition annotation's content. */
  readonly ignitionPath?: string;
  /** Machine types that the host's QEMU knows, from the domain capabilities; absent: not checked. */
  readonly machineTypes?: readonly string[];
  /** Video models that the host's QEMU knows, from the domain capabilities; absent: only the classic ones are chosen. */
  readonly videoModels?: readonly string[];
  /** Panic devices that the host's libvirt knows; absent: all. */
  readonly panicModels?: readonly string[];
  /** In-kernel virtio-net back end. Absent: QEMU decides. */
  readonly vhostNet?: boolean;
  /** What this QEMU should be told that older ones did not know. */
  readonly emulator?: {
    /** Switch the VMware I/O port off explicitly. */
    readonly vmport?: boolean;
    /** CPU features that newer QEMUs dropped from models that name them. */
    readonly droppedCpuFeatures?: readonly string[];
  };
  /** Free PCIe root ports for later hotplug; absent: libvirt makes as many ports as there are devices. */
  readonly spareRootPorts?: number;
  /** CPUs of the pod, for dedicated placement. */
  readonly cpuSet?: readonly number[];
  readonly topology?: HostTopology;
  /** RAM of the host; absent: enough. */
  readonly hostMemoryBytes?: number;
  /** Device plugin allocations: `PCI_RESOURCE_*`, `MDEV_PCI_RESOURCE_*`, `USB_RESOURCE_*`, `PCIDEVICE_*`, `KUBEVIRT_RESOURCE_NAME_*`. */
  readonly env?: Readonly<Record<string, string>>;
}

/** Something the user should know about how the domain differs from the spec; goes into a VMI condition. */
export interface PlanNote {
  readonly reason:
    | 'MachineTypeMapped'
    | 'SoftwareEmulation'
    | 'CpuModelReplaced'
    | 'FeatureLeftOut'
    | 'FirmwareReplaced'
    | 'DeviceReplaced';
  readonly message: string;
}

/** A domain that cannot be built from this spec on this node. */
export class DomainPlanError extends Error {
  /** Spec field at fault, when there is one. */
  readonly field: string | undefined;

  constructor(message: string, field?: string) {
    super(message);
    this.name = 'DomainPlanError';
    this.field = field;
  }
}
