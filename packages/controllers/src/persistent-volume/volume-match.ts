import {
  compareQuantities,
  type KubeObject,
  matchesLabels,
  parseQuantity,
  type Quantity,
  selectorOf,
} from '@slipway/apimachinery';
import type { PersistentVolume, PersistentVolumeClaim } from '@slipway/api';

type References = { readonly name?: string; readonly namespace?: string; readonly uid?: string };

export const requestedStorage = ({ spec }: PersistentVolumeClaim): Quantity => storageOf(spec?.resources?.requests);

export function storageOf(quantities: Readonly<Record<string, unknown>> | undefined): Quantity {
  const storage = quantities?.['storage'];
  return parseQuantity(typeof storage === 'string' || typeof storage === 'number' ? storage : '0');
}

/** Whether a claimRef means this claim; one without uid means any claim of that name. */
export function refersTo(reference: References | undefined, { metadata }: KubeObject): boolean {
  if (reference?.name !== metadata.name || reference?.namespace !== metadata.namespace) return false;
  return !reference?.uid || reference.uid === metadata.uid;
}

/** Whether a volume that is free, or reserved for this claim, has what the claim asks for. */
export function fitsClaim(volume: PersistentVolume, claim: PersistentVolumeClaim): boolean {
  const { claimRef } = volume.spec ?? {};
  if (volume.metadata.deletionTimestamp || (claimRef && !refersTo(claimRef, claim))) return false;
  return (
    hasShape(volume, claim) &&
    isSelected(volume, claim) &&
    compareQuantities(storageOf(volume.spec?.capacity), requestedStorage(claim)) >= 0
  );
}

function hasShape({ spec: volume = {} }: PersistentVolume, { spec: claim = {} }: PersistentVolumeClaim): boolean {
  const hasModes = (claim.accessModes ?? []).every((mode) => volume.accessModes?.includes(mode));
  const isSameClass = (volume.storageClassName ?? '') === (claim.storageClassName ?? '');
  return isSameClass && hasModes && modeOf(volume) === modeOf(claim);
}

const modeOf = ({ volumeMode }: { readonly volumeMode?: string }): string => volumeMode ?? 'Filesystem';

function isSelected({ metadata }: PersistentVolume, { spec }: PersistentVolumeClaim): boolean {
  if (!spec?.selector) return true;
  const selector = selectorOf(spec.selector as Parameters<typeof selectorOf>[0]);
  return selector !== undefined && matchesLabels(selector, metadata.labels ?? {});
}

/** The smallest volume that fits, so that large ones stay for those who need them. */
export function bestVolume(volumes: readonly PersistentVolume[], claim: PersistentVolumeClaim): PersistentVolume | undefined {
  return volumes
    .filter((volume) => fitsClaim(volume, claim))
    .sort((a, b) => compareQuantities(storageOf(a.spec?.capacity), storageOf(b.spec?.capacity)))[0];
}
