import { StatusError } from '@slipway/apimachinery';
import type { UserInfo } from '@slipway/runtime';
import type { RequestInfo } from '../routing/request-info.ts';

/** What somebody wants to do, as rules see it. */
export interface AuthorizationRequest {
  readonly user: UserInfo;
  readonly verb: string;
  /** Empty for requests that are not about a resource. */
  readonly resource: string;
  readonly subresource: string;
  readonly group: string;
  readonly namespace: string;
  readonly name: string;
  /** Path of requests that are not about a resource. */
  readonly path: string;
  /** Name a list or watch is restricted to by its field selector. */
  readonly isResource: boolean;
}

export interface AuthorizationDecision {
  readonly verdict: 'allow' | 'deny' | 'no-opinion';
  readonly reason: string;
}

export type Authorizer = (request: AuthorizationRequest) => AuthorizationDecision;

export const NO_OPINION: AuthorizationDecision = { verdict: 'no-opinion', reason: '' };

/** The first authorizer with an opinion decides. */
export function authorizers(list: readonly Authorizer[]): Authorizer {
  return (request) => {
    const reasons: string[] = [];
    for (const authorizer of list) {
      const decision = authorizer(request);
      if (decision.verdict !== 'no-opinion') return decision;
      if (decision.reason !== '') reasons.push(decision.reason);
    }
    return { verdict: 'no-opinion', reason: reasons.join('\n') };
  };
}

export const MASTERS_GROUP = 'system:masters';

/** Members of system:masters may do anything. */
export const mastersAuthorizer: Authorizer = ({ user }) =>
  user.groups.includes(MASTERS_GROUP) ? { verdict: 'allow', reason: '' } : NO_OPINION;

export function authorizationRequest(user: UserInfo, info: RequestInfo, query?: URLSearchParams): AuthorizationRequest {
  const { verb, resource, subresource, group, namespace, path, isResource } = info;
  const name = info.name === '' && query !== undefined ? selectedName(verb, query) : info.name;
  return { user, verb, resource, subresource, group, namespace, name, path, isResource };
}

function selectedName(verb: string, query: URLSearchParams): string {
  if (verb !== 'list' && verb !== 'watch' && verb !== 'deletecollection') return '';
  const match = /(?:^|,)metadata\.name==?([^,!=]+)/.exec(query.get('fieldSelector') ?? '');
  return match?.[1] ?? '';
}

/** 403 in the API server's words. */
export function forbiddenError(request: AuthorizationRequest, reason: string): StatusError {
  const { user, verb, resource, subresource, group, namespace, name } = request;
  const who = `User ${JSON.stringify(user.username)} cannot`;
  const because = reason === '' ? '' : `: ${reason}`;
  if (!request.isResource) {
    return new StatusError({
      code: 403,
      reason: 'Forbidden',
      message: `forbidden: ${who} ${verb} path ${JSON.stringify(request.path)}${because}`,
      details: {},
    });
  }
  const subject = `${resource}${group === '' ? '' : `.${group}`}${name === '' ? '' : ` ${JSON.stringify(name)}`}`;
  const what = JSON.stringify(subresource === '' ? resource : `${resource}/${subresource}`);
  const scope = namespace === '' ? 'at the cluster scope' : `in the namespace ${JSON.stringify(namespace)}`;
  return new StatusError({
    code: 403,
    reason: 'Forbidden',
    message: `${subject} is forbidden: ${who} ${verb} resource ${what} in API group ${JSON.stringify(group)} ${scope}${because}`,
    details: { ...(name && { name }), ...(group && { group }), kind: resource },
  });
}
