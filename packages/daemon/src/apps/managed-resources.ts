import { isObject, StatusError } from '@slipway/apimachinery';
import type { Client } from '@slipway/client';
import { type Application, type ManagedResource, MANAGED_RESOURCES } from '@slipway/gitops';

/** What an application has at a revision, compared anew. Throws StatusError when the server does not say. */
export async function managedResources(
  client: Client,
  { metadata }: Application,
  revision: string | undefined,
): Promise<ManagedResource[]> {
  const { group, version, resource } = MANAGED_RESOURCES;
  const path = `/apis/${group}/${version}/namespaces/${metadata.namespace}/${resource}/${metadata.name}/managed-resources`;
  const { status, body } = await client.raw({ method: 'GET', path, query: { revision } });
  if (status === 200 && isObject(body) && Array.isArray(body['items'])) return body['items'] as ManagedResource[]; // by our own server
  const reason = isObject(body) && typeof body['message'] === 'string' ? body['message'] : `the server answered ${status}`;
  throw new StatusError({ code: status, reason: 'Unknown', message: `Nothing to compare: ${reason}` });
}
