import type { VirtualMachineInstance, Pod } from '@slipway/api';
import type { EventRecorder, Logger, TimerClock } from '@slipway/runtime';
import type { MovingNetwork, MovingVolumes, PodNetworkStatus, PreparedFiles } from '../contracts.ts';
import type { DomainRef, LibvirtConnection } from '../libvirt/index.ts';
import type { PeerLink } from '../peer-link/index.ts';
import type { RunningSandbox } from '../sandbox/index.ts';

/** What moves guests between this node and others. */
export interface MigrationDeps {
  readonly link: Pick<PeerLink, 'address' | 'expect' | 'dial'>;
  readonly volumes: MovingVolumes;
  readonly network: MovingNetwork;
  /** Addresses by which other nodes reach this one. */
  readonly linkAddresses: readonly string[];
}

/** One launcher pod and its guest, as a migration sees them. */
export interface MovableGuest {
  readonly nodeName: string;
  readonly clock: TimerClock;
  readonly random: () => number;
  readonly log: Logger;
  readonly events: EventRecorder;
  readonly sandbox: RunningSandbox;
  /** Name of the domain. */
  readonly name: string;
  /** Name of the daemon's socket beneath the private directory. */
  readonly daemonSocket: string;
  readonly pod: () => Pod;
  readonly vmi: () => VirtualMachineInstance;
  readonly isGone: () => boolean;
  /** Resolves at the next change of the pod or the VMI. */
  readonly changed: () => Promise<void>;
  readonly refresh: (signal: AbortSignal) => Promise<void>;
  /** Writes a pure change of the VMI, however long that takes. */
  readonly update: (change: (vmi: VirtualMachineInstance) => VirtualMachineInstance, signal: AbortSignal) => Promise<void>;
  readonly libvirt: () => Promise<LibvirtConnection>;
  readonly killGuest: () => Promise<void>;
  /** Serves the consoles of the guest, which runs here now. May be repeated. */
  readonly openConsoles: () => void;
  /** Whether the guest goes before guests that just run, as one that is being started does. */
  readonly hurry: (isHurrying: boolean) => Promise<void>;
}

/** What the target makes of a guest's files before it comes. */
export interface TargetParts {
  readonly network: PodNetworkStatus;
  readonly prepareFiles: (signal: AbortSignal) => Promise<PreparedFiles>;
}

/** The domain of a guest in its sandbox; undefined when there is none. */
export async function findDomain(libvirt: LibvirtConnection, name: string): Promise<DomainRef | undefined> {
  return (await libvirt.listDomains()).find((domain) => domain.name === name);
}
