import { ignoreNotFound, keyOf, type KubeObject, type ResourceKind } from '@slipway/apimachinery';
import type { Client } from '@slipway/client';
import type { EventRecorder } from '@slipway/runtime';

/** Takes an object along with the component whose kind it is, and says so at the component. */
export async function removeWorkload(
  { client, events }: { readonly client: Client; readonly events: EventRecorder },
  component: KubeObject,
  kind: ResourceKind<KubeObject>,
  object: KubeObject,
  signal: AbortSignal,
): Promise<void> {
  if (object.metadata.deletionTimestamp) return;
  const { namespace, name } = object.metadata;
  await client.delete(kind, keyOf(object), { signal }).catch(ignoreNotFound);
  events.normal(component, 'SuccessfulDelete', `Deleted ${kind.kind} ${namespace}/${name}`);
}
