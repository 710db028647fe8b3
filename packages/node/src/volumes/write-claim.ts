import { truncate } from 'node:fs/promises';
import type { Pod, VirtualMachineInstance } from '@slipway/api';
import type { PreparedVolume, Sandbox, VolumeManager } from '../contracts.ts';

export interface WriteClaimDeps {
  readonly volumes: Pick<VolumeManager, 'plug' | 'unplug'>;
  readonly pod: Pod;
  readonly sandbox: Sandbox;
}

/**
 * Has a file of the guest's sandbox written over the content of a claim. `name`: of the volume under which the claim is in
 * the sandbox meanwhile. The claim keeps its size, and is taken out again whatever happens.
 */
export async function writeClaim(
  { volumes, pod, sandbox }: WriteClaimDeps,
  vmi: VirtualMachineInstance,
  { name, claimName }: { readonly name: string; readonly claimName: string },
  write: (prepared: PreparedVolume) => Promise<void>,
  signal: AbortSignal,
): Promise<void> {
  const prepared = await volumes.plug(vmi, { name, persistentVolumeClaim: { claimName } }, pod, sandbox, signal);
  try {
    await write(prepared);
    // whoever reads the claim expects its whole size
    await truncate(prepared.path, prepared.sizeBytes);
  } finally {
    const { namespace = '' } = vmi.metadata;
    await volumes.unplug({ namespace, name, claimName }, pod.metadata.uid ?? '', signal);
  }
}
