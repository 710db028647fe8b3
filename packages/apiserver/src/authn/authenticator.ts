import { StatusError } from '@slipway/apimachinery';
import type { UserInfo } from '@slipway/runtime';
import type { ApiRequest } from '../pipeline/request.ts';
import type { RefusalLog } from './refusal-log.ts';

/** Says whose token it is; undefined when it is not one of its own. Throws for an own token that does not hold. */
export type TokenAuthenticator = (token: string) => Promise<UserInfo | undefined>;

export const ANONYMOUS: UserInfo = { username: 'system:anonymous', groups: ['system:unauthenticated'] };
export const AUTHENTICATED_GROUP = 'system:authenticated';

export const unauthorized = (): StatusError => new StatusError({ code: 401, reason: 'Unauthorized', message: 'Unauthorized' });

/** Who sends the request. A bad token is refused even where anonymous callers are let in. */
export async function authenticate(request: ApiRequest, authenticators: readonly TokenAuthenticator[]): Promise<UserInfo> {
  const { identity } = request;
  if (identity.type === 'user') return withAuthenticated(identity.user);
  const token = bearerToken(request);
  if (token !== undefined) {
    for (const authenticator of authenticators) {
      const user = await authenticator(token);
      if (user !== undefined) return withAuthenticated(user);
    }
    throw unauthorized();
  }
  if (identity.type === 'certificate') {
    return withAuthenticated({ username: identity.commonName, groups: identity.organizations });
  }
  return ANONYMOUS;
}

const WEBSOCKET_TOKEN = 'base64url.bearer.authorization.k8s.io.';

/** From the Authorization header, or from the WebSocket sub-protocol browsers have to use. */
function bearerToken({ headers }: ApiRequest): string | undefined {
  const match = /^Bearer\s+(\S+)\s*$/i.exec(headers['authorization'] ?? '');
  if (match !== null) return match[1];
  if (/^Bearer\s*$/i.test(headers['authorization'] ?? '')) return undefined;
  const protocol = headers['sec-websocket-protocol']
    ?.split(',')
    .map((text) => text.trim())
    .find((text) => text.startsWith(WEBSOCKET_TOKEN));
  return protocol === undefined ? undefined : Buffer.from(protocol.slice(WEBSOCKET_TOKEN.length), 'base64url').toString();
}

/** Everybody but the anonymous user is in this group. */
export function withAuthenticated(user: UserInfo): UserInfo {
  if (user.username === ANONYMOUS.username || user.groups.includes(AUTHENTICATED_GROUP)) return user;
  return { ...user, groups: [...user.groups, AUTHENTICATED_GROUP] };
}

/** Tokens from configuration, compared without leaking their length of agreement. */
export function staticTokens(tokens: ReadonlyMap<string, UserInfo>): TokenAuthenticator {
  return async (token) => tokens.get(token);
}

/** The same authenticator, whose failures are told to the log and are a refusal to the client, whatever they were. */
export function reporting(authenticator: TokenAuthenticator, log: RefusalLog): TokenAuthenticator {
  return async (token) => {
    try {
      return await authenticator(token);
    } catch (error) {
      if (error instanceof StatusError) throw error; // told by whoever made it
      log({}, error instanceof Error ? error.message : 'the token could not be checked');
      throw unauthorized();
    }
  };
}
