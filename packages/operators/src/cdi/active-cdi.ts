import type { cdi } from '@slipway/api';
import type { Lister } from '@slipway/runtime';

export const CDI_FINALIZER = 'operator.cdi.kubevirt.io';

/** Its presence says that `CDI.spec.config` rules, and edits of the CDIConfig object are undone. */
export const CONFIG_AUTHORITY = 'cdi.kubevirt.io/configAuthority';

/** The CDI object that counts: the oldest, also while it is being deleted. All others are errors. */
export function activeCdi(cdis: Lister<cdi.CDI>): cdi.CDI | undefined {
  const age = ({ metadata }: cdi.CDI): string => `${metadata.creationTimestamp ?? ''} ${metadata.name ?? ''}`;
  return [...cdis.list()].sort((a, b) => age(a).localeCompare(age(b)))[0];
}
