import { createServer } from 'node:https';
import type { AddressInfo } from 'node:net';
import { exportJWK, generateKeyPair, SignJWT } from 'jose';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { createAuthority, issueCertificate } from '../../pki/certificates.ts';
import { oidcAuthenticator } from './oidc-authenticator.ts';
import { issuerOf, type OidcOptions } from './oidc-config.ts';

type Keys = Awaited<ReturnType<typeof generateKeyPair>>;

const NOW_MS = 1_800_000_000_000;
let nowMs = NOW_MS;
let keys: Keys & { jwk: object };
let otherKeys: Keys & { jwk: object };
let published: object[] = [];
let reads = 0;
let issuerUrl = '';
let ca = '';
let closeIssuer: () => void;
let announced: string | undefined;
const refusals: string[] = [];

/** An issuer as others run them: a discovery document and a key set over HTTPS, by a certificate of its own authority. */
beforeAll(async () => {
  keys = await newKeys('one');
  otherKeys = await newKeys('two');
  const validity = { notBefore: new Date(Date.now() - 3_600_000), notAfter: new Date(Date.now() + 3_600_000) };
  const authority = await createAuthority({ commonName: 'issuer-ca', ...validity });
  const pair = await issueCertificate(authority, {
    commonName: 'issuer',
    usages: ['server'],
    ipAddresses: ['127.0.0.1'],
    ...validity,
  });
  ca = authority.cert;
  const server = createServer(pair, (request, response) => {
    reads += 1;
    const documents: Record<string, object> = {
      '/.well-known/openid-configuration': { issuer: announced ?? issuerUrl, jwks_uri: `${issuerUrl}/keys` },
      '/keys': { keys: published },
    };
    const found = documents[request.url ?? ''];
    response.writeHead(found === undefined ? 404 : 200).end(JSON.stringify(found ?? {}));
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  issuerUrl = `https://127.0.0.1:${(server.address() as AddressInfo).port}`; // listening on TCP
  closeIssuer = () => server.close();
});
afterAll(() => closeIssuer());

const newKeys = async (kid: string): Promise<Keys & { jwk: object }> => {
  const pair = await generateKeyPair('RS256', { extractable: true });
  return { ...pair, jwk: { ...(await exportJWK(pair.publicKey)), kid, alg: 'RS256', use: 'sig' } };
};

beforeEach(() => {
  nowMs = NOW_MS;
  announced = undefined;
  published = [keys.jwk];
  refusals.length = 0;
  reads = 0;
});

const authenticator = (options: Partial<OidcOptions> = {}) =>
  oidcAuthenticator([issuerOf({ issuerUrl, clientId: 'slipway', ca, ...options })], {
    nowMs: () => nowMs,
    onRefusal: (_issuer, reason) => refusals.push(reason),
  });

interface Wanted {
  readonly claims?: Record<string, unknown>;
  readonly kid?: string;
  readonly audience?: string;
  readonly issuer?: string;
  readonly expires?: number;
  readonly notBefore?: number;
  readonly key?: Keys['privateKey'];
}

const token = ({ claims = {}, kid = 'one', audience = 'slipway', issuer = issuerUrl, ...rest }: Wanted = {}): Promise<string> =>
  new SignJWT({ sub: 'ann', ...claims })
    .setProtectedHeader({ alg: 'RS256', kid })
    .setIssuer(issuer)
    .setAudience(audience)
    .setNotBefore(rest.notBefore ?? NOW_MS / 1000 - 60)
    .setExpirationTime(rest.expires ?? NOW_MS / 1000 + 600)
    .sign(rest.key ?? keys.privateKey);

describe('tokens of an OIDC issuer', () => {
  it('name a user with the prefix of the issuer, and its groups', async () => {
    const user = await authenticator({ groupsClaim: 'roles', groupsPrefix: 'oidc:' })(
      await token({ claims: { roles: ['dev', 'ops'] } }),
    );
    expect(user).toEqual({ username: `${issuerUrl}#ann`, groups: ['oidc:dev', 'oidc:ops'] });
  });

  it.each<[string, Partial<OidcOptions>, Record<string, unknown>, string]>([
    ['another claim', { usernameClaim: 'name' }, { name: 'Ann' }, '#Ann'],
    ['no prefix', { usernamePrefix: '-' }, {}, 'ann'],
    ['a prefix', { usernamePrefix: 'corp:' }, {}, 'corp:ann'],
    ['an address, which needs no prefix', { usernameClaim: 'email' }, { email: 'a@b.c', email_verified: true }, 'a@b.c'],
  ])('take the name from %s', async (_what, options, claims, wanted) => {
    const user = await authenticator(options)(await token({ claims }));
    expect(user?.username).toBe(wanted.startsWith('#') ? `${issuerUrl}${wanted}` : wanted);
  });

  it.each<[string, Partial<OidcOptions>, Wanted, RegExp]>([
    ['has expired', {}, { expires: NOW_MS / 1000 - 11 }, /expired/],
    ['is for later', {}, { notBefore: NOW_MS / 1000 + 301 }, /nbf/],
    ['is for another client', {}, { audience: 'other' }, /aud/],
    ['lacks a required claim', { requiredClaims: { hd: 'corp' } }, {}, /"hd"/],
    ['has another value in a required claim', { requiredClaims: { hd: 'corp' } }, { claims: { hd: 'evil' } }, /"hd"/],
    ['lacks the name', { usernameClaim: 'name' }, {}, /"name"/],
    [
      'has an address nobody confirmed',
      { usernameClaim: 'email' },
      { claims: { email: 'a@b.c', email_verified: false } },
      /verified/,
    ],
    ['has groups that are no texts', { groupsClaim: 'g' }, { claims: { g: [1] } }, /"g"/],
    ['is signed by an algorithm that was not chosen', { signingAlgorithms: ['ES256'] }, {}, /alg/],
  ])('are refused with a reason in the log when one %s', async (_what, options, wanted, reason) => {
    await expect(authenticator(options)(await token(wanted))).rejects.toMatchObject({ code: 401 });
    expect(refusals).toEqual([expect.stringMatching(reason)]);
  });

  it('may be a little early or late: clocks differ', async () => {
    const authenticate = authenticator();
    expect(await authenticate(await token({ notBefore: NOW_MS / 1000 + 240 }))).toBeDefined();
    expect(await authenticate(await token({ expires: NOW_MS / 1000 - 5 }))).toBeDefined();
  });

  it('are no concern of this authenticator when somebody else made them', async () => {
    const authenticate = authenticator();
    expect(await authenticate(await token({ issuer: 'https://other' }))).toBeUndefined();
    expect(await authenticate('slipway-1.x.y')).toBeUndefined();
    expect(await authenticate('opaque')).toBeUndefined();
    expect(reads).toBe(0);
  });
});

describe('keys of an issuer', () => {
  it('are read once for many tokens', async () => {
    const authenticate = authenticator();
    const made = await token();
    await Promise.all(Array.from({ length: 20 }, () => authenticate(made)));
    expect(reads).toBe(2);
  });

  it('are read again when a token names a new one, and the old ones end', async () => {
    const authenticate = authenticator();
    const old = await token();
    await authenticate(old);
    published = [otherKeys.jwk];
    const fresh = await token({ kid: 'two', key: otherKeys.privateKey });
    nowMs += 10_000;
    expect(await authenticate(fresh)).toBeDefined();
    await expect(authenticate(old)).rejects.toMatchObject({ code: 401 });
  });

  it('are not read again for every forged token', async () => {
    const authenticate = authenticator();
    await authenticate(await token());
    const { privateKey } = otherKeys;
    for (let index = 0; index < 5; index += 1) {
      await expect(authenticate(await token({ kid: `made-up-${index}`, key: privateKey }))).rejects.toMatchObject({ code: 401 });
    }
    await expect(authenticate(await token({ key: privateKey }))).rejects.toMatchObject({ code: 401 });
    expect(reads).toBe(2);
  });

  it('are not believed from a document of another issuer or a server nobody vouches for', async () => {
    announced = 'https://other';
    await expect(authenticator()(await token())).rejects.toMatchObject({ code: 401 });
    const { ca: _none, ...untrusted } = issuerOf({ issuerUrl, clientId: 'slipway', ca });
    const strange = oidcAuthenticator([untrusted], { nowMs: () => nowMs, onRefusal: (_issuer, reason) => refusals.push(reason) });
    await expect(strange(await token())).rejects.toMatchObject({ code: 401 });
    expect(refusals).toEqual([expect.stringContaining('another issuer'), expect.stringMatching(/certificate/)]);
  });
});
