import { VolumeError } from './volume-error.ts';
import type { Attachment, VolumeRecord } from './volume-record.ts';

/**
 * Pods besides this one that have the disk. Throws `VolumeInUse` unless there are none, or all of them and this one share
 * it, which a disk in layers cannot be. Pure.
 */
export function otherWriters(
  record: VolumeRecord,
  attachment: Attachment,
  isGone: (writer: Attachment) => boolean,
): readonly Attachment[] {
  const others = writersOf(record).filter((one) => one.podUid !== attachment.podUid && !isGone(one));
  const [other = heirAgainst(record, attachment, isGone)] = others;
  if (other === undefined) return [];
  if (attachment.isForOneNode && others.some(({ node }) => node !== attachment.node))
    throw new VolumeError(
      'VolumeInUse',
      `Volume is already used by ${nameOf(other)} on node ${other.node}, and its claim is for one node: ask for ReadWriteMany`,
    );
  if (!attachment.isShared || ![other, ...others].every(({ isShared }) => isShared))
    throw new VolumeError(
      'VolumeInUse',
      `Volume is already used by ${nameOf(other)}: stop that first, take a claim of its own here, or make the disk shareable in both VMs`,
    );
  return others;
}

/** A guest that is moving: while it does, its disk is free for nobody, whatever has become of the pod that it leaves. */
function heirAgainst(
  record: VolumeRecord,
  { podUid }: Attachment,
  isGone: (writer: Attachment) => boolean,
): Attachment | undefined {
  const { heir } = record;
  const isItsOwn = writersOf(record).some((writer) => writer.podUid === podUid);
  return heir === undefined || isItsOwn || isGone(heir) ? undefined : heir;
}

/** The record with this pod as one that writes, besides those. Throws when a disk is to be shared that cannot be. Pure. */
export function withWriter(record: VolumeRecord, attachment: Attachment, others: readonly Attachment[]): VolumeRecord {
  if (attachment.isShared && record.format !== 'raw')
    throw new VolumeError(
      'VolumeNotShareable',
      'The disk is an overlay of an image or a snapshot, which one VM alone can write: share a claim that was blank or imported',
    );
  // a pod that asks once more still takes the content along
  const { isLeaving } = writersOf(record).find(({ podUid }) => podUid === attachment.podUid) ?? {};
  return withWriters(record, [...others, { ...attachment, ...(isLeaving && { isLeaving }) }]);
}

/** The record without this pod. Pure. */
export function withoutWriter(record: VolumeRecord, podUid: string): VolumeRecord {
  return withWriters(
    record,
    writersOf(record).filter((writer) => writer.podUid !== podUid),
  );
}

/** The record after the guest of this pod has moved to its heir, which writes from now on. Pure. */
export function inherited(record: VolumeRecord, podUid: string): VolumeRecord {
  const { heir, ...bare } = record;
  const writers = writersOf(record).map((writer) => (writer.podUid === podUid && heir !== undefined ? heir : writer));
  return withWriters(bare, writers);
}

/** A pod as people know it. Pure. */
export const nameOf = ({ holder, podUid }: Attachment): string => holder ?? `pod ${podUid}`;

/** Every pod that may write. Pure. */
export const writersOf = ({ writer, sharers = [] }: VolumeRecord): readonly Attachment[] =>
  writer === undefined ? [] : [writer, ...sharers];

function withWriters(record: VolumeRecord, writers: readonly Attachment[]): VolumeRecord {
  const { writer: _writer, sharers: _sharers, ...bare } = record;
  const [writer, ...sharers] = writers;
  return { ...bare, ...(writer && { writer }), ...(sharers.length > 0 && { sharers }) };
}
