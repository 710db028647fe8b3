import type { VirtualMachineInstance } from '@slipway/api';
import type { DomainRef, LibvirtConnection } from '../libvirt/index.ts';
import type { LiveDomain } from './live-domain.ts';

/** A guest at one moment. */
export interface GuestNow {
  readonly vmi: VirtualMachineInstance;
  readonly live: LiveDomain;
  readonly libvirt: LibvirtConnection;
  readonly domain: DomainRef;
}

/** A pure change of the newest VMI. */
export type InstanceChange = (vmi: VirtualMachineInstance) => VirtualMachineInstance;

/** What one look at a part of a guest has led to. */
export interface SyncResult {
  readonly changes: readonly InstanceChange[];
  /** For people: what could not be done, and what helps. */
  readonly problems: readonly string[];
  /** Look again after this time although nothing happens; undefined: an event will tell. */
  readonly retryInMs: number | undefined;
  /** The domain is not what it was. */
  readonly hasChanged: boolean;
}
