import { constants } from 'node:fs';
import { open } from 'node:fs/promises';
import type { VirtualMachineInstance } from '@slipway/api';
import { badRequest, StatusError } from '@slipway/apimachinery';
import type { PreparedVolume } from '../contracts.ts';
import { DOMAIN_STATE, type DomainRef, type LibvirtConnection } from '../libvirt/index.ts';
import { writeClaim, type WriteClaimDeps } from '../volumes/write-claim.ts';

export interface SaveDeps extends WriteClaimDeps {
  readonly libvirt: Pick<LibvirtConnection, 'save' | 'state'>;
  readonly domain: DomainRef;
}

/** Name of the volume under which the claim is in the sandbox while the state is written. */
const VOLUME = 'memory-state';

/**
 * Writes memory and devices of the guest into a claim of its own and switches the guest off. Resolves when the state is on
 * the disk. A guest whose state cannot be written runs on.
 */
export async function saveMemory(
  { libvirt, domain, ...deps }: SaveDeps,
  vmi: VirtualMachineInstance,
  claimName: string,
  signal: AbortSignal,
): Promise<void> {
  const write = async ({ format, readOnly, path }: PreparedVolume): Promise<void> => {
    if (format !== 'raw' || readOnly) throw badRequest(`Claim ${claimName} is no empty claim of its own`);
    // asked again, because the answer was lost: the guest is off already
    const isOff = (await libvirt.state(domain)).state === DOMAIN_STATE.shutoff;
    if (!isOff) await libvirt.save(domain, path);
    else if (!(await isComplete(path))) throw new StatusError({ code: 409, reason: 'Conflict', message: 'The guest has ended' });
    await keep(path);
  };
  await writeClaim(deps, vmi, { name: VOLUME, claimName }, write, signal);
}

async function keep(path: string): Promise<void> {
  const file = await open(path, constants.O_RDWR | constants.O_NOFOLLOW);
  try {
    await file.sync();
  } finally {
    await file.close();
  }
}

/** libvirt writes this last: a state that was cut off midway begins with another word. */
const COMPLETE = 'LibvirtQemudSave';

/** Whether the file holds a whole state. */
export async function isComplete(path: string): Promise<boolean> {
  const file = await open(path, constants.O_RDONLY | constants.O_NOFOLLOW);
  try {
    const { buffer, bytesRead } = await file.read(Buffer.alloc(COMPLETE.length), 0, COMPLETE.length, 0);
    return bytesRead === COMPLETE.length && buffer.toString('latin1') === COMPLETE;
  } finally {
    await file.close();
  }
}
