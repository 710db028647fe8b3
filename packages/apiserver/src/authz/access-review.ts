import { badRequest, invalid, invalidValue, isObject } from '@slipway/apimachinery';
import type { PolicyRule, UserInfo } from '@slipway/runtime';
import type { Call, VirtualHandler } from '../pipeline/server-context.ts';
import type { AuthorizationRequest } from './authorizer.ts';
import { nodeNameOf } from './node-authorizer.ts';
import { visitRules } from './rbac.ts';

const text = (value: unknown): string => (typeof value === 'string' ? value : '');

function requestOf(user: UserInfo, spec: Record<string, unknown>): AuthorizationRequest {
  const resource = spec['resourceAttributes'];
  const nonResource = spec['nonResourceAttributes'];
  if (isObject(resource)) {
    return {
      user,
      verb: text(resource['verb']),
      resource: text(resource['resource']),
      subresource: text(resource['subresource']),
      group: text(resource['group']),
      namespace: text(resource['namespace']),
      name: text(resource['name']),
      path: '',
      isResource: true,
    };
  }
  const attributes = isObject(nonResource) ? nonResource : {};
  return {
    user,
    verb: text(attributes['verb']),
    resource: '',
    subresource: '',
    group: '',
    namespace: '',
    name: '',
    path: text(attributes['path']),
    isResource: false,
  };
}

/** The body of a review. Throws 400 and 422. */
function specOf(body: unknown): { body: Record<string, unknown>; spec: Record<string, unknown> } {
  if (!isObject(body)) throw badRequest('the body of the request must be an access review');
  const spec = isObject(body['spec']) ? body['spec'] : {};
  const given = [spec['resourceAttributes'], spec['nonResourceAttributes']].filter(isObject).length;
  if (given !== 1) {
    const detail =
      given === 0
        ? 'exactly one of nonResourceAttributes or resourceAttributes must be specified'
        : 'cannot be specified in combination with resourceAttributes';
    const path = given === 0 ? 'spec.resourceAttributes' : 'spec.nonResourceAttributes';
    throw invalid({ group: 'authorization.k8s.io', kind: text(body['kind']) }, '', [
      {
        ...invalidValue(path, null, detail),
        detail:
          given === 0
            ? `Invalid value: null: ${detail}`
            : `Invalid value: ${JSON.stringify(spec['nonResourceAttributes'])}: ${detail}`,
      },
    ]);
  }
  return { body, spec };
}

function answer(call: Call, body: Record<string, unknown>, spec: Record<string, unknown>, user: UserInfo) {
  const decision = call.server.authorizer(requestOf(user, spec));
  const status = {
    allowed: decision.verdict === 'allow',
    ...(decision.verdict === 'deny' && { denied: true }),
    ...(decision.reason !== '' && { reason: decision.reason }),
  };
  const metadata = { creationTimestamp: null, ...(isObject(body['metadata']) ? body['metadata'] : {}) };
  return { status: 201, value: { kind: body['kind'], apiVersion: body['apiVersion'], metadata, spec, status } };
}

/** POST `selfsubjectaccessreviews`. */
export const selfSubjectAccessReview: VirtualHandler = async (call, value) => {
  const { body, spec } = specOf(value);
  return answer(call, body, spec, call.user);
};

/** POST `subjectaccessreviews` and `localsubjectaccessreviews`. */
export const subjectAccessReview: VirtualHandler = async (call, value) => {
  const { body, spec } = specOf(value);
  const groups = Array.isArray(spec['groups']) ? spec['groups'].filter((group) => typeof group === 'string') : [];
  if (!spec['user'] && groups.length === 0) {
    throw invalid({ group: 'authorization.k8s.io', kind: text(body['kind']) }, '', [
      { ...invalidValue('spec.user', '', 'at least one of user or group must be specified') },
    ]);
  }
  const { namespace } = call.info;
  const attributes = spec['resourceAttributes'];
  if (namespace !== '' && isObject(attributes) && attributes['namespace'] !== namespace) {
    throw badRequest(`namespace on the request (${namespace}) does not match the one of the review`);
  }
  const extra = isObject(spec['extra']) ? (spec['extra'] as Record<string, string[]>) : undefined; // only passed on
  return answer(call, body, spec, { username: text(spec['user']), groups, ...(extra && { extra }) });
};

/** What a node may do depends on what is bound to it, which no list of rules can say. */
const completenessFor = (user: UserInfo): Record<string, unknown> =>
  nodeNameOf(user) === undefined
    ? { incomplete: false }
    : { incomplete: true, evaluationError: 'node authorizer does not support user rule resolution' };

/** POST `selfsubjectrulesreviews`: what the caller may do in a namespace. */
export const selfSubjectRulesReview: VirtualHandler = async (call, value) => {
  const spec = isObject(value) && isObject(value['spec']) ? value['spec'] : {};
  const namespace = text(spec['namespace']);
  if (namespace === '') throw badRequest('no namespace on request');
  const resourceRules: PolicyRule[] = [];
  const nonResourceRules: PolicyRule[] = [];
  visitRules(call.server.rbac, call.user, namespace, (rule) => {
    const { verbs, apiGroups, resources, resourceNames, nonResourceURLs } = rule;
    if ((resources?.length ?? 0) > 0) {
      resourceRules.push({
        verbs,
        apiGroups: apiGroups ?? [],
        resources: resources ?? [],
        ...(resourceNames && { resourceNames }),
      });
    }
    if ((nonResourceURLs?.length ?? 0) > 0) nonResourceRules.push({ verbs, nonResourceURLs: nonResourceURLs ?? [] });
    return false;
  });
  if (call.user.groups.includes('system:masters')) {
    resourceRules.push({ verbs: ['*'], apiGroups: ['*'], resources: ['*'] });
    nonResourceRules.push({ verbs: ['*'], nonResourceURLs: ['*'] });
  }
  return {
    status: 201,
    value: {
      kind: 'SelfSubjectRulesReview',
      apiVersion: 'authorization.k8s.io/v1',
      metadata: { creationTimestamp: null },
      spec: {},
      status: { resourceRules, nonResourceRules, ...completenessFor(call.user) },
    },
  };
};

/** POST `selfsubjectreviews`: who the caller is. */
export const selfSubjectReview: VirtualHandler = async (call, value) => ({
  status: 201,
  value: {
    kind: 'SelfSubjectReview',
    apiVersion: isObject(value) ? value['apiVersion'] : 'authentication.k8s.io/v1',
    metadata: { creationTimestamp: null },
    status: { userInfo: call.user },
  },
});
