import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { oidcIssuersOf, withServerFlags } from './server-options.ts';

const directory = mkdtempSync(join(tmpdir(), 'server-options-'));
afterAll(() => rmSync(directory, { recursive: true }));
const file = (name: string, content: string): string => {
  writeFileSync(join(directory, name), content);
  return join(directory, name);
};

const flags = { oidcIssuerUrl: 'https://id.example.com', oidcClientId: 'slipway' };

describe('withServerFlags', () => {
  it('remembers what it was told, files included, until it is told otherwise', () => {
    const told = withServerFlags({}, { ...flags, oidcCaFile: file('ca.crt', 'PEM'), oidcRequiredClaim: ['hd=corp=a'] });
    expect(withServerFlags(told, {})).toEqual(told);
    expect(oidcIssuersOf(told)).toMatchObject([{ ca: 'PEM', requiredClaims: { hd: 'corp=a' }, audiences: ['slipway'] }]);
    expect(withServerFlags(told, { oidcIssuerUrl: '' })).toEqual({});
  });

  it('reads a configuration file', () => {
    const text = `apiVersion: apiserver.config.k8s.io/v1beta1
kind: AuthenticationConfiguration
jwt:
- issuer: { url: https://a.example.com, audiences: [x] }
  claimMappings: { username: { claim: sub, prefix: "" } }
`;
    const told = withServerFlags({}, { authenticationConfig: file('auth.yaml', text) });
    expect(oidcIssuersOf(JSON.parse(JSON.stringify(told)))).toMatchObject([{ issuerUrl: 'https://a.example.com' }]);
    expect(() => withServerFlags(told, flags)).toThrow(/Either/);
  });

  it('remembers from the first start on that there is no HyperConverged', () => {
    expect(withServerFlags({ withHyperConverged: false }, {})).toEqual({ withHyperConverged: false });
    expect(withServerFlags({ withHyperConverged: false }, flags)).toMatchObject({ withHyperConverged: false, oidc: {} });
    expect(withServerFlags({}, flags).withHyperConverged).toBeUndefined();
  });

  it('keeps the audit options beside them', () => {
    const policy = `{apiVersion: audit.k8s.io/v1, kind: Policy, rules: [{level: Request}]}`;
    const told = withServerFlags({}, { ...flags, auditPolicyFile: file('audit.yaml', policy), auditLogMaxsize: 3 });
    expect(told.audit).toMatchObject({ policy: { rules: [{ level: 'Request' }] }, maxMegabytes: 3 });
    expect(withServerFlags(told, { oidcIssuerUrl: '', auditPolicyFile: '', auditLevel: 'Request' })).toEqual({
      audit: { level: 'Request', maxMegabytes: 3 },
    });
    expect(() => withServerFlags({}, { auditLevel: 'All' })).toThrow(/Metadata or Request/);
    expect(() => withServerFlags({}, { auditPolicyFile: file('bad.yaml', 'kind: Other') })).toThrow(/Policy/);
  });

  it.each([
    [{ oidcClientId: 'x' }, /oidc-issuer-url/],
    [{ oidcIssuerUrl: 'https://id.example.com' }, /client ID/],
    [{ ...flags, oidcRequiredClaim: ['hd'] }, /name=value/],
    [{ ...flags, oidcSigningAlgs: 'RS256,HS256' }, /HS256/],
    [{ ...flags, oidcCaFile: '/nonexistent/ca' }, /Cannot read/],
    [{ allowGitAddress: ['10.0.0.5/32', '300.0.0.1/32'] }, /--allow-git-address: "300.0.0.1\/32"/],
    [{ allowGitAddress: ['10.0.0.5/33'] }, /a CIDR such as/],
  ])('refuses %j', (given, reason) => {
    expect(() => withServerFlags({}, given)).toThrow(reason);
  });
});
