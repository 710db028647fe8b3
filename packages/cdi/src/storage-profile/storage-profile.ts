import type { StorageClass, StorageProfile } from '@slipway/api';
import { capabilitiesOf, type PropertySets } from './capabilities.ts';

/**
 * Access and volume modes that DataVolumes may ask of a class, best first: what its profile says, or, before there is a
 * profile, what is known of the provisioner.
 */
export function claimPropertySets(storageClass: StorageClass, profile: StorageProfile | undefined): PropertySets {
  const known = capabilitiesOf(storageClass);
  const sets = profile?.spec.claimPropertySets ?? profile?.status?.claimPropertySets;
  return sets ?? (typeof known === 'string' ? [] : known.sets);
}

const isMarked = (storageClass: StorageClass, annotation: string): boolean =>
  storageClass.metadata.annotations?.[annotation] === 'true';

/** The class for DataVolumes that name none: the default for VMs, else the cluster's. The newest of several wins. */
export function defaultClass(classes: readonly StorageClass[], contentType: string | undefined): StorageClass | undefined {
  const newest = [...classes].sort(
    (a, b) =>
      (b.metadata.creationTimestamp ?? '').localeCompare(a.metadata.creationTimestamp ?? '') ||
      (a.metadata.name ?? '').localeCompare(b.metadata.name ?? ''),
  );
  const forVms =
    contentType === 'archive'
      ? undefined
      : newest.find((item) => isMarked(item, 'storageclass.kubevirt.io/is-default-virt-class'));
  return forVms ?? newest.find((item) => isMarked(item, 'storageclass.kubernetes.io/is-default-class'));
}
