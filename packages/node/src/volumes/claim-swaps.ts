import { rm, stat, statfs } from 'node:fs/promises';
import { join } from 'node:path';
import { COPIED_FROM, type PersistentVolume, PersistentVolumeKind, type Pod, type VirtualMachineInstance } from '@slipway/api';
import { keyOf, StatusError } from '@slipway/apimachinery';
import type { Client } from '@slipway/client';
import type { ClaimSwap, ClaimSwaps, Sandbox } from '../contracts.ts';
import { claimAccess } from './claim-access.ts';
import { isOnAllNodes, volumeUidOf } from './local-volume.ts';
import { forgetMark, writeMark } from './moving/received-disk.ts';
import { boundVolume } from './mover-pod-runner.ts';
import { claimFacts } from './prepare-disk.ts';
import { nodeOf } from './provision-plan.ts';
import { VolumeError } from './volume-error.ts';
import { makeHole, resizeRaw } from './volume-files.ts';
import { activeName, checkedUid, DISK_NAME, type VolumeRecord } from './volume-record.ts';
import type { VolumeStore } from './volume-store.ts';
import { withoutWriter, writersOf } from './writers.ts';

export interface ClaimSwapsDeps {
  readonly client: Client;
  readonly store: VolumeStore;
  readonly nodeName: string;
  readonly isPodGone: (podUid: string) => boolean;
  readonly open: () => Promise<void>;
  readonly ownDirectory: (podUid: string, volume: string) => string;
  readonly directory: (podUid: string, volume: string, sandbox: Sandbox) => Promise<string>;
}

const isForbidden = (error: unknown): boolean => error instanceof StatusError && error.code === 403;

function notCopying(record: VolumeRecord): VolumeRecord {
  const { copying: _, ...others } = record;
  return others;
}

/** Claims of one running guest that take the place of others. */
export class LocalClaimSwaps implements ClaimSwaps {
  private readonly deps: ClaimSwapsDeps;

  constructor(deps: ClaimSwapsDeps) {
    this.deps = deps;
  }

  async open(
    vmi: VirtualMachineInstance,
    swap: ClaimSwap,
    pod: Pod,
    sandbox: Sandbox,
    signal: AbortSignal,
  ): Promise<{ path: string }> {
    const { store, isPodGone } = this.deps;
    const { claim, volumeUid, record: before } = await this.claimed(vmi, swap.to, signal);
    const podUid = checkedUid(pod.metadata.uid);
    const isOurs = writersOf(before).some((writer) => writer.podUid === podUid);
    if (!isOurs) await this.checkDestination(vmi, swap, before, signal);
    const { namespace, name } = vmi.metadata;
    const { isForOneNode } = claimAccess(claim.spec?.accessModes ?? []);
    const attachment = { podUid, uid: sandbox.uid, holder: `virtual machine instance ${namespace}/${name}`, isForOneNode };
    const record = await store.attach(volumeUid, attachment, isPodGone, signal);
    return { path: store.activePath(volumeUid, record) };
  }

  async pathOf(vmi: VirtualMachineInstance, swap: ClaimSwap, signal: AbortSignal): Promise<string | undefined> {
    const found = await this.found(vmi, swap.to, signal);
    return found && this.deps.store.activePath(found.volumeUid, found.record);
  }

  async sizeOf(vmi: VirtualMachineInstance, swap: ClaimSwap, signal: AbortSignal): Promise<number> {
    return (await this.claimed(vmi, swap.to, signal)).record.virtualSizeBytes;
  }

  async restart(vmi: VirtualMachineInstance, swap: ClaimSwap, podUid: string, signal: AbortSignal): Promise<void> {
    await this.revoke(vmi, swap, podUid, signal);
    const [source, { volumeUid }] = [await this.claimed(vmi, swap.from, signal), await this.claimed(vmi, swap.to, signal)];
    const { virtualSizeBytes } = source.record;
    const path = this.deps.store.diskPath(volumeUid);
    await resizeRaw(path, 0);
    const { bavail, bsize } = await statfs(path);
    const needed = await this.allocated(source.volumeUid, source.record);
    if (bavail * bsize < needed)
      throw new VolumeError(
        'FailedMount',
        `Claim "${swap.to}" needs ${needed} bytes and its storage has ${bavail * bsize} free: free space there, or name claim "${swap.from}" again`,
      );
    // QEMU copies between disks of one size; the rest of a larger one is added when the copy is complete
    await resizeRaw(path, virtualSizeBytes);
  }

  private async allocated(volumeUid: string, record: VolumeRecord): Promise<number> {
    const BLOCK_BYTES = 512;
    const names = [activeName(record), ...record.chain.map(({ name }) => name)];
    const files = await Promise.all(names.map((name) => stat(join(this.deps.store.directory(volumeUid), name))));
    return Math.min(
      files.reduce((sum, { blocks }) => sum + blocks * BLOCK_BYTES, 0),
      record.virtualSizeBytes,
    );
  }

  async commit(vmi: VirtualMachineInstance, swap: ClaimSwap, sandbox: Sandbox, signal: AbortSignal): Promise<void> {
    const { store, directory } = this.deps;
    const { claim, volume, volumeUid, record } = await this.claimed(vmi, swap.to, signal);
    await resizeRaw(store.activePath(volumeUid, record), record.virtualSizeBytes);
    const mark = { sizeBytes: record.virtualSizeBytes, claim: claimFacts(claim), isClaim: true };
    await writeMark(await directory(sandbox.podUid, swap.volume, sandbox), mark);
    await store.update(volumeUid, (found) => ({ ...notCopying(found), state: 'ready' }));
    await this.say(volume, swap.from, signal);
  }

  async revoke(vmi: VirtualMachineInstance, swap: ClaimSwap, podUid: string, signal: AbortSignal): Promise<void> {
    const found = await this.found(vmi, swap.to, signal);
    if (found === undefined || !writersOf(found.record).some((writer) => writer.podUid === podUid)) return;
    const { volumeUid, volume } = found;
    if (volume.metadata.annotations?.[COPIED_FROM] !== undefined) await this.say(volume, null, signal);
    await forgetMark(this.deps.ownDirectory(podUid, swap.volume));
    await this.deps.store.update(volumeUid, (record) => ({ ...record, state: 'filling', copying: { podUid } }));
  }

  /** So that everybody knows which claim counts when the guest ends. Of a volume that another node made it stays unknown. */
  private async say({ metadata }: PersistentVolume, from: string | null, signal: AbortSignal): Promise<void> {
    const patch = { metadata: { annotations: { [COPIED_FROM]: from } } };
    try {
      await this.deps.client.patch(PersistentVolumeKind, keyOf({ metadata }), patch, { type: 'merge', signal });
    } catch (error) {
      if (!isForbidden(error)) throw error;
    }
  }

  async finish(vmi: VirtualMachineInstance, swap: ClaimSwap, podUid: string, signal: AbortSignal): Promise<void> {
    const source = await this.found(vmi, swap.from, signal);
    if (source !== undefined) await this.deps.store.detach(source.volumeUid, podUid);
  }

  async abandon(podUid: string): Promise<void> {
    const { store, open } = this.deps;
    await open();
    for (const volumeUid of await store.list()) {
      if ((await store.read(volumeUid))?.copying?.podUid !== podUid) continue;
      await store.exclusively(volumeUid, async (held) => {
        const { directory, record } = held;
        if (record?.copying?.podUid !== podUid) return;
        await rm(join(directory, DISK_NAME), { force: true });
        await makeHole(join(directory, DISK_NAME), record.virtualSizeBytes);
        const kept = notCopying(withoutWriter(record, podUid));
        await held.giveTo(kept, 0);
        await held.write({ ...kept, state: 'blank' });
      });
    }
  }

  /** Undefined for what somebody has deleted. */
  private async found(vmi: VirtualMachineInstance, name: string, signal: AbortSignal) {
    return this.claimed(vmi, name, signal).catch((error: unknown) => {
      signal.throwIfAborted();
      if (!(error instanceof VolumeError)) throw error;
      return undefined;
    });
  }

  private async claimed({ metadata }: VirtualMachineInstance, name: string, signal: AbortSignal) {
    const { client, store, open } = this.deps;
    await open();
    const { claim, volume } = await boundVolume(client, { namespace: metadata.namespace ?? '', name }, signal);
    if (!isOnAllNodes(volume) && nodeOf(volume) !== this.deps.nodeName)
      throw new VolumeError(
        'FailedMount',
        `Claim "${name}" is on node ${nodeOf(volume)}, and the guest on ${this.deps.nodeName}: take a claim of this node or of class "shared"`,
      );
    const volumeUid = volumeUidOf(volume);
    return { claim, volume, volumeUid, record: await store.get(volumeUid) };
  }

  /** Nothing that anybody may miss is written over. */
  private async checkDestination(
    vmi: VirtualMachineInstance,
    { from, to }: ClaimSwap,
    record: VolumeRecord,
    signal: AbortSignal,
  ): Promise<void> {
    const { record: source } = await this.claimed(vmi, from, signal);
    if (record.state === 'filling') throw new VolumeError('FailedMount', `The disk of claim "${to}" is still being filled`);
    if (record.format !== 'raw' || record.chain.length > 0)
      throw new VolumeError('VolumeExists', `Claim "${to}" has content of its own: take a blank one`);
    if (record.virtualSizeBytes < source.virtualSizeBytes)
      throw new VolumeError('FailedMount', `Claim "${to}" is smaller than "${from}": request ${source.virtualSizeBytes} bytes`);
  }
}
