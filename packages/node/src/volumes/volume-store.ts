import { readdir, readFile, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { isSharedVolumeUid } from '@slipway/api';
import { giveDisk } from './disk-owner.ts';
import { codeOf } from './error-code.ts';
import type { LayeredVolume } from './layer-store.ts';
import { type PoolLayers, poolLayers } from './pools/pool-layers.ts';
import { PoolSet } from './pools/pool-set.ts';
import type { QemuImg } from './qemu-img.ts';
import { ReleaseNotice } from './release-notice.ts';
import type { GrowingDisks, LiveDisks } from './snapshot-volume.ts';
import { VolumeAttachments } from './volume-attachments.ts';
import { type CloneMethod, VolumeCopies } from './volume-copies.ts';
import { VolumeError } from './volume-error.ts';
import { makeDirectory, makeHole, ownDirectory, relink, resizeRaw, writeDurably } from './volume-files.ts';
import {
  activeName,
  type Attachment,
  checkedUid,
  DISK_NAME,
  filesName,
  type Layer,
  parseRecord,
  RECORD_NAME,
  type VolumeRecord,
} from './volume-record.ts';
import { VolumeTurns } from './volume-turns.ts';
import { writersOf } from './writers.ts';

export interface VolumeStoreDeps {
  /** Root of the agent's state. */
  readonly stateDir: string;
  /** Tells pods of this node from those of others; needed where volumes are shared. */
  readonly nodeName?: string;
  /** Uids of the pods of other nodes; without it all of them count as being there. */
  readonly podsElsewhere?: (signal: AbortSignal) => Promise<ReadonlySet<string>>;
  readonly qemuImg: QemuImg;
  /** A new UUID. */
  readonly uid: () => string;
  /** User that merges layers; without it they stay apart. */
  readonly toolUid?: number;
  /** Where volumes are; in the state directory alone unless given. */
  readonly pools?: PoolSet;
}

/** A volume that nobody else changes meanwhile. */
export interface HeldVolume {
  readonly directory: string;
  readonly record: VolumeRecord | undefined;
  write(record: VolumeRecord): Promise<void>;
  /** Makes a user the one that writes the disk; root: nobody. */
  giveTo(record: VolumeRecord, uid: number): Promise<void>;
}

/**
 * Directories of volumes, one per claim uid. Only root can make or rename entries in them, so that no path below can be
 * turned into a link by a guest or a data mover; the one user of a disk reaches it by the group of the directory.
 */
export class VolumeStore {
  readonly pools: PoolSet;
  private readonly layersIn: (root: string) => PoolLayers;
  private readonly copies: VolumeCopies;
  private readonly deps: VolumeStoreDeps;
  private readonly turns: VolumeTurns;
  private readonly attachments: VolumeAttachments;
  private readonly releases = new ReleaseNotice();

  constructor(deps: VolumeStoreDeps) {
    this.deps = deps;
    this.pools = deps.pools ?? new PoolSet({ ...deps, hostPrefix: '' });
    this.layersIn = poolLayers(deps);
    this.turns = new VolumeTurns(this.pools);
    this.attachments = new VolumeAttachments({
      ...{ nodeName: deps.nodeName, podsElsewhere: deps.podsElsewhere, turns: this.turns },
      layers: (volumeUid) => this.layersOf(volumeUid).layers,
      read: (volumeUid) => this.read(volumeUid),
      get: (volumeUid) => this.get(volumeUid),
      volume: (volumeUid, record) => this.volume(volumeUid, record),
      onRelease: () => this.releases.give(),
    });
    this.copies = new VolumeCopies({
      pools: this.pools,
      layers: (volumeUid) => this.layersOf(volumeUid).layers,
      staging: (sourceUid, volumeUid) => this.podDirectory(sourceUid, volumeUid),
      ...{ qemuImg: deps.qemuImg, toolUid: deps.toolUid },
      uid: deps.uid,
      directory: (volumeUid) => this.directory(volumeUid),
      read: (volumeUid) => this.read(volumeUid),
      get: (volumeUid) => this.get(volumeUid),
      write: (volumeUid, record) => this.write(volumeUid, record),
      locked: (first, second, action) => this.turns.exclusively(first, () => this.turns.exclusively(second, action)),
    });
  }

  async open(): Promise<void> {
    await this.pools.open();
    await makeDirectory(join(this.deps.stateDir, 'volumes'), 0o711);
    for (const pool of await this.pools.usable()) await this.layersIn(this.pools.rootOf(pool)).layers.open();
    for (const volumeUid of await this.list())
      await this.finishMerge(volumeUid).catch((error: unknown) => {
        if (!(error instanceof VolumeError)) throw error; // a damaged volume is reported to whoever wants it
      });
  }

  directory(volumeUid: string): string {
    return join(this.pools.rootOf(this.pools.poolOf(volumeUid)), 'volumes', checkedUid(volumeUid));
  }

  /** Directory for the files of a pod that are links to those of the volume. */
  podDirectory(volumeUid: string, podUid: string): string {
    return join(this.pools.rootOf(this.pools.poolOf(volumeUid)), 'podvolumes', checkedUid(podUid));
  }

  /** The same in each pool that can be used now. */
  async podDirectories(podUid: string): Promise<readonly string[]> {
    const pools = await this.pools.usable();
    return pools.map((pool) => join(this.pools.rootOf(pool), 'podvolumes', checkedUid(podUid)));
  }

  private layersOf(volumeUid: string): PoolLayers {
    return this.layersIn(this.pools.rootOf(this.pools.poolOf(volumeUid)));
  }

  diskPath(volumeUid: string): string {
    return join(this.directory(volumeUid), DISK_NAME);
  }

  /** The file of the volume that is written now. */
  activePath(volumeUid: string, record: VolumeRecord): string {
    return join(this.directory(volumeUid), activeName(record));
  }

  /** Volumes in the pools that can be used now. */
  async list(): Promise<readonly string[]> {
    const pools = await this.pools.usable();
    const names = await Promise.all(pools.map((pool) => readdir(join(this.pools.rootOf(pool), 'volumes'))));
    return names.flat().filter((name) => /^[0-9a-f-]{36}$/.test(name));
  }

  /** Undefined when there is no such volume. */
  async read(volumeUid: string): Promise<VolumeRecord | undefined> {
    try {
      return parseRecord(await readFile(join(this.directory(volumeUid), RECORD_NAME), 'utf8'));
    } catch (error) {
      if (codeOf(error) !== 'ENOENT') throw error;
      await this.pools.check(this.pools.poolOf(volumeUid)); // gone, or its pool is not here
      return undefined;
    }
  }

  /** Like `read`, but throws VolumeError when there is no such volume, or not here: it comes or has gone with a guest. */
  async get(volumeUid: string): Promise<VolumeRecord> {
    const record = await this.read(volumeUid);
    if (record === undefined)
      throw new VolumeError('VolumeMissing', `The directory of volume ${volumeUid} is gone from this node`);
    if (record.given !== undefined)
      throw new VolumeError('VolumeMoved', `The volume went to node ${record.given.node} with the guest that uses it`);
    if (record.incoming !== undefined)
      throw new VolumeError('VolumeIncoming', 'The volume is on its way to this node with the guest that uses it');
    return record;
  }

  /** Work on a volume whatever it counts for, while nobody else changes it on any node. */
  exclusively<T>(volumeUid: string, action: (volume: HeldVolume) => Promise<T>): Promise<T> {
    return this.turns.exclusively(volumeUid, async () =>
      action({
        directory: this.directory(volumeUid),
        record: await this.read(volumeUid),
        write: (record) => this.write(volumeUid, record),
        giveTo: (record, uid) => giveDisk(this.directory(volumeUid), record, uid),
      }),
    );
  }

  /** Makes a blank disk of one hole; does nothing when the volume exists. */
  async create(volumeUid: string, sizeBytes: number): Promise<void> {
    await this.turns.exclusively(volumeUid, async () => {
      if ((await this.read(volumeUid)) !== undefined) return;
      const directory = this.directory(volumeUid);
      await makeDirectory(directory, 0o700);
      await makeHole(join(directory, DISK_NAME), sizeBytes);
      await this.write(volumeUid, { format: 'raw', virtualSizeBytes: sizeBytes, chain: [], state: 'blank' });
    });
  }

  /** See VolumeCopies. */
  clone(sourceUid: string, volumeUid: string, sizeBytes: number, signal: AbortSignal): Promise<CloneMethod> {
    return this.copies.clone(sourceUid, volumeUid, sizeBytes, signal);
  }

  /** See VolumeCopies. */
  copy(sourceUid: string, volumeUid: string, sizeBytes: number, signal: AbortSignal): Promise<'copy'> {
    return this.copies.copy(sourceUid, volumeUid, sizeBytes, signal);
  }

  /** See VolumeCopies. */
  snapshot(volumeUid: string, snapshotUid: string, live: LiveDisks, signal: AbortSignal): Promise<number> {
    return this.copies.snapshot(volumeUid, snapshotUid, live, signal);
  }

  /** See VolumeAttachments. */
  attach(volumeUid: string, wanted: Attachment, isGone: (podUid: string) => boolean, signal: AbortSignal): Promise<VolumeRecord> {
    return this.attachments.attach(volumeUid, wanted, isGone, signal);
  }

  /** See VolumeAttachments. */
  detach(volumeUid: string, podUid: string): Promise<void> {
    return this.attachments.detach(volumeUid, podUid);
  }

  /**
   * Directory of the volume's files, for the pod that has it attached: what virtiofs shares and what firmware keeps. The
   * tree gets the pod's user as its owner.
   */
  async filesDirectory(volumeUid: string, { podUid, uid }: Attachment): Promise<string> {
    return this.turns.exclusively(volumeUid, async () => {
      const record = await this.get(volumeUid);
      if (!writersOf(record).some((writer) => writer.podUid === podUid))
        throw new VolumeError('VolumeInUse', 'The volume is not attached to this pod');
      return ownDirectory(join(this.directory(volumeUid), filesName(record)), uid);
    });
  }

  async update(volumeUid: string, change: (record: VolumeRecord) => VolumeRecord): Promise<void> {
    await this.turns.exclusively(volumeUid, async () => this.write(volumeUid, change(await this.get(volumeUid))));
  }

  /** Grows the disk, and tells the guest that writes it; a smaller or equal size changes nothing. */
  async expand(volumeUid: string, sizeBytes: number, live: GrowingDisks, signal: AbortSignal): Promise<void> {
    await this.turns.exclusively(volumeUid, async () => {
      const record = await this.get(volumeUid);
      if (sizeBytes <= record.virtualSizeBytes) return;
      if (record.state === 'filling') throw new VolumeError('VolumeInUse', 'The disk is being filled; it grows afterwards');
      if (record.pivot !== undefined) throw new VolumeError('VolumeInUse', 'A snapshot is being made; the disk grows afterwards');
      const { writer } = record;
      const written = this.activePath(volumeUid, record);
      const isLive = writer !== undefined && !writer.isShared && (await live.resize(writer.podUid, written, sizeBytes));
      const grown = isLive ? record : await this.expandAtRest(volumeUid, record, sizeBytes, signal);
      await this.write(volumeUid, { ...grown, virtualSizeBytes: sizeBytes });
    });
  }

  private async expandAtRest(
    volumeUid: string,
    record: VolumeRecord,
    sizeBytes: number,
    signal: AbortSignal,
  ): Promise<VolumeRecord> {
    const writable = record.isFrozen
      ? await this.layersOf(volumeUid).layers.thaw(this.volume(volumeUid, record), signal)
      : record;
    const path = this.diskPath(volumeUid);
    if (writable.format === 'raw') await resizeRaw(path, sizeBytes);
    else if (writable.writer !== undefined)
      throw new VolumeError('VolumeInUse', 'The disk has layers and is in use by no guest: it grows when that has ended');
    else await this.deps.qemuImg.resize(path, 'qcow2', sizeBytes, signal);
    return writable;
  }

  /** Removes the volume and layers that nobody needs any more. */
  async remove(volumeUid: string): Promise<void> {
    await this.turns.exclusively(volumeUid, async () => {
      // no process of the mover's user is left by now, and rm does not follow links
      await rm(this.directory(volumeUid), { recursive: true, force: true });
    });
    await this.layersOf(volumeUid).layers.collect();
    await this.pools.forget(volumeUid);
    this.releases.give();
  }

  /** Frees the space of layers that nobody needs any more, in each pool that can be used now. */
  async collectLayers(): Promise<void> {
    for (const pool of await this.pools.usable()) await this.layersIn(this.pools.rootOf(pool)).layers.collect();
  }

  /** Makes the disk readable for a pod that may not write it, by links in a directory of the pod. */
  async linkReadOnly(volumeUid: string, directory: string): Promise<VolumeRecord> {
    return this.turns.exclusively(volumeUid, async () => {
      const record = await this.get(volumeUid);
      const source = this.directory(volumeUid);
      await relink(this.activePath(volumeUid, record), join(directory, DISK_NAME));
      for (const { name } of record.chain) await relink(join(source, name), join(directory, name));
      return record;
    });
  }

  /** Puts an immutable image of the node below a new overlay in `directory`. */
  async overlayOn(
    base: { readonly path: string; readonly layer: Layer; readonly sizeBytes: number },
    directory: string,
    signal: AbortSignal,
  ): Promise<void> {
    await relink(base.path, join(directory, base.layer.name));
    await this.layersIn(this.pools.rootOf(undefined)).layers.makeOverlay(directory, [base.layer], base.sizeBytes, signal);
  }

  /** A throw-away overlay above a volume that nobody may write meanwhile. */
  async overlayOnVolume(volumeUid: string, directory: string, signal: AbortSignal): Promise<void> {
    await this.turns.exclusively(volumeUid, async () => {
      const record = await this.get(volumeUid);
      const source = this.directory(volumeUid);
      const name = `layer-${checkedUid(volumeUid)}.img`;
      await relink(this.activePath(volumeUid, record), join(directory, name));
      for (const layer of record.chain) await relink(join(source, layer.name), join(directory, layer.name));
      await this.layersOf(volumeUid).layers.makeOverlay(
        directory,
        [{ name, format: record.format }, ...record.chain],
        record.virtualSizeBytes,
        signal,
      );
    });
  }

  /** Resolves when a disk or a volume has been let go since the last call; at first at once. */
  released(signal: AbortSignal): Promise<void> {
    return this.releases.taken(signal);
  }

  /**
   * Merges layers that only this volume reads, as long as nobody else asks for it. What is begun then is broken off and
   * begun again another time.
   */
  async flatten(volumeUid: string, signal: AbortSignal): Promise<void> {
    if (isSharedVolumeUid(volumeUid)) return; // the other nodes would have to wait until it is done
    for (let isShorter = true; isShorter; ) {
      isShorter = await this.turns.exclusively(volumeUid, async () => {
        const record = await this.read(volumeUid);
        const { merger } = this.layersOf(volumeUid);
        if (merger === undefined || record === undefined) return false;
        if (record.incoming !== undefined || record.given !== undefined) return false;
        const merge = (stop: AbortSignal) => merger.mergeOnce(this.volume(volumeUid, record), stop);
        return (await this.turns.untilWanted(volumeUid, merge, signal)) !== undefined;
      });
    }
    await this.layersOf(volumeUid).layers.collect();
  }

  private async finishMerge(volumeUid: string): Promise<void> {
    if (isSharedVolumeUid(volumeUid)) return;
    await this.turns.exclusively(volumeUid, async () => {
      const record = await this.read(volumeUid);
      if (record?.merging !== undefined) await this.layersOf(volumeUid).merger?.finish(this.volume(volumeUid, record));
    });
  }

  private volume(volumeUid: string, record: VolumeRecord): LayeredVolume {
    const write = (next: VolumeRecord): Promise<void> => this.write(volumeUid, next);
    return { directory: this.directory(volumeUid), record, write };
  }

  /** Writes `volume.json` so that a crash leaves the old or the new one. */
  private async write(volumeUid: string, record: VolumeRecord): Promise<void> {
    const path = join(this.directory(volumeUid), RECORD_NAME);
    await writeDurably(path, JSON.stringify(record));
  }

  /** Makes a disk that is shared reachable for one of its pods. */
  async linkShared(volumeUid: string, directory: string): Promise<string> {
    return this.turns.exclusively(volumeUid, async () => {
      const path = join(directory, DISK_NAME);
      await relink(this.activePath(volumeUid, await this.get(volumeUid)), path);
      return path;
    });
  }
}
