import { chmod, chown } from 'node:fs/promises';
import { join } from 'node:path';
import { VolumeError } from './volume-error.ts';
import { linkOnce, makeDirectory, seal, syncDirectory } from './volume-files.ts';
import { activeName, type Attachment, DISK_NAME, type Layer, pivotedRecord, type VolumeRecord } from './volume-record.ts';

/** What a snapshot needs of the guests that run on this node. */
export interface LiveDisks {
  /** Nothing of this pod is left, and nobody writes in its name. */
  isGone(podUid: string): boolean;
  /** Which of these files the guest of the pod writes now; undefined when it has none of them or is no guest. */
  writtenFile(podUid: string, paths: readonly string[]): Promise<string | undefined>;
  /** Makes the guest write to `to`, an empty overlay above `from`, at one moment. */
  pivot(podUid: string, from: string, to: string): Promise<void>;
}

/** What a growing volume needs of them. */
export interface GrowingDisks {
  /** Grows the disk in this file for the guest that writes it. False when the pod runs no guest that has it. */
  resize(podUid: string, path: string, sizeBytes: number): Promise<boolean>;
}

export interface PivotDeps {
  readonly volumeUid: string;
  readonly writer: Attachment;
  readonly directory: string;
  readonly layers: string;
  readonly live: LiveDisks;
  readonly newUid: () => string;
  write(record: VolumeRecord): Promise<void>;
  /** An empty overlay of this name over the chain. */
  makeOverlay(name: string, chain: readonly Layer[]): Promise<void>;
}

/**
 * Makes a running guest leave its disk behind as a layer and go on in an overlay. Each step is recorded before it is
 * done, so that after a crash of this agent the same call finishes it; returns the record that is to be written then.
 */
export async function pivotGuest(deps: PivotDeps, record: VolumeRecord): Promise<VolumeRecord> {
  const { directory, live, writer } = deps;
  const from = join(directory, activeName(record));
  const begun = record.pivot;
  const paths = [from, ...(begun === undefined ? [] : [join(directory, begun.active)])];
  const written = await live.writtenFile(writer.podUid, paths);
  if (written === undefined)
    throw new VolumeError('VolumeInUse', `Pod ${writer.podUid} uses the disk and is no running guest: wait until it has ended`);
  const uid = deps.newUid();
  const pivot = begun ?? { layer: `layer-${uid}.img`, active: `live-${uid}.img` };
  if (begun === undefined) await deps.write({ ...record, pivot });
  const to = join(directory, pivot.active);
  if (written !== to) {
    await linkOnce(from, join(deps.layers, pivot.layer));
    await linkOnce(from, join(directory, pivot.layer));
    await deps.makeOverlay(pivot.active, [{ name: pivot.layer, format: record.format }, ...record.chain]);
    await chown(to, writer.uid, writer.uid);
    await chmod(to, 0o644);
    await syncDirectory(directory);
    await live.pivot(writer.podUid, from, to);
  }
  await seal(join(directory, pivot.layer));
  return pivotedRecord({ ...record, pivot });
}

/** A directory whose disk is this layer. */
export async function snapshotDirectory(place: {
  readonly directory: string;
  readonly layers: string;
  readonly layer: string;
  readonly chain: readonly Layer[];
}): Promise<void> {
  const { directory, layers, layer, chain } = place;
  await makeDirectory(directory, 0o700);
  await linkOnce(join(layers, layer), join(directory, DISK_NAME));
  for (const { name } of chain) await linkOnce(join(layers, name), join(directory, name));
  await syncDirectory(directory);
}
