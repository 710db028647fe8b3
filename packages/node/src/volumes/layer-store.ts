import { chmod, link, lstat, readdir, rename, rm, unlink } from 'node:fs/promises';
import { join } from 'node:path';
import { codeOf } from './error-code.ts';
import type { QemuImg } from './qemu-img.ts';
import { VolumeError } from './volume-error.ts';
import { makeDirectory, seal } from './volume-files.ts';
import { DISK_NAME, type Layer, type VolumeRecord } from './volume-record.ts';

export interface LayerStoreDeps {
  /** Root of the agent's state. */
  readonly stateDir: string;
  readonly qemuImg: QemuImg;
  /** A new UUID. */
  readonly uid: () => string;
}

/** One volume as its layers see it. */
export interface LayeredVolume {
  readonly directory: string;
  readonly record: VolumeRecord;
  readonly write: (record: VolumeRecord) => Promise<void>;
}

/** Files that nobody writes any more, each with one name here and one in every directory of a volume that reads it. */
export class LayerStore {
  readonly root: string;
  private readonly deps: LayerStoreDeps;

  constructor(deps: LayerStoreDeps) {
    this.deps = deps;
    this.root = join(deps.stateDir, 'layers');
  }

  async open(): Promise<void> {
    await makeDirectory(this.root, 0o700);
  }

  /** Turns the disk into a layer; returns the chain of an overlay above it. */
  async freeze({ directory, record, write }: LayeredVolume): Promise<readonly Layer[]> {
    const name = record.isFrozen ? await this.layerOf(directory) : `layer-${this.deps.uid()}.img`;
    if (name === undefined) throw new VolumeError('InvalidVolume', `The layer of ${directory} is missing`);
    if (!record.isFrozen) {
      await seal(join(directory, DISK_NAME));
      await link(join(directory, DISK_NAME), join(this.root, name));
      await write({ ...record, isFrozen: true });
    }
    return [{ name, format: record.format }, ...record.chain];
  }

  /** Makes a frozen volume writable: by an overlay of its own, or in place when nobody else reads the layer. */
  async thaw({ directory, record, write }: LayeredVolume, signal: AbortSignal): Promise<VolumeRecord> {
    const { isFrozen: _, ...rest } = record;
    const layer = await this.layerOf(directory);
    const { nlink } = await lstat(join(directory, DISK_NAME));
    if (layer === undefined || nlink <= 2) {
      // a crash before the record was written leaves no layer: then the file is the volume's own already
      if (layer !== undefined) await unlink(join(this.root, layer));
      await chmod(join(directory, DISK_NAME), 0o644);
      await write(rest);
      return rest;
    }
    const chain: readonly Layer[] = [{ name: layer, format: record.format }, ...record.chain];
    const thawed: VolumeRecord = { ...rest, format: 'qcow2', chain };
    await this.makeOverlay(directory, chain, record.virtualSizeBytes, signal);
    await write(thawed);
    return thawed;
  }

  /** An empty overlay over the chain, whose files get their names in the directory. */
  async makeOverlay(
    directory: string,
    chain: readonly Layer[],
    sizeBytes: number,
    signal: AbortSignal,
    name = DISK_NAME,
  ): Promise<void> {
    await this.linkAll(chain, directory);
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

  /** Gives all layers their names in the directory. */
  async linkAll(chain: readonly Layer[], directory: string): Promise<void> {
    for (const layer of chain) await this.linkLayer(layer.name, directory);
  }

  /** Removes layers that no volume reads. */
  async collect(): Promise<void> {
    for (const name of await readdir(this.root)) {
      const path = join(this.root, name);
      const found = await lstat(path).catch(() => undefined); // another removal was faster
      if (found?.nlink === 1) await rm(path, { force: true });
    }
  }

  /** The layer that is the same file as the disk in this directory. */
  private async layerOf(directory: string): Promise<string | undefined> {
    const { ino } = await lstat(join(directory, DISK_NAME));
    for (const name of await readdir(this.root)) {
      const found = await lstat(join(this.root, name)).catch(() => undefined);
      if (found?.ino === ino) return name;
    }
    return undefined;
  }

  private async linkLayer(name: string, directory: string): Promise<void> {
    await link(join(this.root, name), join(directory, name)).catch((error: unknown) => {
      const code = codeOf(error);
      if (code !== 'EEXIST' && code !== 'ENOENT') throw error;
    });
    await lstat(join(directory, name)); // throws when the layer is neither in the store nor here already
  }
}
