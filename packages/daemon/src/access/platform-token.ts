import { createHmac, timingSafeEqual } from 'node:crypto';
import type { UserInfo } from '@slipway/runtime';

/** Tokens of `slipway token`: signed by a key that only root and the server can read, so no list of tokens is kept. */
const PREFIX = 'slipway-1';

export interface TokenClaims {
  readonly user: string;
  readonly groups: readonly string[];
  /** Seconds since the epoch. */
  readonly expires: number;
}

const sign = (payload: string, key: string): Buffer =>
  createHmac('sha256', Buffer.from(key, 'base64')).update(`${PREFIX}.${payload}`).digest();

export function issueToken(claims: TokenClaims, key: string): string {
  const payload = Buffer.from(JSON.stringify(claims)).toString('base64url');
  return `${PREFIX}.${payload}.${sign(payload, key).toString('base64url')}`;
}

/** Undefined for a token of another kind; throws for one of ours that is forged or has expired. */
export function checkToken(token: string, key: string, nowMs: number): UserInfo | undefined {
  const [prefix, payload, signature] = token.split('.');
  if (prefix !== PREFIX || payload === undefined || signature === undefined) return undefined;
  const expected = sign(payload, key);
  const given = Buffer.from(signature, 'base64url');
  if (given.length !== expected.length || !timingSafeEqual(given, expected))
    throw new Error('The token is not signed by this installation');
  const claims = JSON.parse(Buffer.from(payload, 'base64url').toString()) as TokenClaims; // signed by us
  if (claims.expires * 1000 < nowMs) throw new Error('The token has expired');
  // tokens have no account object behind them: the name is all the identity there is
  return { username: claims.user, uid: claims.user, groups: [...claims.groups] };
}
