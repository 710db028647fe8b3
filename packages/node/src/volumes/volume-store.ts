import { chmod, chown, mkdir, readdir, readFile, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { isSharedVolumeUid } from '@slipway/api';
import { codeOf } from './error-code.ts';
import { checkNothingLeft } from './left-writers.ts';
import { type PoolLayers, poolLayers } from './pools/pool-layers.ts';
import { PoolSet } from './pools/pool-set.ts';
import { runExclusively } from './pools/shared-lock.ts';
import type { QemuImg } from './qemu-img.ts';
import { settleVolume } from './settle-volume.ts';
import { VolumeError } from './volume-error.ts';
import type { GrowingDisks, LiveDisks } from './snapshot-volume.ts';
import { type CloneMethod, VolumeCopies } from './volume-copies.ts';
import { otherWriters, withoutWriter, withWriter, writersOf } from './writers.ts';
import { makeDirectory, makeHole, ownDirectory, ownFile, relink, resizeRaw, writeDurably } from './volume-files.ts';
import {
  activeName,
  type Attachment,
  checkedUid,
  DISK_NAME,
  filesName,
  IMPORT_DIRECTORY,
  type Layer,
  parseRecord,
  RECORD_NAME,
  type VolumeRecord,
} from './volume-record.ts';

export { makeDirectory, writeDurably } from './volume-files.ts';

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
  /** Writes of one volume's record and files happen one after another. */
  private readonly locks = new Map<string, Promise<unknown>>();
  /** Who has or waits for the lock of a volume, and the merges that make way for them. */
  private readonly waiting = new Map<string, number>();
  private readonly merges = new Map<string, AbortController>();
  private hasReleased = true;
  private onRelease = (): void => {};

  constructor(deps: VolumeStoreDeps) {
    this.deps = deps;
    this.pools = deps.pools ?? new PoolSet({ ...deps, hostPrefix: '' });
    this.layersIn = poolLayers(deps);
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
      locked: (first, second, action) => this.locked(first, () => this.locked(second, action)),
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
    return this.locked(volumeUid, async () =>
      action({
        directory: this.directory(volumeUid),
        record: await this.read(volumeUid),
        write: (record) => this.write(volumeUid, record),
        giveTo: (record, uid) => this.giveTo(volumeUid, record, uid),
      }),
    );
  }

  /** Makes a blank disk of one hole; does nothing when the volume exists. */
  async create(volumeUid: string, sizeBytes: number): Promise<void> {
    await this.locked(volumeUid, async () => {
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
    const { nodeName } = this.deps;
    const attachment = isSharedVolumeUid(volumeUid) && nodeName !== undefined ? { ...wanted, node: nodeName } : wanted;
    return this.locked(volumeUid, async () => {
      const found = await this.get(volumeUid);
      const isGoneAnywhere = await this.goneAnywhere(found, isGone, signal);
      const others = otherWriters(found, attachment, isGoneAnywhere);
      await checkNothingLeft({ directory: this.directory(volumeUid), record: found, attachment, others });
      const isInUse = others.length > 0 || writersOf(found).some(({ podUid }) => podUid === attachment.podUid);
      // a guest may be running: then the names that its QEMU knows stay
      const record = isInUse ? found : await settleVolume(this.volume(volumeUid, found));
      const writable = record.isFrozen
        ? await this.layersOf(volumeUid).layers.thaw(this.volume(volumeUid, record), signal)
        : record;
      const attached = withWriter(writable, attachment, others);
      await this.write(volumeUid, attached);
      await (attachment.isShared ? this.share(volumeUid, attached) : this.giveTo(volumeUid, attached, attachment.uid));
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

  /**
   * Directory of the volume's files, for the pod that has it attached: what virtiofs shares and what firmware keeps. The
   * tree gets the pod's user as its owner.
   */
  async filesDirectory(volumeUid: string, { podUid, uid }: Attachment): Promise<string> {
    return this.locked(volumeUid, async () => {
      const record = await this.get(volumeUid);
      if (!writersOf(record).some((writer) => writer.podUid === podUid))
        throw new VolumeError('VolumeInUse', 'The volume is not attached to this pod');
      return ownDirectory(join(this.directory(volumeUid), filesName(record)), uid);
    });
  }

  /** Takes the disk away from the pod; nothing happens when it has it no more. */
  async detach(volumeUid: string, podUid: string): Promise<void> {
    const isHeld = async (): Promise<boolean> => {
      const record = await this.read(volumeUid);
      if (record === undefined || record.incoming !== undefined) return false;
      return writersOf(record).some((writer) => writer.podUid === podUid);
    };
    await this.inTurn(volumeUid, async () => {
      // the lock among nodes is dear, and a pod that ends asks for every volume
      if (await isHeld()) await runExclusively(this.pools.lockOf(volumeUid), () => this.takeBack(volumeUid, podUid));
    });
  }

  private async takeBack(volumeUid: string, podUid: string): Promise<void> {
    const left = withoutWriter(await this.get(volumeUid), podUid);
    if (left.writer !== undefined) return this.write(volumeUid, left);
    const free = await settleVolume(this.volume(volumeUid, left));
    await this.giveTo(volumeUid, free, 0);
    await this.write(volumeUid, free);
    this.noteRelease();
  }

  async update(volumeUid: string, change: (record: VolumeRecord) => VolumeRecord): Promise<void> {
    await this.locked(volumeUid, async () => this.write(volumeUid, change(await this.get(volumeUid))));
  }

  /** Grows the disk, and tells the guest that writes it; a smaller or equal size changes nothing. */
  async expand(volumeUid: string, sizeBytes: number, live: GrowingDisks, signal: AbortSignal): Promise<void> {
    await this.locked(volumeUid, async () => {
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
    await this.locked(volumeUid, async () => {
      // no process of the mover's user is left by now, and rm does not follow links
      await rm(this.directory(volumeUid), { recursive: true, force: true });
    });
    await this.layersOf(volumeUid).layers.collect();
    await this.pools.forget(volumeUid);
    this.noteRelease();
  }

  /** Frees the space of layers that nobody needs any more, in each pool that can be used now. */
  async collectLayers(): Promise<void> {
    for (const pool of await this.pools.usable()) await this.layersIn(this.pools.rootOf(pool)).layers.collect();
  }

  /** Makes the disk readable for a pod that may not write it, by links in a directory of the pod. */
  async linkReadOnly(volumeUid: string, directory: string): Promise<VolumeRecord> {
    return this.locked(volumeUid, async () => {
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
    await this.locked(volumeUid, async () => {
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

  async makeBlankFile(path: string, sizeBytes: number): Promise<void> {
    await makeHole(path, sizeBytes);
  }

  /** Resolves when a disk or a volume has been let go since the last call; at first at once. */
  async released(signal: AbortSignal): Promise<void> {
    signal.throwIfAborted();
    if (!this.hasReleased)
      await new Promise<void>((resolve, reject) => {
        const stop = (): void => reject(signal.reason);
        this.onRelease = () => {
          signal.removeEventListener('abort', stop);
          resolve();
        };
        signal.addEventListener('abort', stop, { once: true });
      });
    this.hasReleased = false;
  }

  private noteRelease(): void {
    this.hasReleased = true;
    this.onRelease();
  }

  /**
   * Merges layers that only this volume reads, as long as nobody else asks for it. What is begun then is broken off and
   * begun again another time.
   */
  async flatten(volumeUid: string, signal: AbortSignal): Promise<void> {
    if (isSharedVolumeUid(volumeUid)) return; // the other nodes would have to wait until it is done
    for (let isShorter = true; isShorter; ) {
      isShorter = await this.locked(volumeUid, async () => {
        const record = await this.read(volumeUid);
        const { merger } = this.layersOf(volumeUid);
        if (merger === undefined || record === undefined || (this.waiting.get(volumeUid) ?? 0) > 1) return false;
        if (record.incoming !== undefined || record.given !== undefined) return false;
        const stop = new AbortController();
        this.merges.set(volumeUid, stop);
        try {
          const merged = await merger.mergeOnce(this.volume(volumeUid, record), AbortSignal.any([signal, stop.signal]));
          return merged !== undefined;
        } catch (error) {
          if (stop.signal.aborted) return false;
          throw error;
        } finally {
          this.merges.delete(volumeUid);
        }
      });
    }
    await this.layersOf(volumeUid).layers.collect();
  }

  private async finishMerge(volumeUid: string): Promise<void> {
    if (isSharedVolumeUid(volumeUid)) return;
    await this.locked(volumeUid, async () => {
      const record = await this.read(volumeUid);
      if (record?.merging !== undefined) await this.layersOf(volumeUid).merger?.finish(this.volume(volumeUid, record));
    });
  }

  private volume(volumeUid: string, record: VolumeRecord) {
    const write = (next: VolumeRecord): Promise<void> => this.write(volumeUid, next);
    return { directory: this.directory(volumeUid), record, write };
  }

  /** Writes `volume.json` so that a crash leaves the old or the new one. */
  private async write(volumeUid: string, record: VolumeRecord): Promise<void> {
    const path = join(this.directory(volumeUid), RECORD_NAME);
    await writeDurably(path, JSON.stringify(record));
  }

  private async giveTo(volumeUid: string, record: VolumeRecord, uid: number): Promise<void> {
    const directory = this.directory(volumeUid);
    const disk = this.activePath(volumeUid, record);
    const { heir } = record;
    // the guest's next QEMU opens the disk before it may write
    await chown(disk, uid, heir?.uid ?? uid);
    await chmod(disk, heir === undefined ? 0o644 : 0o640);
    await chown(directory, 0, uid);
    await chmod(directory, heir === undefined ? (uid === 0 ? 0o700 : 0o710) : 0o711);
  }

  /** Everybody may write the file, and nobody finds it but through the links in directories of the pods that share it. */
  private async share(volumeUid: string, record: VolumeRecord): Promise<void> {
    await this.giveTo(volumeUid, record, 0);
    await chmod(this.activePath(volumeUid, record), 0o666);
  }

  /** Makes a disk that is shared reachable for one of its pods. */
  async linkShared(volumeUid: string, directory: string): Promise<string> {
    return this.locked(volumeUid, async () => {
      const path = join(directory, DISK_NAME);
      await relink(this.activePath(volumeUid, await this.get(volumeUid)), path);
      return path;
    });
  }

  /** Directory for a data mover's scratch files, owned by it. */
  async importDirectory(volumeUid: string, uid: number): Promise<string> {
    const directory = join(this.directory(volumeUid), IMPORT_DIRECTORY);
    await mkdir(directory, { mode: 0o700 }).catch((error: unknown) => {
      if (codeOf(error) !== 'EEXIST') throw error;
    });
    for (const name of await readdir(directory)) await ownFile(join(directory, name), uid);
    await chown(directory, uid, uid);
    return directory;
  }

  /** What a data mover left of its transfer, after which nothing of it is wanted. */
  async removeImportDirectory(volumeUid: string): Promise<void> {
    await rm(join(this.directory(volumeUid), IMPORT_DIRECTORY), { recursive: true, force: true });
  }

  /** Nobody else changes the volume meanwhile, on any node. */
  private locked<T>(volumeUid: string, action: () => Promise<T>): Promise<T> {
    return this.inTurn(volumeUid, () => runExclusively(this.pools.lockOf(volumeUid), action));
  }

  /** Nobody else of this agent changes the volume meanwhile. */
  private async inTurn<T>(volumeUid: string, action: () => Promise<T>): Promise<T> {
    this.merges.get(volumeUid)?.abort(new Error('The volume is wanted'));
    this.waiting.set(volumeUid, (this.waiting.get(volumeUid) ?? 0) + 1);
    const before = this.locks.get(volumeUid) ?? Promise.resolve();
    const checked = async (): Promise<T> => {
      await this.pools.check(this.pools.poolOf(volumeUid));
      return action();
    };
    const run = before.then(checked, checked);
    const settled = run.catch(() => {});
    this.locks.set(volumeUid, settled);
    try {
      return await run;
    } finally {
      if (this.locks.get(volumeUid) === settled) this.locks.delete(volumeUid);
      const left = (this.waiting.get(volumeUid) ?? 1) - 1;
      if (left > 0) this.waiting.set(volumeUid, left);
      else this.waiting.delete(volumeUid);
    }
  }
}
