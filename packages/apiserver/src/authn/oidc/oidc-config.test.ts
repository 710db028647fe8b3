import { describe, expect, it } from 'vitest';
import { issuerOf, issuersOfConfiguration } from './oidc-config.ts';

const options = { issuerUrl: 'https://id.example.com', clientId: 'slipway' };

describe('issuerOf', () => {
  it.each([
    ['http://id.example.com', /https/],
    ['nonsense', /https/],
    ['https://id.example.com?x=1', /without query/],
  ])('refuses the issuer %s', (issuerUrl, reason) => {
    expect(() => issuerOf({ ...options, issuerUrl })).toThrow(reason);
  });

  it('refuses algorithms that are no signatures by the issuer', () => {
    expect(() => issuerOf({ ...options, signingAlgorithms: ['HS256'] })).toThrow(/HS256/);
    expect(() => issuerOf({ ...options, signingAlgorithms: ['none'] })).toThrow(/none/);
  });
});

const entry = {
  issuer: { url: 'https://a.example.com', audiences: ['one', 'two'], certificateAuthority: 'PEM' },
  claimMappings: { username: { claim: 'sub', prefix: 'a:' }, groups: { claim: 'roles', prefix: '' }, uid: { claim: 'oid' } },
  claimValidationRules: [{ claim: 'hd', requiredValue: 'corp' }],
};
const file = (...jwt: unknown[]) => ({ apiVersion: 'apiserver.config.k8s.io/v1beta1', kind: 'AuthenticationConfiguration', jwt });

describe('issuersOfConfiguration', () => {
  it('reads issuers with their claims', () => {
    expect(issuersOfConfiguration(file(entry))).toEqual([
      expect.objectContaining({
        issuerUrl: 'https://a.example.com',
        ca: 'PEM',
        audiences: ['one', 'two'],
        usernameClaim: 'sub',
        usernamePrefix: 'a:',
        groupsClaim: 'roles',
        uidClaim: 'oid',
        requiredClaims: { hd: 'corp' },
      }),
    ]);
  });

  it.each<[string, unknown, RegExp]>([
    ['another kind', { ...file(), kind: 'Other' }, /AuthenticationConfiguration/],
    ['a repeated issuer', file(entry, entry), /twice/],
    ['no audience', file({ ...entry, issuer: { url: 'https://a' } }), /audiences/],
    ['rules it cannot check', file({ ...entry, userValidationRules: [] }), /userValidationRules: is not supported/],
    ['expressions', file({ ...entry, claimValidationRules: [{ expression: 'true' }] }), /expression: is not supported/],
    ['no username', file({ ...entry, claimMappings: {} }), /username/],
  ])('refuses a file with %s', (_what, value, reason) => {
    expect(() => issuersOfConfiguration(value)).toThrow(reason);
  });
});
