import type { UnstructuredObject } from '@slipway/apimachinery';

const COLLECTIONS = ['finalizers', 'ownerReferences', 'labels', 'annotations', 'managedFields'] as const;

/** Drops empty collections, which mean the same as none, and owners named twice (with a warning). */
export function cleanMetadata({ metadata }: UnstructuredObject, warn: (text: string) => void): void {
  for (const field of COLLECTIONS) {
    const value = metadata[field];
    if (value === null || (typeof value === 'object' && Object.keys(value).length === 0)) delete metadata[field];
  }
  const owners = metadata.ownerReferences;
  if (owners === undefined) return;
  const repeated = owners.filter(({ uid }, index) => owners.findIndex((other) => other.uid === uid) !== index);
  if (repeated.length === 0) return;
  metadata.ownerReferences = owners.filter((owner) => !repeated.includes(owner));
  const uids = [...new Set(repeated.map(({ uid }) => uid))].join(', ');
  warn(
    `.metadata.ownerReferences contains duplicate entries; API server dedups owner references in 1.20+, and may reject such requests as early as 1.24; please fix your requests; duplicate UID(s) observed: ${uids}`,
  );
}
