import { StatusError, badRequest, isObject } from '@slipway/apimachinery';
import type { VirtualHandler } from '../pipeline/server-context.ts';
import { type TokenAuthenticator, withAuthenticated } from './authenticator.ts';
import type { ServiceAccountTokens } from './service-account-tokens.ts';

/** POST `tokenreviews`: tells whose token it is. */
export function tokenReview(
  authenticators: readonly TokenAuthenticator[],
  tokens: ServiceAccountTokens | undefined,
): VirtualHandler {
  return async (_call, body) => {
    if (!isObject(body)) throw badRequest('the body of the request must be a TokenReview');
    const spec = isObject(body['spec']) ? body['spec'] : {};
    const token = typeof spec['token'] === 'string' ? spec['token'] : '';
    if (token === '') throw badRequest('token is required for TokenReview in authentication');
    const audiences = Array.isArray(spec['audiences']) ? spec['audiences'].map(String) : undefined;
    return { status: 201, value: { ...reviewOf(body), spec, status: await review(token, audiences, authenticators, tokens) } };
  };
}

const reviewOf = (body: Record<string, unknown>): Record<string, unknown> => ({
  kind: body['kind'],
  apiVersion: body['apiVersion'],
  metadata: { creationTimestamp: null, ...(isObject(body['metadata']) ? body['metadata'] : {}) },
});

async function review(
  token: string,
  audiences: readonly string[] | undefined,
  authenticators: readonly TokenAuthenticator[],
  tokens: ServiceAccountTokens | undefined,
): Promise<unknown> {
  const account = await tokens?.authenticate(token, audiences);
  if (account !== undefined) {
    return { authenticated: true, user: withAuthenticated(account.user), audiences: account.audiences };
  }
  for (const authenticator of authenticators) {
    const user = await authenticator(token).catch((error: unknown) => {
      if (error instanceof StatusError) return undefined; // a token that does not hold
      throw error;
    });
    if (user !== undefined) return { authenticated: true, user: withAuthenticated(user), ...(audiences && { audiences }) };
  }
  return { user: {}, error: '[invalid bearer token, service account token has been invalidated]' };
}
