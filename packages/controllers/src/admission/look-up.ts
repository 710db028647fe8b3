import { isNotFound, type KubeObject, type ObjectKey, type ResourceKind } from '@slipway/apimachinery';
import type { Client } from '@slipway/client';

/** The object, or undefined when there is none. */
export async function find<T extends KubeObject>(client: Client, kind: ResourceKind<T>, key: ObjectKey): Promise<T | undefined> {
  try {
    return await client.get(kind, key);
  } catch (error) {
    if (isNotFound(error)) return undefined;
    throw error;
  }
}
