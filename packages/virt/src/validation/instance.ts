import { isDeepStrictEqual } from 'node:util';
import type { VirtualMachineInstance } from '@slipway/api';
import type { ClusterConfig } from '../config.ts';
import { type Cause, notSupported, when } from './causes.ts';
import { checkInstanceSpec } from './instance-spec.ts';
import { checkInstanceMetadata, RESERVED_LABELS } from './metadata.ts';

/** Who changes an instance: the platform's components may do what users may not. */
export interface Requester {
  readonly isPlatform: boolean;
}

/** Rules for creating an instance; it must be defaulted. */
export function validateVirtualMachineInstance(
  vmi: VirtualMachineInstance,
  config: ClusterConfig,
  requester: Requester,
): readonly Cause[] {
  return [
    ...(requester.isPlatform ? [] : checkInstanceMetadata('metadata', vmi.metadata, config)),
    ...checkInstanceSpec('spec', vmi.spec, config, { volumesMustBeUsed: true }),
  ];
}

function checkHotplugUpdate(vmi: VirtualMachineInstance, old: VirtualMachineInstance): readonly Cause[] {
  const fixed = (object: VirtualMachineInstance) =>
    (object.spec.volumes ?? [])
      .filter((volume) => !volume.persistentVolumeClaim?.hotpluggable && !volume.dataVolume?.hotpluggable && !volume.memoryDump)
      .map(({ name }) => name)
      .toSorted();
  const before = new Set(fixed(old));
  const lost = [...before].filter((name) => !(vmi.spec.volumes ?? []).some((volume) => volume.name === name));
  const { maxSockets } = old.spec.domain.cpu ?? {};
  const maxGuest = old.spec.domain.memory?.maxGuest;
  return [
    ...when(lost.length > 0, () => notSupported(undefined, `Number of permanent volumes has changed: ${lost.join(', ')}`)),
    ...when(maxSockets !== undefined && vmi.spec.domain.cpu?.maxSockets !== maxSockets, () =>
      notSupported('spec.domain.cpu.maxSockets', 'CPU topology maxSockets changed'),
    ),
    ...when(maxGuest !== undefined && String(vmi.spec.domain.memory?.maxGuest) !== String(maxGuest), () =>
      notSupported('spec.domain.memory.maxGuest', 'Memory maxGuest changed'),
    ),
  ];
}

/** Rules for changing an instance. */
export function validateVirtualMachineInstanceUpdate(
  vmi: VirtualMachineInstance,
  old: VirtualMachineInstance,
  requester: Requester,
): readonly Cause[] {
  const isSame = isDeepStrictEqual(vmi.spec, old.spec);
  if (requester.isPlatform) return isSame ? [] : checkHotplugUpdate(vmi, old);
  if (!isSame) return [notSupported(undefined, 'update of VMI object is restricted')];
  const changed = RESERVED_LABELS.some((label) => vmi.metadata.labels?.[label] !== old.metadata.labels?.[label]);
  return when(changed, () =>
    notSupported('metadata.labels', 'modification of the following reserved kubevirt.io/ labels on a VMI object is prohibited'),
  );
}
