import { lstat, mkdir, readdir, rm } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { isSharedVolumeUid } from '@slipway/api';
import { VolumeError } from '../volume-error.ts';
import { exists, makeHole, ownDirectory, syncDirectory } from '../volume-files.ts';
import {
  type Attachment,
  DISK_NAME,
  FILES_DIRECTORY,
  filesName,
  filesOfHeir,
  RECORD_NAME,
  type VolumeRecord,
} from '../volume-record.ts';
import type { HeldVolume, VolumeStore } from '../volume-store.ts';
import { inherited, withoutWriter, writersOf } from '../writers.ts';

/** Where the content of a volume is going to be, with which pod. */
export interface Target {
  readonly node: string;
  readonly podUid: string;
}

/** At the source: notes that the content of a volume of this node goes with the guest, if it goes. */
export async function offerContent(store: VolumeStore, volumeUid: string, podUid: string): Promise<void> {
  await store.exclusively(volumeUid, async (volume) => {
    const { record } = volume;
    const writer = record?.writer;
    if (record === undefined || writer?.podUid !== podUid)
      throw new VolumeError('VolumeInUse', `The volume is not attached to pod ${podUid}`);
    if (!writer.isLeaving) await volume.write({ ...record, writer: { ...writer, isLeaving: true } });
  });
}

/** At the target, before it is decided where the volume comes: what is left of an earlier guest makes way. */
export async function makeWayFor(store: VolumeStore, volumeUid: string, podUid: string): Promise<void> {
  await store.exclusively(volumeUid, async (volume) => {
    if (volume.record?.incoming?.podUid === podUid) return;
    await makeWay(volume);
    await store.pools.forget(volumeUid);
  });
}

/** At the source: the stale copy goes, when its volume belongs to another node. True when there was one. */
export async function removeGiven(store: VolumeStore, volumeUid: string): Promise<boolean> {
  if ((await store.read(volumeUid))?.given === undefined) return false;
  const isRemoved = await store.exclusively(volumeUid, async ({ directory, record }) => {
    if (record?.given === undefined) return false; // it is coming back
    await rm(directory, { recursive: true, force: true });
    await store.pools.forget(volumeUid);
    return true;
  });
  if (isRemoved) await store.collectLayers();
  return isRemoved;
}

/** At the target: an empty disk of this size, which counts for nothing. One that an earlier attempt made stays as it is. */
export async function receiveContent(store: VolumeStore, volumeUid: string, pod: Attachment, sizeBytes: number): Promise<void> {
  await store.exclusively(volumeUid, async (volume) => {
    const { directory, record: found } = volume;
    if (found?.incoming?.podUid !== pod.podUid) await makeWay(volume);
    await mkdir(directory, { recursive: true, mode: 0o700 });
    const record: VolumeRecord = {
      ...{ format: 'raw', virtualSizeBytes: sizeBytes, chain: [], state: 'ready' },
      ...{ writer: pod, incoming: { podUid: pod.podUid } },
    };
    // first what it is, so that whatever a crash leaves is known for that
    await volume.write(record);
    await makeDisk(join(directory, DISK_NAME), sizeBytes);
    await volume.giveTo(record, pod.uid);
    await syncDirectory(directory);
    await syncDirectory(dirname(directory));
  });
}

/** Only what is left of a guest that went, or of one that did not come in the end. */
async function makeWay({ directory, record }: HeldVolume): Promise<void> {
  const isLeft = record === undefined ? await isEmpty(directory) : (record.incoming ?? record.given) !== undefined;
  if (!isLeft)
    throw new VolumeError(
      'VolumeExists',
      `This node has a volume in ${directory} already: if it is not needed any more, remove the directory by hand`,
    );
  await rm(directory, { recursive: true, force: true });
}

async function isEmpty(directory: string): Promise<boolean> {
  const names = await readdir(directory).catch(() => []);
  return names.every((name) => name === `${RECORD_NAME}.new`);
}

async function makeDisk(path: string, sizeBytes: number): Promise<void> {
  const found = await lstat(path).catch(() => undefined);
  if (found?.size === sizeBytes) return;
  await rm(path, { force: true });
  await makeHole(path, sizeBytes);
}

/** At the target: from now on no third pod gets the disk, which still is the other pod's. */
export async function expectVolume(
  store: VolumeStore,
  volumeUid: string,
  pod: Attachment,
  from: readonly string[],
): Promise<VolumeRecord> {
  return store.exclusively(volumeUid, async (volume) => {
    const record = required(volume.record, volumeUid);
    const writers = writersOf(record);
    if (writers.some(({ podUid }) => podUid === pod.podUid)) return record; // handed over already
    const source = writers.find(({ podUid }) => from.includes(podUid));
    if (source === undefined)
      throw new VolumeError('VolumeInUse', 'The volume is not in use by the pod whose guest is to come here');
    const expected = { ...record, heir: pod };
    await volume.write(expected);
    if (!source.isShared) await volume.giveTo(expected, source.uid);
    return expected;
  });
}

/** At the target: directory for what the firmware brings along; the source's own one stays as it is meanwhile. */
export async function incomingFiles(store: VolumeStore, volumeUid: string, { podUid, uid }: Attachment): Promise<string> {
  return store.exclusively(volumeUid, async ({ directory, record }) => {
    const known = required(record, volumeUid);
    const isAhead = known.heir?.podUid === podUid;
    return ownDirectory(join(directory, isAhead ? filesOfHeir(podUid) : filesName(known)), uid);
  });
}

/** At the source, whose guest is dead: the pod writes this volume no more. Each case is one write of the record. */
export async function handOverVolume(store: VolumeStore, volumeUid: string, podUid: string, target: Target): Promise<void> {
  const found = await store.read(volumeUid);
  const writer = found && writersOf(found).find((one) => one.podUid === podUid);
  if (found === undefined || writer === undefined) return;
  if (!isSharedVolumeUid(volumeUid) && !writer.isLeaving) return store.detach(volumeUid, podUid);
  const isOurs = await store.exclusively(volumeUid, async (volume) => {
    const record = required(volume.record, volumeUid);
    if (!isSharedVolumeUid(volumeUid)) {
      const given = { ...withoutWriter(record, podUid), given: target };
      await volume.write(given);
      await volume.giveTo(given, 0);
      await syncDirectory(volume.directory);
      return true;
    }
    const { heir } = record;
    if (heir?.podUid !== target.podUid) return false;
    const next = { ...inherited(record, podUid), ...(await filesBrought(volume, heir)) };
    await volume.write(next);
    if (!heir.isShared) await volume.giveTo(next, heir.uid);
    await syncDirectory(volume.directory);
    return true;
  });
  // nobody waits for it there
  if (!isOurs) await store.detach(volumeUid, podUid);
}

async function filesBrought({ directory }: HeldVolume, { podUid }: Attachment): Promise<Pick<VolumeRecord, 'files'>> {
  const files = filesOfHeir(podUid);
  return (await exists(join(directory, files))) ? { files } : {};
}

/** At the target: what has come counts. Throws when the volume has not been handed over. */
export async function acceptVolume(store: VolumeStore, volumeUid: string, podUid: string): Promise<void> {
  // only what is expected for this pod concerns it: the guest stands still while volumes are locked
  const found = await store.read(volumeUid);
  const isOurs = found !== undefined && [found.heir, found.incoming, ...writersOf(found)].some((one) => one?.podUid === podUid);
  if (!isOurs) return;
  await store.exclusively(volumeUid, async (volume) => {
    const { directory, record } = volume;
    if (record === undefined) return;
    if (record.heir?.podUid === podUid)
      throw new VolumeError('VolumeInUse', `Volume ${volumeUid} has not been handed over to pod ${podUid}`);
    if (record.incoming?.podUid === podUid) {
      const { incoming: _, ...accepted } = record;
      await volume.write(accepted);
      await syncDirectory(directory);
      return;
    }
    const writer = writersOf(record).find((one) => one.podUid === podUid);
    if (writer === undefined || !isSharedVolumeUid(volumeUid)) return;
    // the other agent may have been killed before it came to that
    if (!writer.isShared) await volume.giveTo(record, writer.uid);
    if (record.files !== undefined) await removeOldFiles(directory, record.files);
  });
}

async function removeOldFiles(directory: string, files: string): Promise<void> {
  for (const name of await readdir(directory))
    if (name.startsWith(FILES_DIRECTORY) && name !== files) await rm(join(directory, name), { recursive: true, force: true });
}

/** At the target: nothing comes. What has been accepted stays. True when a volume was removed. */
export async function discardVolume(store: VolumeStore, volumeUid: string, podUid: string): Promise<boolean> {
  const found = await store.read(volumeUid);
  if (found?.incoming?.podUid !== podUid && found?.heir?.podUid !== podUid) return false;
  return store.exclusively(volumeUid, async (volume) => {
    const { directory, record } = volume;
    if (record?.incoming?.podUid === podUid) {
      await rm(directory, { recursive: true, force: true });
      return true;
    }
    if (record?.heir?.podUid !== podUid) return false;
    const { heir: _, ...kept } = record;
    await volume.write(kept);
    if (!kept.writer?.isShared) await volume.giveTo(kept, kept.writer?.uid ?? 0);
    await rm(join(directory, filesOfHeir(podUid)), { recursive: true, force: true });
    return false;
  });
}

function required(record: VolumeRecord | undefined, volumeUid: string): VolumeRecord {
  if (record === undefined) throw new VolumeError('VolumeMissing', `The directory of volume ${volumeUid} is gone from this node`);
  return record;
}
