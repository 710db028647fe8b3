import { isDeepStrictEqual } from 'node:util';
import type { kubevirt, VirtualMachineInstance } from '@slipway/api';

type Preset = kubevirt.VirtualMachineInstancePreset;
type Section = 'cpu' | 'memory' | 'firmware' | 'clock' | 'features' | 'machine' | 'ioThreadsPolicy';

const SECTIONS: readonly Section[] = ['cpu', 'memory', 'firmware', 'clock', 'features', 'machine', 'ioThreadsPolicy'];

/** Two presets that select the same instance and contradict each other. */
export class PresetConflict extends Error {
  constructor(first: string, second: string, section: string) {
    super(
      `VirtualMachinePresets cannot be applied due to conflicts: presets '${first}' and '${second}' conflict: spec.${section} differs`,
    );
    this.name = 'PresetConflict';
  }
}

function checkConflicts(presets: readonly Preset[]): void {
  for (const [index, preset] of presets.entries())
    for (const other of presets.slice(index + 1))
      for (const section of SECTIONS) {
        const [a, b] = [preset.spec?.domain?.[section], other.spec?.domain?.[section]];
        if (a !== undefined && b !== undefined && !isDeepStrictEqual(a, b))
          throw new PresetConflict(other.metadata.name ?? '', preset.metadata.name ?? '', section);
      }
}

function fillResources(domain: kubevirt.DomainSpec, preset: kubevirt.DomainSpec): void {
  const { requests, limits } = preset.resources ?? {};
  if (!requests && !limits) return;
  domain.resources = {
    ...domain.resources,
    ...(requests && { requests: { ...requests, ...domain.resources?.requests } }),
    ...(limits && { limits: { ...limits, ...domain.resources?.limits } }),
  };
}

/**
 * The instance with what its presets give and it does not say itself. A section that the instance has wins over the
 * preset. Throws PresetConflict.
 */
export function applyPresets(original: VirtualMachineInstance, presets: readonly Preset[]): VirtualMachineInstance {
  if (presets.length === 0) return original;
  checkConflicts(presets);
  const vmi = structuredClone(original);
  const { domain } = vmi.spec;
  const applied: Record<string, string> = {};
  for (const { metadata, spec } of presets) {
    const preset = spec?.domain;
    if (!preset) continue;
    const overridden = SECTIONS.some(
      (section) =>
        preset[section] !== undefined && domain[section] !== undefined && !isDeepStrictEqual(preset[section], domain[section]),
    );
    for (const section of SECTIONS)
      if (domain[section] === undefined && preset[section] !== undefined)
        Object.assign(domain, { [section]: structuredClone(preset[section]) });
    fillResources(domain, preset);
    if (preset.devices?.watchdog && !domain.devices.watchdog) domain.devices.watchdog = structuredClone(preset.devices.watchdog);
    if (!overridden) applied[`virtualmachinepreset.kubevirt.io/${metadata.name}`] = 'kubevirt.io/v1';
  }
  if (Object.keys(applied).length > 0) vmi.metadata.annotations = { ...vmi.metadata.annotations, ...applied };
  return vmi;
}
