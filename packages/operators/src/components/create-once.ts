import { ignoreAlreadyExists, isNotFound, type KubeObject, type ResourceKind } from '@slipway/apimachinery';
import type { Client } from '@slipway/client';

/** Creates an object unless it exists; reading first keeps refusals out of the audit log. */
export async function createOnce<T extends KubeObject>(
  client: Client,
  kind: ResourceKind<T>,
  object: T,
  signal: AbortSignal,
): Promise<void> {
  const { name = '', namespace = '' } = object.metadata;
  try {
    await client.get(kind, { namespace, name }, { signal });
  } catch (error) {
    if (!isNotFound(error)) throw error;
    await client.create(kind, object, { signal }).catch(ignoreAlreadyExists);
  }
}
