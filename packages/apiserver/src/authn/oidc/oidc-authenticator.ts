import type { UserInfo } from '@slipway/runtime';
import { errors, type JWTPayload, jwtVerify } from 'jose';
import { type TokenAuthenticator, unauthorized } from '../authenticator.ts';
import { issuerOfToken } from '../token-issuer.ts';
import { ClaimError, userOfClaims } from './claims-user.ts';
import { type IssuerKeys, issuerKeys, type KeyResolver } from './issuer-keys.ts';
import type { OidcIssuer } from './oidc-config.ts';

export interface OidcDeps {
  readonly nowMs: () => number;
  /** Told why a token was refused; never the token itself. */
  readonly onRefusal: (issuer: string, reason: string) => void;
}

/** How far the issuer's clock may be ahead of ours, and behind it. A token is never good much longer than it says. */
const AHEAD_SECONDS = 300;
const BEHIND_SECONDS = 10;

/** Believes ID tokens of the given issuers. Tokens of others are not its own; they cost no more than a look. */
export function oidcAuthenticator(issuers: readonly OidcIssuer[], deps: OidcDeps): TokenAuthenticator {
  const byUrl = new Map(issuers.map((issuer) => [issuer.issuerUrl, { issuer, keys: issuerKeys(issuer, deps.nowMs) }]));
  return async (token) => {
    const known = byUrl.get(issuerOfToken(token) ?? '');
    if (known === undefined) return undefined;
    try {
      return await verify(token, known.issuer, known.keys, deps.nowMs());
    } catch (error) {
      deps.onRefusal(known.issuer.issuerUrl, reasonOf(error));
      throw unauthorized();
    }
  };
}

async function verify(token: string, issuer: OidcIssuer, keys: IssuerKeys, nowMs: number): Promise<UserInfo> {
  const held = await keys.current();
  let payload: JWTPayload;
  try {
    payload = await claimsOf(token, issuer, held, nowMs);
  } catch (error) {
    if (!mayHaveNewKeys(error)) throw error;
    const newer = await keys.newer(held);
    if (newer === held) throw error;
    payload = await claimsOf(token, issuer, newer, nowMs);
  }
  return userOfClaims(payload, issuer);
}

async function claimsOf(token: string, issuer: OidcIssuer, keys: KeyResolver, nowMs: number): Promise<JWTPayload> {
  const options = {
    issuer: issuer.issuerUrl,
    audience: [...issuer.audiences],
    algorithms: [...issuer.signingAlgorithms],
    requiredClaims: ['exp'],
    clockTolerance: AHEAD_SECONDS,
    currentDate: new Date(nowMs),
  };
  const payload = await verifiedWithAnyKey(token, keys, options);
  if ((payload.exp ?? 0) + BEHIND_SECONDS < nowMs / 1000) throw new ClaimError('the token has expired');
  return payload;
}

/** A token without key id may be signed by any key of the set. */
async function verifiedWithAnyKey(
  token: string,
  keys: KeyResolver,
  options: Parameters<typeof jwtVerify>[2],
): Promise<JWTPayload> {
  try {
    return (await jwtVerify(token, keys, options)).payload;
  } catch (error) {
    if (!(error instanceof errors.JWKSMultipleMatchingKeys)) throw error;
    for await (const key of error) {
      try {
        return (await jwtVerify(token, key, options)).payload;
      } catch (failure) {
        if (!(failure instanceof errors.JWSSignatureVerificationFailed)) throw failure;
      }
    }
    throw new errors.JWSSignatureVerificationFailed();
  }
}

const mayHaveNewKeys = (error: unknown): boolean =>
  error instanceof errors.JWKSNoMatchingKey || error instanceof errors.JWSSignatureVerificationFailed;

/** Library messages name claims and algorithms, never their values. */
function reasonOf(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  const cause = error.cause instanceof Error ? `: ${error.cause.message}` : '';
  return `${error.message}${cause}`;
}
