import { constants } from 'node:fs';
import { chmod, chown, copyFile, lstat, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { copyTree } from './copy-tree.ts';
import { flattenInto } from './flatten.ts';
import type { LayeredVolume, LayerStore } from './layer-store.ts';
import type { PoolSet } from './pools/pool-set.ts';
import type { QemuImg } from './qemu-img.ts';
import { settleVolume } from './settle-volume.ts';
import { type LiveDisks, pivotGuest, snapshotDirectory } from './snapshot-volume.ts';
import { VolumeError } from './volume-error.ts';
import { exists, makeDirectory, makeHole, resizeRaw } from './volume-files.ts';
import { DISK_NAME, filesName, FILES_DIRECTORY, type VolumeRecord } from './volume-record.ts';
import { nameOf } from './writers.ts';

export interface VolumeCopiesDeps {
  readonly pools: PoolSet;
  /** Layers of the pool that has the volume. */
  readonly layers: (volumeUid: string) => LayerStore;
  /** Directory in the source's pool for what is copied into another one. */
  readonly staging: (sourceUid: string, volumeUid: string) => string;
  readonly qemuImg: Pick<QemuImg, 'flatten'>;
  /** User of the tool that reads images; nobody else runs as it. */
  readonly toolUid?: number | undefined;
  /** A new UUID. */
  readonly uid: () => string;
  readonly directory: (volumeUid: string) => string;
  readonly read: (volumeUid: string) => Promise<VolumeRecord | undefined>;
  readonly get: (volumeUid: string) => Promise<VolumeRecord>;
  readonly write: (volumeUid: string, record: VolumeRecord) => Promise<void>;
  /** Runs the action while nobody else changes either volume. */
  readonly locked: <T>(firstUid: string, secondUid: string, action: () => Promise<T>) => Promise<T>;
}

/** How a clone got its content. */
export type CloneMethod = 'reflink' | 'overlay' | 'copy';

/** Clones and snapshots of volumes. */
export class VolumeCopies {
  private readonly deps: VolumeCopiesDeps;

  constructor(deps: VolumeCopiesDeps) {
    this.deps = deps;
  }

  /**
   * Makes a volume with the content of another one in its pool, in constant time: a reflink where the file system has it,
   * else an overlay over the source's disk, which becomes a layer that is never written again. Into another pool it is a
   * copy.
   */
  clone(sourceUid: string, volumeUid: string, sizeBytes: number, signal: AbortSignal): Promise<CloneMethod> {
    if (!this.isNear(sourceUid, volumeUid)) return this.copy(sourceUid, volumeUid, sizeBytes, signal);
    const { layers, read, write, directory, locked } = this.deps;
    return locked(sourceUid, volumeUid, async () => {
      if ((await read(volumeUid)) !== undefined) return 'overlay';
      const volume = await this.settledSource(sourceUid, sizeBytes);
      await makeDirectory(directory(volumeUid), 0o700);
      await this.copyFiles(sourceUid, volume.record, volumeUid, signal);
      if (await this.reflink(sourceUid, volume.record, volumeUid, sizeBytes)) return 'reflink';
      const chain = await layers(sourceUid).freeze(volume);
      await layers(volumeUid).makeOverlay(directory(volumeUid), chain, sizeBytes, signal);
      await write(volumeUid, { format: 'qcow2', virtualSizeBytes: sizeBytes, chain, state: 'ready' });
      return 'overlay';
    });
  }

  /**
   * Makes a volume whose bytes are all its own, sparse. The source is free again as soon as its present content is a
   * layer. A crash begins anew.
   */
  async copy(sourceUid: string, volumeUid: string, sizeBytes: number, signal: AbortSignal): Promise<'copy'> {
    const { layers, read, write, directory, locked } = this.deps;
    const to = directory(volumeUid);
    const from = this.isNear(sourceUid, volumeUid) ? to : this.deps.staging(sourceUid, volumeUid);
    const chain = await locked(sourceUid, volumeUid, async () => {
      if ((await read(volumeUid)) !== undefined) return undefined;
      const volume = await this.settledSource(sourceUid, sizeBytes);
      await makeDirectory(to, 0o700);
      await this.copyFiles(sourceUid, volume.record, volumeUid, signal);
      const frozen = await layers(sourceUid).freeze(volume);
      await makeDirectory(from, 0o700);
      await layers(sourceUid).linkAll(frozen, from);
      return frozen;
    });
    if (chain === undefined) return 'copy';
    const { qemuImg, toolUid } = this.deps;
    await flattenInto({ directory: to, from, chain, sizeBytes, qemuImg, toolUid }, signal);
    await write(volumeUid, { format: 'raw', virtualSizeBytes: sizeBytes, chain: [], state: 'ready' });
    return 'copy';
  }

  private isNear(firstUid: string, secondUid: string): boolean {
    const { pools } = this.deps;
    return pools.poolOf(firstUid) === pools.poolOf(secondUid);
  }

  /** The source of a clone with nobody at work on it. */
  private async settledSource(sourceUid: string, sizeBytes: number): Promise<LayeredVolume> {
    const found = await this.deps.get(sourceUid);
    if (found.writer !== undefined)
      throw new VolumeError(
        'CloneSourceInUse',
        `${nameOf(found.writer)} is using the source claim; the clone goes on when it has stopped`,
      );
    const volume = this.volume(sourceUid, found);
    const record = await settleVolume(volume);
    if (record.state === 'filling') throw new VolumeError('CloneSourceInUse', 'The source claim is still being filled');
    if (record.virtualSizeBytes > sizeBytes)
      throw new VolumeError(
        'CloneValidationFailed',
        `The claim has ${sizeBytes} bytes and the source ${record.virtualSizeBytes}: request more`,
      );
    return { ...volume, record };
  }

  /**
   * Keeps the present content under another uid, in constant time; the volume stays as it is for whoever uses it.
   * Repeatable after a crash: the snapshot is complete when this resolves. Returns its size.
   */
  snapshot(volumeUid: string, snapshotUid: string, live: LiveDisks, signal: AbortSignal): Promise<number> {
    const { layers, get, read, locked, pools } = this.deps;
    return locked(volumeUid, snapshotUid, async () => {
      await pools.placeBeside(snapshotUid, volumeUid);
      const done = await read(snapshotUid);
      if (done !== undefined) return done.virtualSizeBytes;
      const source = await get(volumeUid);
      if (source.state === 'filling') throw new VolumeError('VolumeInUse', 'The claim is still being filled');
      const { virtualSizeBytes } = source;
      if (await this.snapshotOfFiles(volumeUid, source, snapshotUid, signal)) return virtualSizeBytes;
      if (await this.reflinkSnapshot(volumeUid, source, snapshotUid)) return virtualSizeBytes;
      if (await this.snapshotOfGuest(volumeUid, source, snapshotUid, live, signal)) return virtualSizeBytes;
      const volume = this.volume(volumeUid, source);
      const settled = await settleVolume(volume);
      const [top, ...chain] = await layers(volumeUid).freeze({ ...volume, record: settled });
      if (top !== undefined) await this.keep(snapshotUid, { ...settled, format: top.format, chain }, top.name);
      return virtualSizeBytes;
    });
  }

  private volume(volumeUid: string, record: VolumeRecord) {
    const { directory, write } = this.deps;
    return { directory: directory(volumeUid), record, write: (next: VolumeRecord) => write(volumeUid, next) };
  }

  /** True for a claim that is used as a file system: its disk is empty, its files are few and copied one by one. */
  private async snapshotOfFiles(
    volumeUid: string,
    source: VolumeRecord,
    snapshotUid: string,
    signal: AbortSignal,
  ): Promise<boolean> {
    const { directory, write } = this.deps;
    if (!(await exists(join(directory(volumeUid), filesName(source))))) return false;
    const { virtualSizeBytes } = source;
    await rm(directory(snapshotUid), { recursive: true, force: true }); // half of an earlier attempt
    await makeDirectory(directory(snapshotUid), 0o700);
    await makeHole(join(directory(snapshotUid), DISK_NAME), virtualSizeBytes);
    await this.copyFiles(volumeUid, source, snapshotUid, signal);
    await write(snapshotUid, { format: 'raw', virtualSizeBytes, chain: [], state: 'ready' });
    return true;
  }

  /** With the rights of the user that owns the tree: it may be in use, and its names are not trusted. */
  private async copyFiles(fromUid: string, source: VolumeRecord, toUid: string, signal: AbortSignal): Promise<void> {
    const [from, to] = [this.deps.directory(fromUid), this.deps.directory(toUid)];
    const tree = join(from, filesName(source));
    if (!(await exists(tree))) return;
    const { uid } = await lstat(tree);
    const before = await lstat(from);
    await this.open(from, uid);
    await this.open(to, uid);
    try {
      await copyTree(tree, join(to, FILES_DIRECTORY), uid, signal);
    } finally {
      await chown(to, 0, 0);
      await chmod(to, 0o700);
      await chown(from, 0, before.gid);
      await chmod(from, before.mode & 0o777);
    }
  }

  private async open(directory: string, uid: number): Promise<void> {
    await chown(directory, 0, uid);
    await chmod(directory, 0o710);
  }

  /** A reflink is one moment of the file, also while a guest writes it. False where the file system has none. */
  private async reflinkSnapshot(volumeUid: string, source: VolumeRecord, snapshotUid: string): Promise<boolean> {
    if (source.format !== 'raw' || source.pivot !== undefined || source.isFrozen) return false;
    await makeDirectory(this.deps.directory(snapshotUid), 0o700);
    return this.reflink(volumeUid, source, snapshotUid, source.virtualSizeBytes);
  }

  private async reflink(sourceUid: string, source: VolumeRecord, volumeUid: string, sizeBytes: number): Promise<boolean> {
    const { directory, write } = this.deps;
    if (source.format !== 'raw') return false;
    const disk = join(directory(volumeUid), DISK_NAME);
    try {
      await copyFile(join(directory(sourceUid), DISK_NAME), disk, constants.COPYFILE_FICLONE_FORCE);
    } catch {
      await rm(disk, { force: true });
      return false; // the file system has no reflinks
    }
    await resizeRaw(disk, sizeBytes);
    await write(volumeUid, { format: 'raw', virtualSizeBytes: sizeBytes, chain: [], state: 'ready' });
    return true;
  }

  /** True when a guest was running and its disk was snapshotted beneath it. */
  private async snapshotOfGuest(
    volumeUid: string,
    source: VolumeRecord,
    snapshotUid: string,
    live: LiveDisks,
    signal: AbortSignal,
  ): Promise<boolean> {
    const { layers, write, uid } = this.deps;
    const { writer } = source;
    if (writer === undefined || live.isGone(writer.podUid)) return false;
    if (writer.isShared) throw new VolumeError('VolumeInUse', 'Running VMs share the disk: stop them for a snapshot');
    const directory = this.deps.directory(volumeUid);
    const pivoted = await pivotGuest(
      {
        ...{ volumeUid, writer, directory, layers: layers(volumeUid).root, live, newUid: uid },
        write: (record) => write(volumeUid, record),
        makeOverlay: (name, chain) => layers(volumeUid).makeOverlay(directory, chain, source.virtualSizeBytes, signal, name),
      },
      source,
    );
    const [layer, ...chain] = pivoted.chain;
    if (layer === undefined) throw new VolumeError('InvalidVolume', 'A snapshot needs a layer');
    await this.keep(snapshotUid, { ...pivoted, format: layer.format, chain }, layer.name);
    await write(volumeUid, pivoted);
    return true;
  }

  /** Makes a layer the disk of a volume directory that nobody writes. */
  private async keep(snapshotUid: string, record: VolumeRecord, layer: string): Promise<void> {
    const { directory, layers, write } = this.deps;
    await snapshotDirectory({ directory: directory(snapshotUid), layers: layers(snapshotUid).root, layer, chain: record.chain });
    const { format, virtualSizeBytes, chain, isSpent } = record;
    const kept = { format, virtualSizeBytes, chain, ...(isSpent && { isSpent }) };
    await write(snapshotUid, { ...kept, state: 'ready', isFrozen: true });
  }
}
