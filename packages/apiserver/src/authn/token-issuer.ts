import { isObject } from '@slipway/apimachinery';

/** Longer ones are nobody's. */
const MAX_TOKEN_CHARACTERS = 64 * 1024;

/** What an unverified JSON Web Token says about who made it; undefined for anything that is none. */
export function issuerOfToken(token: string): string | undefined {
  const start = token.indexOf('.');
  const end = token.indexOf('.', start + 1);
  if (start < 0 || end < 0 || token.length > MAX_TOKEN_CHARACTERS || token.indexOf('.', end + 1) >= 0) return undefined;
  try {
    const claims: unknown = JSON.parse(Buffer.from(token.slice(start + 1, end), 'base64url').toString());
    return isObject(claims) && typeof claims['iss'] === 'string' ? claims['iss'] : undefined;
  } catch {
    return undefined; // no JSON, so no token of this kind
  }
}
