import { constants, createPrivateKey, createPublicKey, type KeyObject, sign, verify } from 'node:crypto';
import { isObject } from '@slipway/apimachinery';

/** What an upload token permits: bytes for one claim, and for that one only if a claim of this name is made anew. */
export interface UploadGrant {
  readonly namespace: string;
  readonly name: string;
  /** Of the claim; absent: it did not exist when the token was asked for. */
  readonly uid?: string;
}

export interface UploadTokens {
  issue(grant: UploadGrant): string;
  /** The grant, or why there is none: not a token of ours, or one for something else. */
  read(token: string): UploadGrant | 'invalid' | 'foreign';
}

const LIFE_SECONDS = 300;
const LEEWAY_SECONDS = 10;
const ISSUER = 'cdi-apiserver';
const HEADER = encode({ alg: 'PS256', typ: 'JWT' });
const PADDING = { padding: constants.RSA_PKCS1_PSS_PADDING, saltLength: constants.RSA_PSS_SALTLEN_DIGEST };

/** Tokens as CDI signs them: JWT, PS256, for five minutes. `privateKey` is PEM of an RSA key. */
export function uploadTokens(privateKey: string, nowMs: () => number): UploadTokens {
  const key = createPrivateKey(privateKey);
  const publicKey = createPublicKey(key);
  const nowSeconds = (): number => Math.floor(nowMs() / 1000);
  return {
    issue({ namespace, name, uid }) {
      const now = nowSeconds();
      const claims = {
        operation: 'Upload',
        name,
        namespace,
        resource: { group: '', version: 'v1', resource: 'persistentvolumeclaims' },
        params: uid === undefined ? {} : { uid },
        iss: ISSUER,
        iat: now,
        nbf: now,
        exp: now + LIFE_SECONDS,
      };
      const body = `${HEADER}.${encode(claims)}`;
      return `${body}.${sign('sha256', Buffer.from(body), { key, ...PADDING }).toString('base64url')}`;
    },
    read(token) {
      const claims = verified(token, publicKey);
      if (claims === undefined || !isInTime(claims, nowSeconds())) return 'invalid';
      return grantOf(claims) ?? 'foreign';
    },
  };
}

function encode(value: object): string {
  return Buffer.from(JSON.stringify(value)).toString('base64url');
}

function verified(token: string, key: KeyObject): Record<string, unknown> | undefined {
  const [header = '', body = '', signature = '', ...rest] = token.split('.');
  // one algorithm and no other: the header of a token is the sender's
  if (rest.length > 0 || decode(header)?.['alg'] !== 'PS256') return undefined;
  const isOurs = verify('sha256', Buffer.from(`${header}.${body}`), { key, ...PADDING }, Buffer.from(signature, 'base64url'));
  return isOurs ? decode(body) : undefined;
}

function decode(part: string): Record<string, unknown> | undefined {
  try {
    const value: unknown = JSON.parse(Buffer.from(part, 'base64url').toString('utf8'));
    return isObject(value) ? value : undefined;
  } catch {
    return undefined; // not JSON
  }
}

function isInTime({ iss, nbf, exp }: Readonly<Record<string, unknown>>, now: number): boolean {
  return iss === ISSUER && typeof nbf === 'number' && nbf <= now + LEEWAY_SECONDS && typeof exp === 'number' && now < exp;
}

function grantOf({ operation, name, namespace, resource, params }: Readonly<Record<string, unknown>>): UploadGrant | undefined {
  const isForClaims = isObject(resource) && resource['resource'] === 'persistentvolumeclaims' && resource['group'] === '';
  if (operation !== 'Upload' || !isForClaims || typeof name !== 'string' || typeof namespace !== 'string') return undefined;
  const uid = isObject(params) ? params['uid'] : undefined;
  return { namespace, name, ...(typeof uid === 'string' && { uid }) };
}
