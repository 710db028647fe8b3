import type { GuestStats } from '@slipway/api';
import type { DomainRef, LibvirtConnection } from '../libvirt/index.ts';
import { GuestAgent } from './guest-agent.ts';

/** What libvirt counts of the guest, and with `asksAgent` the file systems that its agent knows. */
export async function guestStats(libvirt: LibvirtConnection, domain: DomainRef, asksAgent: boolean): Promise<GuestStats> {
  const [[stats], filesystems] = await Promise.all([
    libvirt.domainStats(),
    asksAgent ? new GuestAgent(libvirt, domain).fileSystems() : undefined,
  ]);
  return { domain: Object.fromEntries(stats ?? []), filesystems: filesystems?.items ?? [] };
}
