import type { VirtualMachineInstance } from '@slipway/api';
import { badRequest } from '@slipway/apimachinery';
import type { PreparedVolume } from '../contracts.ts';
import type { DomainRef, LibvirtConnection } from '../libvirt/index.ts';
import { writeClaim, type WriteClaimDeps } from '../volumes/write-claim.ts';

export interface MemoryDumpDeps extends WriteClaimDeps {
  readonly libvirt: Pick<LibvirtConnection, 'dumpMemory'>;
  readonly domain: DomainRef;
}

/** Name of the volume under which the claim is in the sandbox while the dump is written. */
const VOLUME = 'memory-dump';

/**
 * Writes the guest's memory, as an ELF core, over the content of a claim. The guest stands still meanwhile. Rejects when
 * the claim cannot take it; what it held before is lost then, too.
 */
export async function dumpMemory(
  { libvirt, domain, ...deps }: MemoryDumpDeps,
  vmi: VirtualMachineInstance,
  claimName: string,
  signal: AbortSignal,
): Promise<void> {
  const write = async ({ format, readOnly, path }: PreparedVolume): Promise<void> => {
    if (format !== 'raw') throw badRequest(`Claim ${claimName} is a clone; a memory dump needs an empty claim`);
    if (readOnly) throw badRequest(`Claim ${claimName} can only be read`);
    await libvirt.dumpMemory(domain, path);
  };
  await writeClaim(deps, vmi, { name: VOLUME, claimName }, write, signal);
}
