import { isSharedVolumeUid } from '@slipway/api';
import { giveDisk, shareDisk } from './disk-owner.ts';
import type { LayeredVolume, LayerStore } from './layer-store.ts';
import { checkNothingLeft } from './left-writers.ts';
import { settleVolume } from './settle-volume.ts';
import type { Attachment, VolumeRecord } from './volume-record.ts';
import type { VolumeTurns } from './volume-turns.ts';
import { otherWriters, withoutWriter, withWriter, writersOf } from './writers.ts';

export interface VolumeAttachmentsDeps {
  /** Tells pods of this node from those of others; needed where volumes are shared. */
  readonly nodeName?: string | undefined;
  /** Uids of the pods of other nodes; without it all of them count as being there. */
  readonly podsElsewhere?: ((signal: AbortSignal) => Promise<ReadonlySet<string>>) | undefined;
  readonly turns: VolumeTurns;
  /** Layers of the pool that has the volume. */
  readonly layers: (volumeUid: string) => LayerStore;
  readonly read: (volumeUid: string) => Promise<VolumeRecord | undefined>;
  readonly get: (volumeUid: string) => Promise<VolumeRecord>;
  readonly volume: (volumeUid: string, record: VolumeRecord) => LayeredVolume;
  /** Told that a disk has been let go. */
  readonly onRelease: () => void;
}

/** Gives disks to the pods that write them, and takes them back. */
export class VolumeAttachments {
  private readonly deps: VolumeAttachmentsDeps;

  constructor(deps: VolumeAttachmentsDeps) {
    this.deps = deps;
  }

  /**
   * Lets a pod write: one alone, or several that share the disk. Throws `VolumeInUse` when another has it; `isGone` says
   * whether that pod still exists.
   */
  async attach(
    volumeUid: string,
    wanted: Attachment,
    isGone: (podUid: string) => boolean,
    signal: AbortSignal,
  ): Promise<VolumeRecord> {
    const { nodeName, turns, layers, get } = this.deps;
    const attachment = isSharedVolumeUid(volumeUid) && nodeName !== undefined ? { ...wanted, node: nodeName } : wanted;
    return turns.exclusively(volumeUid, async () => {
      const found = await get(volumeUid);
      const volume = this.deps.volume(volumeUid, found);
      const { directory, write } = volume;
      const isGoneAnywhere = await this.goneAnywhere(found, isGone, signal);
      const others = otherWriters(found, attachment, isGoneAnywhere);
      await checkNothingLeft({ directory, record: found, attachment, others });
      const isInUse = others.length > 0 || writersOf(found).some(({ podUid }) => podUid === attachment.podUid);
      // a guest may be running: then the names that its QEMU knows stay
      const record = isInUse ? found : await settleVolume(volume);
      const writable = record.isFrozen ? await layers(volumeUid).thaw({ ...volume, record }, signal) : record;
      const attached = withWriter(writable, attachment, others);
      await write(attached);
      await (attachment.isShared ? shareDisk(directory, attached) : giveDisk(directory, attached, attachment.uid));
      return attached;
    });
  }

  /** The object of a pod of another node goes when the pod has ended there, or has been fenced. */
  private async goneAnywhere(
    record: VolumeRecord,
    isGone: (podUid: string) => boolean,
    signal: AbortSignal,
  ): Promise<(writer: Attachment) => boolean> {
    const { nodeName, podsElsewhere } = this.deps;
    const isForeign = ({ node }: Attachment): boolean => node !== undefined && node !== nodeName;
    const concerned = [...writersOf(record), ...(record.heir ? [record.heir] : [])];
    const present = concerned.some(isForeign) ? await podsElsewhere?.(signal) : undefined;
    return (writer) => (isForeign(writer) ? present !== undefined && !present.has(writer.podUid) : isGone(writer.podUid));
  }

  /** Takes the disk away from the pod; nothing happens when it has it no more. */
  async detach(volumeUid: string, podUid: string): Promise<void> {
    const { read, turns } = this.deps;
    const isHeld = async (): Promise<boolean> => {
      const record = await read(volumeUid);
      if (record === undefined || record.incoming !== undefined) return false;
      return writersOf(record).some((writer) => writer.podUid === podUid);
    };
    await turns.inTurn(volumeUid, async () => {
      // the lock among nodes is dear, and a pod that ends asks for every volume
      if (await isHeld()) await turns.amongNodes(volumeUid, () => this.takeBack(volumeUid, podUid));
    });
  }

  private async takeBack(volumeUid: string, podUid: string): Promise<void> {
    const { get, volume, onRelease } = this.deps;
    const left = volume(volumeUid, withoutWriter(await get(volumeUid), podUid));
    if (left.record.writer !== undefined) return left.write(left.record);
    const free = await settleVolume(left);
    await giveDisk(left.directory, free, 0);
    await left.write(free);
    onRelease();
  }
}
