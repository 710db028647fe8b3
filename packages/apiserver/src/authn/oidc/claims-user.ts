import type { UserInfo } from '@slipway/runtime';
import type { OidcIssuer } from './oidc-config.ts';

/** Why a token with a good signature is not let in. */
export class ClaimError extends Error {}

type Claims = Readonly<Record<string, unknown>>;

/** The user that verified claims name. Throws ClaimError. */
export function userOfClaims(claims: Claims, issuer: OidcIssuer): UserInfo {
  for (const [name, wanted] of Object.entries(issuer.requiredClaims)) {
    if (claims[name] !== wanted) throw new ClaimError(`claim ${JSON.stringify(name)} does not have the required value`);
  }
  const name = textClaim(claims, issuer.usernameClaim);
  if (issuer.usernameClaim === 'email') requireVerifiedEmail(claims);
  const uid = issuer.uidClaim === undefined ? undefined : textClaim(claims, issuer.uidClaim);
  return {
    username: `${issuer.usernamePrefix}${name}`,
    ...(uid !== undefined && { uid }),
    groups: groupsOf(claims, issuer),
  };
}

function textClaim(claims: Claims, name: string): string {
  const value = claims[name];
  if (typeof value !== 'string' || value === '') throw new ClaimError(`claim ${JSON.stringify(name)} is missing or not a text`);
  return value;
}

/** An address that its owner has not confirmed may be somebody else's. */
function requireVerifiedEmail(claims: Claims): void {
  const verified = claims['email_verified'];
  if (verified !== undefined && verified !== true) throw new ClaimError('the e-mail address is not verified');
}

/** A list of texts, or one text; absent means no groups. */
function groupsOf(claims: Claims, { groupsClaim, groupsPrefix }: OidcIssuer): string[] {
  const value = groupsClaim === undefined ? undefined : claims[groupsClaim];
  if (value === undefined || value === null) return [];
  const groups: unknown[] = Array.isArray(value) ? value : [value];
  return groups.map((group) => {
    if (typeof group !== 'string') throw new ClaimError(`claim ${JSON.stringify(groupsClaim)} is not a list of texts`);
    return `${groupsPrefix}${group}`;
  });
}
