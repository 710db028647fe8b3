import { isDeepStrictEqual } from 'node:util';
import type { VirtualMachineInstance } from '@slipway/api';
import type { ClusterConfig } from '../config.ts';
import { type Cause, notSupported, when } from './causes.ts';
import { checkHotplug } from './hotplug.ts';
import { checkInstanceSpec } from './instance-spec.ts';
import { checkInstanceMetadata, RESERVED_LABELS } from './metadata.ts';
import { checkUtilityVolumes } from './special-volumes.ts';

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
    ...checkUtilityVolumes('spec', vmi.spec, true),
  ];
}

/** Rules for changing an instance. */
export function validateVirtualMachineInstanceUpdate(
  vmi: VirtualMachineInstance,
  old: VirtualMachineInstance,
  requester: Requester,
): readonly Cause[] {
  const isSame = isDeepStrictEqual(vmi.spec, old.spec);
  if (requester.isPlatform) return isSame ? [] : [...checkHotplug(vmi, old), ...checkUtilityVolumes('spec', vmi.spec, false)];
  if (!isSame) return [notSupported(undefined, 'update of VMI object is restricted')];
  const changed = RESERVED_LABELS.some((label) => vmi.metadata.labels?.[label] !== old.metadata.labels?.[label]);
  return when(changed, () =>
    notSupported('metadata.labels', 'modification of the following reserved kubevirt.io/ labels on a VMI object is prohibited'),
  );
}
