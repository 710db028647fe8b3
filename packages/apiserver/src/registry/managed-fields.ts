import { type UnstructuredObject, deepEqual } from '@slipway/apimachinery';
import type { WriteContext } from './write-context.ts';

/** Records in `object` which fields this write changed. */
export function trackUpdate(_context: WriteContext, _object: UnstructuredObject, _old: UnstructuredObject | undefined): void {
  // filled by the server-side apply algorithms
}

/** True when the objects differ in managedFields at most, and there in times alone. */
export function onlyManagedFieldsChanged(next: UnstructuredObject, old: UnstructuredObject): boolean {
  const plain = (object: UnstructuredObject): unknown => ({
    ...object,
    metadata: { ...object.metadata, managedFields: object.metadata.managedFields?.map((entry) => ({ ...entry, time: '' })) },
  });
  return deepEqual(plain(next), plain(old));
}
