import { type UnstructuredObject, apiVersionOf } from '@slipway/apimachinery';
import type { AdmissionRequest } from '@slipway/runtime';
import { type AuthorizerAnswer, type AuthorizerQuestion, authorizerVariable, toCel } from '@slipway/schema';
import type { Authorizer } from '../../authz/authorizer.ts';
import type { Registry } from '../../registry/registry.ts';
import type { ResourceDefinition } from '../../registry/resource-definition.ts';

export interface VariableDeps {
  readonly registry: Registry;
  readonly authorizer: Authorizer;
}

export type Variables = Readonly<Record<string, unknown>>;

/** Values that are worked out when they are first read, and once. */
export function lazyVariables(values: Readonly<Record<string, () => unknown>>): Variables {
  const result: Record<string, unknown> = {};
  for (const [name, value] of Object.entries(values)) {
    let known: { readonly value: unknown } | undefined;
    Object.defineProperty(result, name, { enumerable: true, get: () => (known ??= { value: value() }).value });
  }
  return result;
}

/** The variables of a request as expressions see them; `form` is the version in which the rules want the object. */
export function requestVariables(
  deps: VariableDeps,
  request: AdmissionRequest,
  form: ResourceDefinition | undefined,
  more: Readonly<Record<string, () => unknown>> = {},
): Variables {
  const shown = (object: UnstructuredObject | undefined): unknown =>
    object === undefined ? null : toCel(shownForm(object, request, form));
  return lazyVariables({
    object: () => shown(request.object),
    oldObject: () => shown(request.oldObject),
    request: () => toCel(reviewOf(request, form)),
    namespaceObject: () => namespaceOf(deps, request),
    authorizer: () => authorizerOf(deps, request),
    ...more,
  });
}

function shownForm(object: UnstructuredObject, request: AdmissionRequest, form: ResourceDefinition | undefined): object {
  if (request.operation === 'CONNECT') {
    const { metadata: _metadata, ...options } = object;
    return options;
  }
  const isOwnForm = request.objectKind === undefined && form?.plural === request.resource;
  return isOwnForm ? { ...object, apiVersion: apiVersionOf(form) } : object;
}

function reviewOf(request: AdmissionRequest, form: ResourceDefinition | undefined): Record<string, unknown> {
  const { user, group, version, kind, resource, subresource } = request;
  const matched = form ?? { group, version, kind, plural: resource };
  return {
    kind: request.objectKind ?? { group: matched.group, version: matched.version, kind: matched.kind },
    resource: { group: matched.group, version: matched.version, resource: matched.plural },
    subResource: subresource,
    requestKind: request.objectKind ?? { group, version, kind },
    requestResource: { group, version, resource },
    requestSubResource: subresource,
    name: request.name,
    namespace: request.namespace,
    operation: request.operation,
    userInfo: { username: user.username, uid: user.uid ?? '', groups: [...user.groups], extra: { ...user.extra } },
    dryRun: request.dryRun,
    options: request.options ?? {},
  };
}

function namespaceOf({ registry }: VariableDeps, { namespace, group, resource }: AdmissionRequest): unknown {
  if (namespace === '' || (group === '' && resource === 'namespaces')) return null;
  const object = registry.lookup('', 'namespaces', '', namespace);
  return object === undefined ? null : toCel(object);
}

function authorizerOf({ authorizer }: VariableDeps, request: AdmissionRequest): unknown {
  const { group, resource, subresource, namespace, name } = request;
  const ask = (question: AuthorizerQuestion): AuthorizerAnswer => {
    const { serviceAccount, ...wanted } = question;
    const user = serviceAccount === undefined ? request.user : accountOf(serviceAccount);
    const { verdict, reason } = authorizer({ ...wanted, user, isResource: wanted.path === '' });
    return { isAllowed: verdict === 'allow', reason };
  };
  return authorizerVariable(ask, { group, resource, subresource, namespace, name });
}

const accountOf = ({ namespace, name }: { readonly namespace: string; readonly name: string }): AdmissionRequest['user'] => ({
  username: `system:serviceaccount:${namespace}:${name}`,
  groups: ['system:serviceaccounts', `system:serviceaccounts:${namespace}`, 'system:authenticated'],
});
