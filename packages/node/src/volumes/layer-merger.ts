import { chmod, chown, lstat, open, rename, rm } from 'node:fs/promises';
import { join } from 'node:path';
import type { LayeredVolume, LayerStore } from './layer-store.ts';
import type { QemuImg } from './qemu-img.ts';
import { exists, syncDirectory } from './volume-files.ts';
import { DISK_NAME, type VolumeRecord } from './volume-record.ts';

export interface LayerMergerDeps {
  readonly layers: LayerStore;
  readonly qemuImg: Pick<QemuImg, 'commit'>;
  /** User of the tool that reads and writes the images; nobody else runs as it. */
  readonly toolUid: number;
}

/**
 * Makes the chain of a volume shorter: what was written last goes into the layer below, when nobody else reads that. The
 * volume shows the same content at every moment, so that a crash or an abort loses nothing.
 */
export class LayerMerger {
  private readonly deps: LayerMergerDeps;

  constructor(deps: LayerMergerDeps) {
    this.deps = deps;
  }

  /** One layer less; undefined when there is none to merge, or somebody uses the volume. */
  async mergeOnce(volume: LayeredVolume, signal: AbortSignal): Promise<VolumeRecord | undefined> {
    const record = await this.settled(volume, signal);
    const [base] = record.chain;
    if (base === undefined || !isAtRest(record) || !(await this.isOwn(volume.directory, base.name))) return undefined;
    await this.commit(volume.directory, record, signal);
    const merging: VolumeRecord = { ...record, merging: base.name };
    await volume.write(merging);
    return this.finish({ ...volume, record: merging });
  }

  /** After the content of the disk has gone into the layer below it: that becomes the disk. May be repeated. */
  async finish({ directory, record, write }: LayeredVolume): Promise<VolumeRecord> {
    const { merging, ...rest } = record;
    const [base, ...chain] = record.chain;
    if (merging === undefined || base === undefined) return record;
    if (await exists(join(directory, merging))) await rename(join(directory, merging), join(directory, DISK_NAME));
    await rm(join(this.deps.layers.root, merging), { force: true });
    await chown(join(directory, DISK_NAME), 0, 0);
    await chmod(join(directory, DISK_NAME), 0o644);
    await syncDirectory(directory);
    const merged: VolumeRecord = { ...rest, format: base.format, chain };
    await write(merged);
    return merged;
  }

  /** A disk that was a layer of others is the volume's own again when they are gone. */
  private async settled(volume: LayeredVolume, signal: AbortSignal): Promise<VolumeRecord> {
    const { record, directory } = volume;
    const isLast = record.isFrozen === true && (await lstat(join(directory, DISK_NAME))).nlink <= 2;
    return isLast && record.chain.length > 0 ? this.deps.layers.thaw(volume, signal) : record;
  }

  /** Only the layer store and this volume name the file. */
  private async isOwn(directory: string, name: string): Promise<boolean> {
    return (await lstat(join(directory, name))).nlink === 2;
  }

  /** The images are a guest's work: whoever opens them has the rights of nobody. */
  private async commit(directory: string, record: VolumeRecord, signal: AbortSignal): Promise<void> {
    const { qemuImg, toolUid } = this.deps;
    const [base, ...below] = record.chain;
    if (base === undefined) return;
    const files = [join(directory, DISK_NAME), join(directory, base.name)];
    try {
      // readable for all: after a crash here the next guest still finds its layers
      for (const file of files) await this.give(file, toolUid, 0o644);
      await chown(directory, 0, toolUid);
      await chmod(directory, 0o710);
      const chain = [base, ...below].map(({ name, format }) => ({ path: join(directory, name), format }));
      await qemuImg.commit({ path: join(directory, DISK_NAME), chain, uid: toolUid }, signal);
      await sync(join(directory, base.name));
    } finally {
      await chown(directory, 0, 0);
      await chmod(directory, 0o700);
      await this.give(join(directory, DISK_NAME), 0, 0o644);
      await this.give(join(directory, base.name), 0, 0o444);
    }
  }

  private async give(path: string, uid: number, mode: number): Promise<void> {
    await chown(path, uid, uid);
    await chmod(path, mode);
  }
}

/** Nobody writes or reads on, and nothing else has been begun. */
const isAtRest = ({ format, writer, isFrozen, pivot, active, state }: VolumeRecord): boolean =>
  format === 'qcow2' && state !== 'filling' && !isFrozen && !writer && !pivot && !active;

async function sync(path: string): Promise<void> {
  const file = await open(path, 'r');
  try {
    await file.sync();
  } finally {
    await file.close();
  }
}
