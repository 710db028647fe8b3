import { createHash, createPublicKey } from 'node:crypto';
import {
  type UnstructuredObject,
  StatusError,
  formatTime,
  invalid,
  invalidValue,
  isObject,
  notFound,
} from '@slipway/apimachinery';
import type { UserInfo } from '@slipway/runtime';
import { type CryptoKey, SignJWT, errors, exportJWK, importPKCS8, importSPKI, jwtVerify } from 'jose';
import type { Call, VirtualHandler } from '../pipeline/server-context.ts';
import { issuerOfToken } from './token-issuer.ts';

export const DEFAULT_ISSUER = 'https://kubernetes.default.svc.cluster.local';
const MIN_SECONDS = 600;
const DEFAULT_SECONDS = 3600;
const MAX_SECONDS = 2 ** 32;

export interface ServiceAccountTokensOptions {
  /** PEM of an RSA private key (PKCS #8); asked for once, when the first token is signed or checked. */
  readonly privateKey: () => Promise<string>;
  readonly issuer?: string;
  readonly nowMs: () => number;
  readonly uid: () => string;
  /** Reads accounts and the objects tokens are bound to. */
  readonly lookup: (group: string, plural: string, namespace: string, name: string) => UnstructuredObject | undefined;
}

interface BoundObject {
  readonly kind: string;
  readonly name: string;
  readonly uid: string;
}

/** What a token says about itself besides its standard claims. */
interface KubernetesClaim {
  readonly namespace: string;
  readonly serviceaccount: { readonly name: string; readonly uid: string };
  readonly pod?: { readonly name: string; readonly uid: string };
  readonly secret?: { readonly name: string; readonly uid: string };
}

export interface ServiceAccountTokens {
  /** The user of one of our tokens; undefined when it is none of ours or does not hold. */
  authenticate(
    token: string,
    audiences?: readonly string[],
  ): Promise<{ user: UserInfo; audiences: readonly string[] } | undefined>;
  /** POST `serviceaccounts/NAME/token`. */
  readonly tokenRequest: VirtualHandler;
  /** Documents of OpenID discovery. */
  openIdConfiguration(): unknown;
  jwks(): Promise<unknown>;
  /** Asks for the key now. */
  prepare(): Promise<void>;
}

interface Keys {
  readonly signing: CryptoKey;
  readonly verify: CryptoKey;
  readonly kid: string;
}

async function importKeys(privatePem: string): Promise<Keys> {
  const publicPem = createPublicKey(privatePem).export({ type: 'spki', format: 'pem' }).toString();
  return {
    signing: await importPKCS8(privatePem, 'RS256'),
    verify: await importSPKI(publicPem, 'RS256', { extractable: true }),
    kid: createHash('sha256').update(publicPem).digest('base64url'),
  };
}

/** Issues and checks service account tokens (RS256). */
export function serviceAccountTokens(options: ServiceAccountTokensOptions): ServiceAccountTokens {
  const { issuer = DEFAULT_ISSUER } = options;
  let imported: Promise<Keys> | undefined;
  const keys = (): Promise<Keys> =>
    (imported ??= options
      .privateKey()
      .then(importKeys)
      .catch((error: unknown) => {
        imported = undefined; // the next one who asks tries again
        throw error;
      }));
  const sign = async (
    subject: string,
    claim: KubernetesClaim,
    audiences: readonly string[],
    seconds: number,
  ): Promise<string> => {
    const { signing, kid } = await keys();
    const now = Math.floor(options.nowMs() / 1000);
    return new SignJWT({ 'kubernetes.io': claim })
      .setProtectedHeader({ alg: 'RS256', kid })
      .setIssuer(issuer)
      .setSubject(subject)
      .setAudience([...audiences])
      .setIssuedAt(now)
      .setNotBefore(now)
      .setExpirationTime(now + seconds)
      .setJti(options.uid())
      .sign(signing);
  };
  return {
    async authenticate(token, wanted = [issuer]) {
      if (issuerOfToken(token) !== issuer) return undefined; // spares a signature check for what others made
      try {
        const { payload } = await jwtVerify(token, (await keys()).verify, {
          issuer,
          algorithms: ['RS256'],
          currentDate: new Date(options.nowMs()),
        });
        const audiences = [payload.aud ?? []].flat().filter((audience) => wanted.includes(audience));
        const user = audiences.length === 0 ? undefined : userOf(payload['kubernetes.io'], options);
        return user && { user, audiences };
      } catch (error) {
        if (error instanceof errors.JOSEError) return undefined; // not ours, expired or forged
        throw error;
      }
    },
    tokenRequest: async (call, body) => ({
      status: 201,
      value: await issueToken(call, body, { issuer, sign, nowMs: options.nowMs }),
    }),
    openIdConfiguration: () => ({
      issuer,
      jwks_uri: `${issuer}/openid/v1/jwks`,
      response_types_supported: ['id_token'],
      subject_types_supported: ['public'],
      id_token_signing_alg_values_supported: ['RS256'],
    }),
    async jwks() {
      const { verify, kid } = await keys();
      return { keys: [{ ...(await exportJWK(verify)), use: 'sig', alg: 'RS256', kid }] };
    },
    async prepare() {
      await keys();
    },
  };
}

/** A token is good as long as its account, and the object it is bound to, are the ones it was issued for. */
function userOf(claim: unknown, { lookup }: ServiceAccountTokensOptions): UserInfo | undefined {
  if (!isObject(claim) || typeof claim['namespace'] !== 'string' || !isObject(claim['serviceaccount'])) return undefined;
  const { namespace, serviceaccount, pod, secret } = claim as unknown as KubernetesClaim; // we signed it; checked above
  const account = lookup('', 'serviceaccounts', namespace, serviceaccount.name);
  if (account?.metadata.uid !== serviceaccount.uid || account.metadata.deletionTimestamp !== undefined) return undefined;
  if (pod !== undefined && lookup('', 'pods', namespace, pod.name)?.metadata.uid !== pod.uid) return undefined;
  if (secret !== undefined && lookup('', 'secrets', namespace, secret.name)?.metadata.uid !== secret.uid) return undefined;
  const extra = pod && {
    'authentication.kubernetes.io/pod-name': [pod.name],
    'authentication.kubernetes.io/pod-uid': [pod.uid],
  };
  return {
    username: `system:serviceaccount:${namespace}:${serviceaccount.name}`,
    uid: serviceaccount.uid,
    groups: ['system:serviceaccounts', `system:serviceaccounts:${namespace}`],
    ...(extra && { extra }),
  };
}

interface Issuing {
  readonly issuer: string;
  readonly sign: (subject: string, claim: KubernetesClaim, audiences: readonly string[], seconds: number) => Promise<string>;
  readonly nowMs: () => number;
}

async function issueToken(call: Call, body: unknown, { issuer, sign, nowMs }: Issuing): Promise<unknown> {
  const { namespace, name } = call.info;
  const account = call.server.registry.lookup('', 'serviceaccounts', namespace, name);
  if (account?.metadata.uid === undefined) throw notFound({ resource: 'serviceaccounts', group: '' }, name);
  const spec = isObject(body) && isObject(body['spec']) ? body['spec'] : {};
  const seconds = Number(spec['expirationSeconds'] ?? DEFAULT_SECONDS);
  checkSeconds(seconds);
  const wanted = Array.isArray(spec['audiences']) ? spec['audiences'].map(String).filter((text) => text !== '') : [];
  const audiences = wanted.length > 0 ? wanted : [issuer];
  const bound = boundObject(call, spec['boundObjectRef']);
  const claim: KubernetesClaim = {
    namespace,
    serviceaccount: { name, uid: account.metadata.uid },
    ...(bound?.kind === 'Pod' && { pod: { name: bound.name, uid: bound.uid } }),
    ...(bound?.kind === 'Secret' && { secret: { name: bound.name, uid: bound.uid } }),
  };
  const token = await sign(`system:serviceaccount:${namespace}:${name}`, claim, audiences, seconds);
  return {
    kind: 'TokenRequest',
    apiVersion: 'authentication.k8s.io/v1',
    metadata: { name, namespace, creationTimestamp: formatTime(nowMs()) },
    spec: { audiences, expirationSeconds: seconds, boundObjectRef: spec['boundObjectRef'] ?? null },
    status: { token, expirationTimestamp: formatTime(nowMs() + seconds * 1000) },
  };
}

function checkSeconds(seconds: number): void {
  const refuse = (text: string): StatusError =>
    invalid({ group: 'authentication.k8s.io', kind: 'TokenRequest' }, '', [
      invalidValue('spec.expirationSeconds', seconds, text),
    ]);
  if (!(seconds >= MIN_SECONDS)) throw refuse('may not specify a duration less than 10 minutes');
  if (seconds > MAX_SECONDS) throw refuse('may not specify a duration larger than 2^32 seconds');
}

function boundObject(call: Call, reference: unknown): BoundObject | undefined {
  if (!isObject(reference)) return undefined;
  const kind = String(reference['kind']);
  const name = typeof reference['name'] === 'string' ? reference['name'] : '';
  const plural = kind === 'Pod' ? 'pods' : kind === 'Secret' ? 'secrets' : undefined;
  if (plural === undefined) {
    throw invalid({ group: 'authentication.k8s.io', kind: 'TokenRequest' }, '', [
      invalidValue('spec.boundObjectRef', reference, 'must be a Pod or a Secret'),
    ]);
  }
  const uid = call.server.registry.lookup('', plural, call.info.namespace, name)?.metadata.uid;
  if (uid === undefined) throw notFound({ resource: plural, group: '' }, name);
  if (reference['uid'] && reference['uid'] !== uid) {
    throw new StatusError({
      code: 409,
      reason: 'Conflict',
      message: `the UID in the bound object reference (${JSON.stringify(reference['uid'])}) does not match the UID in record (${uid})`,
    });
  }
  return { kind, name, uid };
}
