import type { kubevirt, Pod, VirtualMachineInstance } from '@slipway/api';

/** Identity and places of one node agent, read once by the daemon. */
export interface NodeConfig {
  /** Node object name. */
  readonly nodeName: string;
  /** Six hex characters unique to this installation and node: prefixes every host object (netns, links, tables, cgroups). */
  readonly hostPrefix: string;
  /** Root of everything this agent keeps on disk; short, because UNIX socket paths are limited to 107 bytes. */
  readonly stateDir: string;
  /** Directory that all nodes of the installation reach, for volumes that are not bound to one of them. */
  readonly sharedDir?: string;
  /** For example `10.244.0.0/24`. */
  readonly podCidrV4: string;
  /** For example `fd10:244::/64`. */
  readonly podCidrV6: string;
  /** First uid of the range from which sandboxes and data movers get theirs. */
  readonly uidBase: number;
  /** Addresses of Services: they are in packet filters alone and need a route to be sent to at all. Absent: none. */
  readonly serviceNetworks?: readonly string[];
  /** Absent for the only node of an installation. */
  readonly link?: NodeLink;
}

/** How a node is joined to the other nodes of its installation. */
export interface NodeLink {
  /** Network device that leads to them. */
  readonly device: string;
  /** Addresses by which they reach this node: agents, and the node as router of its pods. */
  readonly addressV4: string;
  readonly addressV6: string;
  /** Networks of the link itself. */
  readonly networks: readonly string[];
  /** Behind it a router hides the pods of all nodes, so that their connections do not depend on the node they are on. */
  readonly hidesPods?: boolean;
}

/** A pod sandbox: the namespaces of one pod, held by a reaping init that outlives the agent. */
export interface Sandbox {
  readonly podUid: string;
  /** Unprivileged user of QEMU and libvirtd (gid is the same number). */
  readonly uid: number;
  /** Name under /run/netns. */
  readonly netns: string;
  /** Private directory of the sandbox on the host. */
  readonly dir: string;
}

export interface PodNetworkStatus {
  /** Addresses of the pod, IPv4 first. */
  readonly podIPs: readonly string[];
  readonly interfaces: readonly PlannedTap[];
  /** For the pod: `k8s.v1.cni.cncf.io/network-status`. */
  readonly annotations?: Readonly<Record<string, string>>;
}

/** One guest interface that is ready for QEMU. */
export interface PlannedTap {
  /** Network name of the VMI spec. */
  readonly name: string;
  /** Absent: the guest has a device of the host. */
  readonly tapName?: string;
  /** Address of that device, for example `0000:03:02.1`. */
  readonly device?: string;
  readonly mac: string;
  readonly mtu: number;
  readonly queues: number;
  /** Name inside the pod, for example `eth0` or `net1`; goes to status.interfaces[].podInterfaceName. */
  readonly podInterfaceName: string;
  /** Addresses known without the guest agent. */
  readonly ipAddresses: readonly string[];
  /** For example `domain`, `multus-status`. */
  readonly infoSources: readonly string[];
}

/** Gives a pod its network and takes it away; both are idempotent and safe to repeat after a crash. */
export interface PodNetwork {
  /** Host-wide parts (bridge, forwarding, NAT) of this node; called once when the agent starts. */
  start(signal: AbortSignal): Promise<void>;
  /** Network namespace, links, rules and DHCP for a launcher pod; `vmi` is absent for other pods. */
  setUp(pod: Pod, vmi: VirtualMachineInstance | undefined, sandbox: Sandbox, signal: AbortSignal): Promise<PodNetworkStatus>;
  /**
   * Attaches second networks that the VMI has and the pod has not, and detaches those whose interface is gone from the VMI
   * or absent. The pod's own network stays. The pod must have its network already.
   */
  change(pod: Pod, vmi: VirtualMachineInstance, sandbox: Sandbox, signal: AbortSignal): Promise<PodNetworkStatus>;
  /** After an agent restart: serve DHCP again for a pod whose links still stand. */
  adopt(pod: Pod, vmi: VirtualMachineInstance, sandbox: Sandbox, signal: AbortSignal): Promise<PodNetworkStatus>;
  tearDown(podUid: string): Promise<void>;
  /** Removes links, namespaces and rules of pods that are not in the set. */
  collectGarbage(livePodUids: ReadonlySet<string>): Promise<void>;
  /** Removes everything `start` and `setUp` ever made on this host. */
  destroy(): Promise<void>;
}

/** A volume of a VMI as a file that QEMU can open. */
export interface PreparedVolume {
  /** Volume name of the VMI spec. */
  readonly name: string;
  /** Path as QEMU sees it. */
  readonly path: string;
  readonly format: 'raw' | 'qcow2';
  readonly readOnly: boolean;
  readonly sizeBytes: number;
  /** Access modes etc. of the claim, for status.volumeStatus; absent for volumes without claim. */
  readonly claim?: { readonly claimName: string; readonly volumeMode: string; readonly accessModes: readonly string[] };
}

/** Memory of a guest that was saved into a claim. */
export interface SavedState {
  /** As libvirt sees it; nobody writes it. */
  readonly path: string;
  /** Never to be loaded again: from now on the guest's disks are of another moment. Survives a crash once it resolves. */
  spend(): Promise<void>;
}

/** What a guest gets from its node besides disks; paths as QEMU sees them. */
export interface PreparedFiles {
  /** Directories that virtiofs shares, by the name that filesystem and volume have. */
  readonly shares: readonly { readonly name: string; readonly path: string }[];
  /** Directory that keeps EFI variables and the TPM's state from one start to the next. */
  readonly statePath?: string;
  /** Kernel and initial file system that are booted instead of a disk. */
  readonly kernelBoot?: { readonly kernel?: string; readonly initrd?: string };
  /** Table files that the firmware shows to the guest. */
  readonly acpiTables?: { readonly slic?: string };
}

/** A volume of a running guest that goes on in another claim. */
export interface ClaimSwap {
  /** Name in the VMI. */
  readonly volume: string;
  readonly from: string;
  readonly to: string;
}

/**
 * Claims that take the place of others under a running guest (ADR 0018). Until `commit` the content is in the old claim,
 * and the new one is of no use to anybody; afterwards it is in the new one. Idempotent; safe to repeat after a crash.
 */
export interface ClaimSwaps {
  /** Lets the pod write the new claim too. Throws HostError with a remedy. */
  open(vmi: VirtualMachineInstance, swap: ClaimSwap, pod: Pod, sandbox: Sandbox, signal: AbortSignal): Promise<{ path: string }>;
  /** File of the new claim; undefined when it cannot be on this node. */
  pathOf(vmi: VirtualMachineInstance, swap: ClaimSwap, signal: AbortSignal): Promise<string | undefined>;
  /** Bytes that the new claim has. */
  sizeOf(vmi: VirtualMachineInstance, swap: ClaimSwap, signal: AbortSignal): Promise<number>;
  /** A copy is about to begin, or to begin again: the new claim is made as large as the disk that is copied, and empty. */
  restart(vmi: VirtualMachineInstance, swap: ClaimSwap, podUid: string, signal: AbortSignal): Promise<void>;
  /** The new claim has, and will have, all that the guest writes. */
  commit(vmi: VirtualMachineInstance, swap: ClaimSwap, sandbox: Sandbox, signal: AbortSignal): Promise<void>;
  /** The guest, which has not let go of the old claim, is to stay there. */
  revoke(vmi: VirtualMachineInstance, swap: ClaimSwap, podUid: string, signal: AbortSignal): Promise<void>;
  /** The guest has let go of the old claim. */
  finish(vmi: VirtualMachineInstance, swap: ClaimSwap, podUid: string, signal: AbortSignal): Promise<void>;
  /** Empties every claim that a guest of this pod was copied into and has not got; nobody may be copying any more. */
  abandon(podUid: string): Promise<void>;
}

/** Disks of VMIs on this node. Idempotent; every method may be repeated after a crash. */
export interface VolumeManager {
  /** Runs the provisioner and garbage collection until aborted. */
  run(signal: AbortSignal): Promise<void>;
  /** Makes every volume of the VMI readable (and writable where meant) by the sandbox's uid. Throws HostError with a remedy. */
  prepare(vmi: VirtualMachineInstance, pod: Pod, sandbox: Sandbox, signal: AbortSignal): Promise<readonly PreparedVolume[]>;
  /** Everything else that the guest reads from its node; may be repeated, also while the guest runs. */
  prepareFiles(vmi: VirtualMachineInstance, pod: Pod, sandbox: Sandbox, signal: AbortSignal): Promise<PreparedFiles>;
  /** Like `prepare` for one hotplugged volume, which `prepare` leaves out. */
  plug(
    vmi: VirtualMachineInstance,
    volume: kubevirt.Volume,
    pod: Pod,
    sandbox: Sandbox,
    signal: AbortSignal,
  ): Promise<PreparedVolume>;
  /** Takes one hotplugged volume away from the pod, whose guest has let it go. */
  unplug(
    volume: { readonly namespace: string; readonly name: string; readonly claimName?: string },
    podUid: string,
    signal: AbortSignal,
  ): Promise<void>;
  /** The memory state in a claim, readable by the sandbox's uid; undefined when it was used up. */
  savedState(
    vmi: VirtualMachineInstance,
    claimName: string,
    pod: Pod,
    sandbox: Sandbox,
    signal: AbortSignal,
  ): Promise<SavedState | undefined>;
  /** Releases what `prepare` and `plug` made for this pod; claims stay. */
  release(podUid: string): Promise<void>;
  /** Absent where the claims of running guests cannot be changed. */
  readonly swaps?: ClaimSwaps;
}

/** A disk of a guest that is about to move, as the source's node describes it. */
export interface OfferedDisk {
  /** Volume name of the VMI spec. */
  readonly name: string;
  /**
   * `shared`: the target opens the same file; `copied`: its content is sent; `remade`: read-only, made anew from the VMI;
   * `state`: no disk but a directory of the firmware, whose content travels with the guest (see `prepareFiles`).
   */
  readonly transfer: 'shared' | 'copied' | 'remade' | 'state';
  /** Size that the guest sees. */
  readonly virtualSizeBytes: number;
  /** What it takes of the source's storage, which is what the target needs. */
  readonly allocatedBytes?: number;
  readonly claimName?: string;
}

/** Disks of guests that come from, or go to, another node (ADR 0017). Idempotent; safe to repeat after a crash. */
export interface MovingVolumes {
  /** At the source: every disk of the running guest, hotplugged ones too. Throws HostError with a remedy when one cannot move. */
  offer(vmi: VirtualMachineInstance, podUid: string, signal: AbortSignal): Promise<readonly OfferedDisk[]>;
  /**
   * At the target: a file for each offered disk, which counts for nothing yet. A copied one has the offered size and is empty;
   * a shared one still belongs to the source's pod. From then on `prepareFiles` finds what firmware keeps.
   */
  receive(
    vmi: VirtualMachineInstance,
    pod: Pod,
    sandbox: Sandbox,
    disks: readonly OfferedDisk[],
    signal: AbortSignal,
  ): Promise<readonly PreparedVolume[]>;
  /** At the source, when the guest is given away and its QEMU is dead: its pod writes no disk any more. */
  handOver(
    vmi: VirtualMachineInstance,
    podUid: string,
    target: { readonly node: string; readonly podUid: string },
  ): Promise<void>;
  /** At the target, when the guest is ours: what was received counts from now on. Resolves when that survives a crash. */
  accept(podUid: string): Promise<void>;
  /** At the target, when the guest is not ours: removes what was received. */
  discard(podUid: string): Promise<void>;
}

/** Networks of guests that come from, or go to, another node (ADR 0017). */
export interface MovingNetwork {
  /** Like `setUp`, with the addresses the guest has at its source; nothing leads to the pod before `takeOver`. */
  setUpWaiting(pod: Pod, vmi: VirtualMachineInstance, sandbox: Sandbox, signal: AbortSignal): Promise<PodNetworkStatus>;
  /** At the target, which is about to ask for the guest: what `takeOver` needs and nobody notices. May be left out. */
  expect(podUid: string, signal: AbortSignal): Promise<void>;
  /** At the target: from now on the pod's addresses are here, and other nodes are told. */
  takeOver(podUid: string, signal: AbortSignal): Promise<void>;
  /** At the source: what still comes for the pod goes on to the target's node. Undone by `tearDown`. */
  handOver(podUid: string, targetLink: readonly string[], signal: AbortSignal): Promise<void>;
}

/** Runs one image of the platform as processes on this node; chosen by the image of the pod's first container. */
export interface PodRunner {
  /** For example `slipway/virt-launcher`. */
  readonly image: string;
  /** Brings the pod to what its spec asks for; called again on every change of the pod. */
  sync(pod: Pod, signal: AbortSignal): Promise<void>;
  /** The pod is being deleted: stop within its grace period, clean up, then delete the pod object with grace 0. */
  terminate(pod: Pod, signal: AbortSignal): Promise<void>;
}
