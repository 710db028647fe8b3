import { ignoreNotFound, keyOf, type KubeObject, type ResourceKind } from '@slipway/apimachinery';
import type { Client } from '@slipway/client';

/** Lets an object go that is being deleted; does nothing when its finalizer is gone. */
export async function dropFinalizer<T extends KubeObject>(
  client: Client,
  kind: ResourceKind<T>,
  { metadata }: T,
  finalizer: string,
  signal: AbortSignal,
): Promise<void> {
  const { finalizers = [], resourceVersion } = metadata;
  if (!finalizers.includes(finalizer)) return;
  const left = finalizers.filter((other) => other !== finalizer);
  const patch = { metadata: { resourceVersion, finalizers: left.length === 0 ? null : left } };
  await client.patch(kind, keyOf({ metadata }), patch, { type: 'merge', signal }).catch(ignoreNotFound);
}
