import type { GuestStats } from '@slipway/api';
import type { DomainRef, LibvirtConnection } from '../libvirt/index.ts';
import { GuestAgent } from './guest-agent.ts';

export interface StatsQuestion {
  /** The guest's agent answers: it is asked for file systems and load. */
  readonly asksAgent: boolean;
  /** The guest is on its way to another node. */
  readonly isMigrating: boolean;
}

/** What libvirt counts of the guest, and what its agent knows. */
export async function guestStats(
  libvirt: LibvirtConnection,
  domain: DomainRef,
  { asksAgent, isMigrating }: StatsQuestion,
): Promise<GuestStats> {
  const agent = asksAgent ? new GuestAgent(libvirt, domain) : undefined;
  const [[stats], filesystems, load, job] = await Promise.all([
    libvirt.domainStats(),
    agent?.fileSystems(),
    agent?.load(),
    isMigrating ? libvirt.jobStats(domain).catch(() => undefined) : undefined, // it may have ended just then
  ]);
  return {
    domain: Object.fromEntries(stats ?? []),
    filesystems: filesystems?.items ?? [],
    ...(load !== undefined && { load }),
    ...(job !== undefined && job.size > 0 && { job: Object.fromEntries(job) }),
  };
}
