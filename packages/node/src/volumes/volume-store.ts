import { constants } from 'node:fs';
import { chmod, chown, copyFile, link, lstat, mkdir, readdir, readFile, rename, rm, statfs, unlink } from 'node:fs/promises';
import { join } from 'node:path';
import { codeOf } from './error-code.ts';
import type { QemuImg } from './qemu-img.ts';
import { VolumeError } from './volume-error.ts';
import { type LiveDisks, pivotGuest, snapshotDirectory } from './snapshot-volume.ts';
import { otherWriters, withoutWriter, withWriter, writersOf } from './writers.ts';
import { exists, makeDirectory, makeHole, ownDirectory, ownFile, relink, resizeRaw, seal, writeDurably } from './volume-files.ts';
import {
  activeName,
  type Attachment,
  checkedUid,
  DISK_NAME,
  FILES_DIRECTORY,
  IMPORT_DIRECTORY,
  type Layer,
  parseRecord,
  pivotedRecord,
  RECORD_NAME,
  type VolumeRecord,
} from './volume-record.ts';

export { makeDirectory, writeDurably } from './volume-files.ts';

export interface VolumeStoreDeps {
  /** Root of the agent's state. */
  readonly stateDir: string;
  readonly qemuImg: QemuImg;
  /** A new UUID. */
  readonly uid: () => string;
}

/**
 * Directories of volumes, one per claim uid. Only root can make or rename entries in them, so that no path below can be
 * turned into a link by a guest or a data mover; the one user of a disk reaches it by the group of the directory.
 */
export class VolumeStore {
  readonly root: string;
  private readonly layers: string;
  private readonly deps: VolumeStoreDeps;
  /** Writes of one volume's record and files happen one after another. */
  private readonly locks = new Map<string, Promise<unknown>>();

  constructor(deps: VolumeStoreDeps) {
    this.deps = deps;
    this.root = join(deps.stateDir, 'volumes');
    this.layers = join(deps.stateDir, 'layers');
  }

  async open(): Promise<void> {
    await makeDirectory(this.root, 0o711);
    await makeDirectory(this.layers, 0o700);
  }

  directory(volumeUid: string): string {
    return join(this.root, checkedUid(volumeUid));
  }

  diskPath(volumeUid: string): string {
    return join(this.directory(volumeUid), DISK_NAME);
  }

  /** The file of the volume that is written now. */
  activePath(volumeUid: string, record: VolumeRecord): string {
    return join(this.directory(volumeUid), activeName(record));
  }

  async list(): Promise<readonly string[]> {
    return (await readdir(this.root)).filter((name) => /^[0-9a-f-]{36}$/.test(name));
  }

  /** Undefined when there is no such volume. */
  async read(volumeUid: string): Promise<VolumeRecord | undefined> {
    try {
      return parseRecord(await readFile(join(this.directory(volumeUid), RECORD_NAME), 'utf8'));
    } catch (error) {
      if (codeOf(error) === 'ENOENT') return undefined;
      throw error;
    }
  }

  /** Like `read`, but throws VolumeError when there is no such volume. */
  async get(volumeUid: string): Promise<VolumeRecord> {
    const record = await this.read(volumeUid);
    if (record === undefined)
      throw new VolumeError('VolumeMissing', `The directory of volume ${volumeUid} is gone from this node`);
    return record;
  }

  /** Makes a blank disk of one hole; does nothing when the volume exists. Throws `NoSpace` when it can never be filled. */
  async create(volumeUid: string, sizeBytes: number): Promise<void> {
    await this.locked(volumeUid, async () => {
      if ((await this.read(volumeUid)) !== undefined) return;
      await this.checkSpace(sizeBytes);
      const directory = this.directory(volumeUid);
      await makeDirectory(directory, 0o700);
      await makeHole(join(directory, DISK_NAME), sizeBytes);
      await this.write(volumeUid, { format: 'raw', virtualSizeBytes: sizeBytes, chain: [], state: 'blank' });
    });
  }

  /**
   * Makes a volume with the content of another one, in constant time: a reflink where the file system has it, else an
   * overlay over the source's disk, which becomes a layer that is never written again.
   */
  async clone(sourceUid: string, volumeUid: string, sizeBytes: number, signal: AbortSignal): Promise<'reflink' | 'overlay'> {
    return this.locked(sourceUid, () =>
      this.locked(volumeUid, async () => {
        const found = await this.get(sourceUid);
        if ((await this.read(volumeUid)) !== undefined) return 'overlay';
        if (found.writer !== undefined)
          throw new VolumeError(
            'CloneSourceInUse',
            `pod ${found.writer.podUid} is using the source claim; the clone goes on when it has stopped`,
          );
        const source = await this.settle(sourceUid, found);
        if (source.state === 'filling') throw new VolumeError('CloneSourceInUse', 'The source claim is still being filled');
        if (source.virtualSizeBytes > sizeBytes)
          throw new VolumeError(
            'CloneValidationFailed',
            `The claim has ${sizeBytes} bytes and the source ${source.virtualSizeBytes}: request more`,
          );
        const directory = this.directory(volumeUid);
        await makeDirectory(directory, 0o700);
        if (await this.reflink(sourceUid, source, volumeUid, sizeBytes)) return 'reflink';
        const chain = await this.freeze(sourceUid, source);
        await this.makeOverlay(directory, chain, sizeBytes, signal);
        await this.write(volumeUid, { format: 'qcow2', virtualSizeBytes: sizeBytes, chain, state: 'ready' });
        return 'overlay';
      }),
    );
  }

  /**
   * Lets a pod write: one alone, or several that share the disk. Throws `VolumeInUse` when another has it; `isGone` says
   * whether that pod still exists.
   */
  async attach(
    volumeUid: string,
    attachment: Attachment,
    isGone: (podUid: string) => boolean,
    signal: AbortSignal,
  ): Promise<VolumeRecord> {
    return this.locked(volumeUid, async () => {
      const found = await this.get(volumeUid);
      const others = otherWriters(found, attachment, isGone);
      const isInUse = others.length > 0 || writersOf(found).some(({ podUid }) => podUid === attachment.podUid);
      // a guest may be running: then the names that its QEMU knows stay
      const record = isInUse ? found : await this.settle(volumeUid, found);
      const writable = record.isFrozen ? await this.thaw(volumeUid, record, signal) : record;
      const attached = withWriter(writable, attachment, others);
      await this.write(volumeUid, attached);
      await (attachment.isShared ? this.share(volumeUid, attached) : this.giveTo(volumeUid, attached, attachment.uid));
      return attached;
    });
  }

  /**
   * Directory of the volume's files, for the pod that has it attached: what virtiofs shares and what firmware keeps. The
   * tree gets the pod's user as its owner.
   */
  async filesDirectory(volumeUid: string, { podUid, uid }: Attachment): Promise<string> {
    return this.locked(volumeUid, async () => {
      const writers = writersOf(await this.get(volumeUid));
      if (!writers.some((writer) => writer.podUid === podUid))
        throw new VolumeError('VolumeInUse', 'The volume is not attached to this pod');
      return ownDirectory(join(this.directory(volumeUid), FILES_DIRECTORY), uid);
    });
  }

  /** Takes the disk away from the pod; nothing happens when it has it no more. */
  async detach(volumeUid: string, podUid: string): Promise<void> {
    await this.locked(volumeUid, async () => {
      const record = await this.read(volumeUid);
      if (record === undefined || !writersOf(record).some((writer) => writer.podUid === podUid)) return;
      const left = withoutWriter(record, podUid);
      if (left.writer !== undefined) return this.write(volumeUid, left);
      const free = await this.settle(volumeUid, left);
      await this.giveTo(volumeUid, free, 0);
      await this.write(volumeUid, free);
    });
  }

  async update(volumeUid: string, change: (record: VolumeRecord) => VolumeRecord): Promise<void> {
    await this.locked(volumeUid, async () => this.write(volumeUid, change(await this.get(volumeUid))));
  }

  /** Grows the disk; a smaller or equal size changes nothing. */
  async expand(volumeUid: string, sizeBytes: number, signal: AbortSignal): Promise<void> {
    await this.locked(volumeUid, async () => {
      const record = await this.get(volumeUid);
      if (sizeBytes <= record.virtualSizeBytes) return;
      if (record.state === 'filling') throw new VolumeError('VolumeInUse', 'The disk is being filled; it grows afterwards');
      if (record.pivot !== undefined) throw new VolumeError('VolumeInUse', 'A snapshot is being made; the disk grows afterwards');
      const writable = record.isFrozen ? await this.thaw(volumeUid, record, signal) : record;
      const path = this.diskPath(volumeUid);
      if (writable.format === 'raw') await resizeRaw(path, sizeBytes);
      else if (writable.writer !== undefined) throw new VolumeError('VolumeInUse', 'A cloned disk grows when its VM is stopped');
      else await this.deps.qemuImg.resize(path, 'qcow2', sizeBytes, signal);
      await this.write(volumeUid, { ...writable, virtualSizeBytes: sizeBytes });
    });
  }

  /** Removes the volume and layers that nobody needs any more. */
  async remove(volumeUid: string): Promise<void> {
    await this.locked(volumeUid, async () => {
      // no process of the mover's user is left by now, and rm does not follow links
      await rm(this.directory(volumeUid), { recursive: true, force: true });
    });
    await this.collectLayers();
  }

  /**
   * Keeps the present content under another uid, in constant time; the volume stays as it is for whoever uses it.
   * Repeatable after a crash: the snapshot is complete when this resolves. Returns its size.
   */
  async snapshot(volumeUid: string, snapshotUid: string, live: LiveDisks, signal: AbortSignal): Promise<number> {
    return this.locked(volumeUid, () =>
      this.locked(snapshotUid, async () => {
        const done = await this.read(snapshotUid);
        if (done !== undefined) return done.virtualSizeBytes;
        const source = await this.get(volumeUid);
        if (source.state === 'filling') throw new VolumeError('VolumeInUse', 'The claim is still being filled');
        const { virtualSizeBytes } = source;
        if (await this.reflinkSnapshot(volumeUid, source, snapshotUid)) return virtualSizeBytes;
        if (await this.snapshotOfGuest(volumeUid, source, snapshotUid, live, signal)) return virtualSizeBytes;
        const settled = await this.settle(volumeUid, source);
        const [top, ...chain] = await this.freeze(volumeUid, settled);
        if (top !== undefined) await this.keep(snapshotUid, { ...settled, format: top.format, chain }, top.name);
        return virtualSizeBytes;
      }),
    );
  }

  /** A reflink is one moment of the file, also while a guest writes it. False where the file system has none. */
  private async reflinkSnapshot(volumeUid: string, source: VolumeRecord, snapshotUid: string): Promise<boolean> {
    if (source.format !== 'raw' || source.pivot !== undefined || source.isFrozen) return false;
    await makeDirectory(this.directory(snapshotUid), 0o700);
    return this.reflink(volumeUid, source, snapshotUid, source.virtualSizeBytes);
  }

  /** True when a guest was running and its disk was snapshotted beneath it. */
  private async snapshotOfGuest(
    volumeUid: string,
    source: VolumeRecord,
    snapshotUid: string,
    live: LiveDisks,
    signal: AbortSignal,
  ): Promise<boolean> {
    const { writer } = source;
    if (writer === undefined || live.isGone(writer.podUid)) return false;
    if (writer.isShared) throw new VolumeError('VolumeInUse', 'Running VMs share the disk: stop them for a snapshot');
    const directory = this.directory(volumeUid);
    const pivoted = await pivotGuest(
      {
        ...{ volumeUid, writer, directory, layers: this.layers, live, newUid: this.deps.uid },
        write: (record) => this.write(volumeUid, record),
        makeOverlay: (name, chain) => this.makeOverlay(directory, chain, source.virtualSizeBytes, signal, name),
      },
      source,
    );
    const [layer, ...chain] = pivoted.chain;
    if (layer === undefined) throw new VolumeError('InvalidVolume', 'A snapshot needs a layer');
    await this.keep(snapshotUid, { ...pivoted, format: layer.format, chain }, layer.name);
    await this.write(volumeUid, pivoted);
    return true;
  }

  /** Makes a layer the disk of a volume directory that nobody writes. */
  private async keep(snapshotUid: string, record: VolumeRecord, layer: string): Promise<void> {
    await snapshotDirectory({ directory: this.directory(snapshotUid), layers: this.layers, layer, chain: record.chain });
    const { format, virtualSizeBytes, chain } = record;
    await this.write(snapshotUid, { format, virtualSizeBytes, chain, state: 'ready', isFrozen: true });
  }

  /**
   * After its guest has ended, the file that was written last becomes `disk.img` again. Of a snapshot that was cut off
   * midway the overlay is taken: over the old disk it shows everything, whichever of the two was written last.
   */
  private async settle(volumeUid: string, record: VolumeRecord): Promise<VolumeRecord> {
    const directory = this.directory(volumeUid);
    const { pivot } = record;
    const hasOverlay = pivot !== undefined && (await exists(join(directory, pivot.active)));
    const { pivot: _, ...cutOff } = record;
    const rolled = hasOverlay ? pivotedRecord(record) : cutOff;
    if (hasOverlay) await seal(join(directory, pivot.layer));
    if (rolled.active === undefined) {
      if (pivot !== undefined) await this.write(volumeUid, rolled);
      return rolled;
    }
    // the record first: a crash in between leaves an active file that is there, or one that has its name already
    if (pivot !== undefined) await this.write(volumeUid, rolled);
    await rename(join(directory, rolled.active), join(directory, DISK_NAME)).catch((error: unknown) => {
      if (codeOf(error) !== 'ENOENT') throw error;
    });
    for (const name of await readdir(directory)) if (name.startsWith('live-')) await unlink(join(directory, name));
    const { active: __, ...settled } = rolled;
    await this.write(volumeUid, settled);
    return settled;
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
    await this.makeOverlay(directory, [base.layer], base.sizeBytes, signal);
  }

  /** A throw-away overlay above a volume that nobody may write meanwhile. */
  async overlayOnVolume(volumeUid: string, directory: string, signal: AbortSignal): Promise<void> {
    await this.locked(volumeUid, async () => {
      const record = await this.get(volumeUid);
      const source = this.directory(volumeUid);
      const name = `layer-${checkedUid(volumeUid)}.img`;
      await relink(this.activePath(volumeUid, record), join(directory, name));
      for (const layer of record.chain) await relink(join(source, layer.name), join(directory, layer.name));
      await this.makeOverlay(directory, [{ name, format: record.format }, ...record.chain], record.virtualSizeBytes, signal);
    });
  }

  async makeBlankFile(path: string, sizeBytes: number): Promise<void> {
    await makeHole(path, sizeBytes);
  }

  /** Writes `volume.json` so that a crash leaves the old or the new one. */
  private async write(volumeUid: string, record: VolumeRecord): Promise<void> {
    const path = join(this.directory(volumeUid), RECORD_NAME);
    await writeDurably(path, JSON.stringify(record));
  }

  private async giveTo(volumeUid: string, record: VolumeRecord, uid: number): Promise<void> {
    const directory = this.directory(volumeUid);
    const disk = this.activePath(volumeUid, record);
    await chown(disk, uid, uid);
    await chmod(disk, 0o644);
    await chown(directory, 0, uid);
    await chmod(directory, uid === 0 ? 0o700 : 0o710);
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

  private async reflink(sourceUid: string, source: VolumeRecord, volumeUid: string, sizeBytes: number): Promise<boolean> {
    if (source.format !== 'raw') return false;
    const disk = this.diskPath(volumeUid);
    try {
      await copyFile(this.diskPath(sourceUid), disk, constants.COPYFILE_FICLONE_FORCE);
    } catch {
      await rm(disk, { force: true });
      return false; // the file system has no reflinks
    }
    await resizeRaw(disk, sizeBytes);
    await this.write(volumeUid, { format: 'raw', virtualSizeBytes: sizeBytes, chain: [], state: 'ready' });
    return true;
  }

  /** Turns the disk into a layer; returns the chain of an overlay above it, already linked where the overlay will be. */
  private async freeze(sourceUid: string, source: VolumeRecord): Promise<readonly Layer[]> {
    const directory = this.directory(sourceUid);
    const name = source.isFrozen ? await this.layerOf(sourceUid) : `layer-${this.deps.uid()}.img`;
    if (!source.isFrozen) {
      await seal(join(directory, DISK_NAME));
      await link(join(directory, DISK_NAME), join(this.layers, name));
      await this.write(sourceUid, { ...source, isFrozen: true });
    }
    return [{ name, format: source.format }, ...source.chain];
  }

  /** The layer that is the same file as the volume's disk. */
  private async layerOf(volumeUid: string): Promise<string> {
    const { ino } = await lstat(this.diskPath(volumeUid));
    for (const name of await readdir(this.layers)) if ((await lstat(join(this.layers, name))).ino === ino) return name;
    throw new VolumeError('InvalidVolume', `The layer of volume ${volumeUid} is missing`);
  }

  /** Gives a frozen volume an overlay of its own, so that it can be written again. */
  private async thaw(volumeUid: string, record: VolumeRecord, signal: AbortSignal): Promise<VolumeRecord> {
    const directory = this.directory(volumeUid);
    const { isFrozen: _, ...rest } = record;
    if (await this.isLastUser(volumeUid)) {
      await unlink(join(this.layers, await this.layerOf(volumeUid)));
      await chmod(join(directory, DISK_NAME), 0o644);
      await this.write(volumeUid, rest);
      return rest;
    }
    const chain: readonly Layer[] = [{ name: await this.layerOf(volumeUid), format: record.format }, ...record.chain];
    const thawed: VolumeRecord = { ...rest, format: 'qcow2', chain };
    await this.makeOverlay(directory, chain, record.virtualSizeBytes, signal);
    await this.write(volumeUid, thawed);
    return thawed;
  }

  /** True when only the layer store and the volume itself still name the file. */
  private async isLastUser(volumeUid: string): Promise<boolean> {
    return (await lstat(this.diskPath(volumeUid))).nlink <= 2;
  }

  private async makeOverlay(
    directory: string,
    chain: readonly Layer[],
    sizeBytes: number,
    signal: AbortSignal,
    name = DISK_NAME,
  ): Promise<void> {
    for (const layer of chain) await this.linkLayer(layer.name, directory);
    const [base] = chain;
    if (base === undefined) throw new VolumeError('InvalidVolume', 'An overlay needs a layer');
    const temporary = join(directory, `${name}.new`);
    await rm(temporary, { force: true });
    await this.deps.qemuImg.createOverlay(
      { path: temporary, base: base.name, baseFormat: base.format, sizeBytes, directory },
      signal,
    );
    await rename(temporary, join(directory, name));
  }

  private async linkLayer(name: string, directory: string): Promise<void> {
    await link(join(this.layers, name), join(directory, name)).catch((error: unknown) => {
      const code = codeOf(error);
      if (code !== 'EEXIST' && code !== 'ENOENT') throw error;
    });
    await lstat(join(directory, name)); // throws when the layer is neither in the store nor here already
  }

  private async collectLayers(): Promise<void> {
    for (const name of await readdir(this.layers)) {
      const path = join(this.layers, name);
      if ((await lstat(path)).nlink === 1) await unlink(path);
    }
  }

  private async checkSpace(sizeBytes: number): Promise<void> {
    const { blocks, bsize } = await statfs(this.root);
    if (sizeBytes > blocks * bsize)
      throw new VolumeError(
        'ProvisioningFailed',
        `The claim asks for ${sizeBytes} bytes, the file system of this node has ${blocks * bsize} in all: request less`,
      );
  }

  private async locked<T>(volumeUid: string, action: () => Promise<T>): Promise<T> {
    const before = this.locks.get(volumeUid) ?? Promise.resolve();
    const run = before.then(action, action);
    const settled = run.catch(() => {});
    this.locks.set(volumeUid, settled);
    try {
      return await run;
    } finally {
      if (this.locks.get(volumeUid) === settled) this.locks.delete(volumeUid);
    }
  }
}
