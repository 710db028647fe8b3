import { truncate } from 'node:fs/promises';
import type { Pod, VirtualMachineInstance } from '@slipway/api';
import { badRequest } from '@slipway/apimachinery';
import type { Sandbox, VolumeManager } from '../contracts.ts';
import type { DomainRef, LibvirtConnection } from '../libvirt/index.ts';

export interface MemoryDumpDeps {
  readonly volumes: Pick<VolumeManager, 'plug' | 'unplug'>;
  readonly pod: Pod;
  readonly sandbox: Sandbox;
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
  { volumes, pod, sandbox, libvirt, domain }: MemoryDumpDeps,
  vmi: VirtualMachineInstance,
  claimName: string,
  signal: AbortSignal,
): Promise<void> {
  const volume = { name: VOLUME, persistentVolumeClaim: { claimName } };
  const prepared = await volumes.plug(vmi, volume, pod, sandbox, signal);
  try {
    if (prepared.format !== 'raw') throw badRequest(`Claim ${claimName} is a clone; a memory dump needs an empty claim`);
    if (prepared.readOnly) throw badRequest(`Claim ${claimName} can only be read`);
    await libvirt.dumpMemory(domain, prepared.path);
    // whoever reads the claim expects its whole size
    await truncate(prepared.path, prepared.sizeBytes);
  } finally {
    const { namespace = '' } = vmi.metadata;
    await volumes.unplug({ namespace, name: VOLUME, claimName }, pod.metadata.uid ?? '', signal);
  }
}
