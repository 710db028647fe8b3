import type { kubevirt } from '@slipway/api';
import type { Informers } from '@slipway/runtime';
import { PresetKind } from './kinds.ts';

/** Presets by namespace from the shared caches; undefined until they are filled. */
export function cachedPresets(
  informers: Informers,
): (namespace: string) => readonly kubevirt.VirtualMachineInstancePreset[] | undefined {
  const presets = informers.for(PresetKind);
  return (namespace) => (presets.hasSynced ? presets.lister.list(namespace) : undefined);
}
