import { deepEqual, isNotFound, type KubeObject, type ResourceKind } from '@slipway/apimachinery';
import type { Client } from '@slipway/client';

/**
 * Stores a new status when it differs from the object's. An object that is gone needs none. Throws a conflict when the
 * object is older than the stored one.
 */
export async function writeStatus<T extends KubeObject & { status?: unknown }>(
  client: Client,
  kind: ResourceKind<T>,
  object: T,
  status: T['status'],
  signal: AbortSignal,
): Promise<void> {
  if (deepEqual(object.status ?? {}, status ?? {})) return;
  try {
    await client.update(kind, { ...object, status }, { subresource: 'status', signal });
  } catch (error) {
    if (!isNotFound(error)) throw error;
  }
}
