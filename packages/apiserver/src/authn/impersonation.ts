import { badRequest } from '@slipway/apimachinery';
import type { UserInfo } from '@slipway/runtime';
import { type AuthorizationRequest, type Authorizer, forbiddenError } from '../authz/authorizer.ts';
import type { ApiRequest } from '../pipeline/request.ts';
import { ANONYMOUS, withAuthenticated } from './authenticator.ts';

const EXTRA = 'impersonate-extra-';
const SERVICE_ACCOUNT = /^system:serviceaccount:([^:]+):([^:]+)$/;

/** The user to act as: the caller, or whom the Impersonate headers name if the caller may. Throws 400 and 403. */
export function impersonate(request: ApiRequest, caller: UserInfo, authorizer: Authorizer): UserInfo {
  const { headers } = request;
  const username = headers['impersonate-user'];
  const extraNames = Object.keys(headers).filter((name) => name.startsWith(EXTRA));
  const groups = splitHeader(headers['impersonate-group']);
  const uid = headers['impersonate-uid'];
  if (!username) {
    refuseWithoutUser(groups.length > 0 || extraNames.length > 0 || Boolean(uid));
    return caller;
  }
  const extra = extraOf(headers, extraNames);
  const may = checker(caller, authorizer);
  const account = SERVICE_ACCOUNT.exec(username);
  if (account !== null) may({ resource: 'serviceaccounts', namespace: account[1] ?? '', name: account[2] ?? '' });
  else may({ resource: 'users', name: username });
  for (const group of groups) may({ resource: 'groups', name: group });
  for (const [key, values] of Object.entries(extra)) {
    for (const value of values) may({ resource: 'userextras', subresource: key, name: value, group: 'authentication.k8s.io' });
  }
  if (uid) may({ resource: 'uids', name: uid, group: 'authentication.k8s.io' });
  return withAuthenticated({
    username,
    groups: groups.length > 0 ? groups : defaultGroups(username, account?.[1]),
    ...(uid && { uid }),
    ...(extraNames.length > 0 && { extra }),
  });
}

const extraOf = (headers: ApiRequest['headers'], names: readonly string[]): Record<string, string[]> =>
  Object.fromEntries(names.map((name) => [decoded(name.slice(EXTRA.length)), splitHeader(headers[name])]));

function decoded(key: string): string {
  try {
    return decodeURIComponent(key);
  } catch {
    throw badRequest(`invalid percent-encoding in the header ${EXTRA}${key}`);
  }
}

function refuseWithoutUser(asksForMore: boolean): void {
  if (asksForMore) throw badRequest('impersonation of groups, uid or extra needs a user');
}

function defaultGroups(username: string, namespace: string | undefined): readonly string[] {
  if (username === ANONYMOUS.username) return ANONYMOUS.groups;
  return namespace === undefined ? [] : ['system:serviceaccounts', `system:serviceaccounts:${namespace}`];
}

/** Repeated headers arrive joined by commas. */
const splitHeader = (value: string | undefined): string[] =>
  (value ?? '')
    .split(',')
    .map((part) => part.trim())
    .filter((part) => part !== '');

function checker(caller: UserInfo, authorizer: Authorizer): (what: Partial<AuthorizationRequest>) => void {
  return (what) => {
    const request: AuthorizationRequest = {
      user: caller,
      verb: 'impersonate',
      resource: '',
      subresource: '',
      group: '',
      namespace: '',
      name: '',
      path: '',
      isResource: true,
      ...what,
    };
    const { verdict, reason } = authorizer(request);
    if (verdict !== 'allow') throw forbiddenError(request, reason);
  };
}
