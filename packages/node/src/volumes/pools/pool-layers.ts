import { LayerMerger } from '../layer-merger.ts';
import { LayerStore } from '../layer-store.ts';
import type { QemuImg } from '../qemu-img.ts';

export interface PoolLayersDeps {
  readonly qemuImg: QemuImg;
  /** A new UUID. */
  readonly uid: () => string;
  /** User that merges layers; without it they stay apart. */
  readonly toolUid?: number;
}

/** What works on the layers of one pool: a file has all its names on one file system. */
export interface PoolLayers {
  readonly layers: LayerStore;
  readonly merger?: LayerMerger;
}

/** The layers of the pool below this directory, the same each time. */
export function poolLayers({ qemuImg, uid, toolUid }: PoolLayersDeps): (root: string) => PoolLayers {
  const made = new Map<string, PoolLayers>();
  return (root) => {
    const known = made.get(root);
    if (known !== undefined) return known;
    const layers = new LayerStore({ stateDir: root, qemuImg, uid });
    const found: PoolLayers = { layers, ...(toolUid !== undefined && { merger: new LayerMerger({ layers, qemuImg, toolUid }) }) };
    made.set(root, found);
    return found;
  };
}
