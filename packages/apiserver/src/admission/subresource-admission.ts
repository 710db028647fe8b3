import { type UnstructuredObject, isObject } from '@slipway/apimachinery';
import type { AdmissionRequest } from '@slipway/runtime';
import type { Call } from '../pipeline/server-context.ts';
import { writeContext } from '../pipeline/write-options.ts';
import type { ResourceDefinition } from '../registry/resource-definition.ts';
import type { AdmissionChain } from './admission-chain.ts';

/** What is asked of a subresource that is no update of its object: an eviction, a binding, a token, a stream. */
export interface SubresourceRequest {
  readonly operation: 'CREATE' | 'UPDATE' | 'CONNECT';
  readonly subresource: string;
  /** Type of the body, or of the options of a stream. */
  readonly kind: { readonly group: string; readonly version: string; readonly kind: string };
  readonly body: unknown;
  readonly oldBody?: UnstructuredObject;
  readonly dryRun?: boolean;
}

/** Asks admission about a subresource; resolves with the body as admission left it. Throws StatusError. */
export async function admitSubresource(
  call: Call,
  definition: ResourceDefinition,
  { operation, subresource, kind, body, oldBody, dryRun }: SubresourceRequest,
): Promise<UnstructuredObject> {
  const { info, user, server, annotations, warnings } = call;
  const context = operation === 'CONNECT' ? undefined : writeContext(call, definition, { subresource });
  const warn = (text: string): void => {
    if (!warnings.includes(text)) warnings.push(text);
  };
  const request: AdmissionRequest & { readonly object: UnstructuredObject } = {
    ...{ operation, subresource, user, name: info.name },
    ...{ group: definition.group, version: definition.version, kind: definition.kind, resource: definition.plural },
    namespace: definition.namespaced ? info.namespace : '',
    dryRun: dryRun ?? context?.dryRun ?? false,
    object: objectOf(body, kind, operation === 'CONNECT' ? {} : { name: info.name, namespace: info.namespace }),
    objectKind: kind,
    ...(oldBody && { oldObject: oldBody }),
    ...(context?.options && { options: context.options }),
    annotate(key, value) {
      annotations[key] = value;
    },
  };
  const object = (await server.admission.mutate(request, warn, (changed) => changed)) ?? request.object;
  await server.admission.validate({ ...request, object }, warn);
  return object;
}

function objectOf(
  body: unknown,
  { group, version, kind }: SubresourceRequest['kind'],
  identity: UnstructuredObject['metadata'],
): UnstructuredObject {
  const given = isObject(body) ? body : {};
  const metadata = isObject(given['metadata']) ? given['metadata'] : {};
  return { ...given, apiVersion: group === '' ? version : `${group}/${version}`, kind, metadata: { ...identity, ...metadata } };
}

/** For what the server itself does once a subresource has been admitted. */
export const alreadyAdmitted: AdmissionChain = {
  mutate: async ({ object }) => object,
  validate: async () => undefined,
};
