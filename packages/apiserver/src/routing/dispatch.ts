import type { Answer, Call } from '../pipeline/server-context.ts';
import { handleResource, resourceNotFound } from '../pipeline/resource-handler.ts';
import { handleApiService } from '../api-services/proxy.ts';
import { handleAggregated } from './aggregated.ts';
import { handleNonResource, pageNotFound } from './non-resource.ts';
import { handleSubresource } from '../subresources/subresources.ts';

/** Sends an authorized request to the code that answers it. Throws StatusError. */
export async function dispatch(call: Call): Promise<Answer> {
  const { info, server } = call;
  const proxied = handleApiService(call);
  const fromBackend = proxied && (await proxied);
  if (fromBackend !== undefined) return fromBackend;
  if (!info.isResource) return handleNonResource(call);
  const aggregated = handleAggregated(call);
  if (aggregated !== undefined) return aggregated;
  const { registry } = server;
  const definition = registry.find(info.group, info.version, info.resource);
  if (definition === undefined) return unknownResource(call);
  if (definition.custom && definition.namespaced && info.namespace === '' && isNamespacedOnly(call)) return pageNotFound();
  if (definition.virtual === true) {
    const handler = server.virtualHandlers.get(`${definition.group}/${definition.plural}`);
    if (handler === undefined) throw resourceNotFound();
    return handleSubresource(call, definition, handler);
  }
  if (info.subresource === '' || (info.subresource === 'status' && definition.subresources.status)) {
    return handleResource(call, definition);
  }
  return handleSubresource(
    call,
    definition,
    server.virtualHandlers.get(`${definition.group}/${definition.plural}/${info.subresource}`),
  );
}

/** Built-in groups answer a Status, unknown groups and those of custom resources the plain text of a missing page. */
function unknownResource({ info, server: { registry } }: Call): Answer {
  const isBuiltIn = info.group === '' || registry.all().some(({ group, custom }) => group === info.group && !custom);
  if (isBuiltIn) throw resourceNotFound();
  return pageNotFound();
}

const isNamespacedOnly = ({ info }: Call): boolean => info.name !== '' || info.verb === 'create';
