import { X509Certificate } from 'node:crypto';
import { mkdtempSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { NodeKind } from '@slipway/api';
import {
  type ApiServer,
  builtinResources,
  createApiServer,
  createAuthority,
  issueCertificate,
  type KeyPair,
} from '@slipway/apiserver';
import { type Client, createHttpClient, loadKubeconfigs, renderKubeconfig, resolveKubeconfig } from '@slipway/client';
import { silentLogger, systemClock } from '@slipway/runtime';
import { memoryStoreFs, openStore } from '@slipway/store';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { type AgentIdentity, loadIdentity } from './agent-identity.ts';
import { createCertificateRequest } from './certificate-request.ts';
import { keepCertificate, renewCertificate, type RenewalDeps } from './renew-certificate.ts';

const HOUR_MS = 3_600_000;
const around = (fromMs: number, toMs: number) => ({
  notBefore: new Date(Date.now() + fromMs),
  notAfter: new Date(Date.now() + toMs),
});
let directory: string;
let file: string;
let server: ApiServer;
let authority: KeyPair;
let identity: AgentIdentity;
let client: Client & { close(): Promise<void> };

/** A server that signs, and an agent whose certificate has lived nine tenths of its life. */
beforeEach(async () => {
  directory = mkdtempSync(join(tmpdir(), 'agent-certificate-'));
  file = join(directory, 'agent.kubeconfig');
  authority = await createAuthority({ commonName: 'ca', ...around(-100 * HOUR_MS, 100 * HOUR_MS) });
  server = await createApiServer({
    store: await openStore({ fs: memoryStoreFs(), now: Date.now }),
    definitions: builtinResources(),
    signingAuthority: authority,
  });
  const serving = await issueCertificate(authority, {
    commonName: 'api',
    usages: ['server'],
    ipAddresses: ['127.0.0.1'],
    ...around(-HOUR_MS, HOUR_MS),
  });
  const { port } = await server.listen({ host: '127.0.0.1', port: 0, tls: { ...serving, clientCa: authority.cert } });
  const old = await issueCertificate(authority, {
    commonName: 'system:node:n1',
    organizations: ['system:nodes'],
    usages: ['client'],
    ...around(-9 * HOUR_MS, HOUR_MS),
  });
  writeFileSync(file, kubeconfigOf(`https://127.0.0.1:${port}`, old), { mode: 0o600 });
  identity = loadIdentity(file);
  const { client: connection } = await resolveKubeconfig(await loadKubeconfigs([file]));
  client = createHttpClient({ ...connection, credentials: () => identity.credentials(), fieldManager: 'test' });
});
afterEach(async () => {
  await client.close();
  await server.close();
  rmSync(directory, { recursive: true });
});

function kubeconfigOf(url: string, pair: KeyPair): string {
  const data = (text: string): string => Buffer.from(text).toString('base64');
  return renderKubeconfig({
    apiVersion: 'v1',
    kind: 'Config',
    'current-context': 'n1',
    clusters: [{ name: 'c', cluster: { server: url, 'certificate-authority-data': data(authority.cert) } }],
    users: [{ name: 'n1', user: { 'client-certificate-data': data(pair.cert), 'client-key-data': data(pair.key) } }],
    contexts: [{ name: 'n1', context: { cluster: 'c', user: 'n1' } }],
  });
}

const deps = (): RenewalDeps => ({ client, identity, nodeName: 'n1', clock: systemClock, log: silentLogger });
const never = new AbortController().signal;

describe('the certificate of an agent', () => {
  it('is exchanged for one with a new key while the agent goes on, and the next start finds it', async () => {
    const before = await identity.credentials();
    await client.create(NodeKind, { apiVersion: 'v1', kind: 'Node', metadata: { name: 'n1' } });
    expect(identity.lifeLeft(Date.now())).toBeLessThan(0.2);
    await renewCertificate(deps(), never);
    const after = await identity.credentials();
    expect(after.key).not.toBe(before.key);
    const days = (Date.parse(new X509Certificate(after.cert ?? '').validTo) - Date.now()) / (24 * HOUR_MS);
    expect(Math.round(days)).toBe(365);
    expect(identity.lifeLeft(Date.now())).toBeGreaterThan(0.9);
    expect((await client.get(NodeKind, { namespace: '', name: 'n1' })).metadata.name).toBe('n1');
    expect(await loadIdentity(file).credentials()).toEqual(after);
  });

  it('is renewed by the loop when it gets old, and left alone while it is fresh', async () => {
    const stop = new AbortController();
    const renewed = new Promise<void>((resolve) => {
      const log = { ...silentLogger, info: () => resolve() };
      void keepCertificate({ ...deps(), log }, stop.signal);
    });
    await renewed;
    const fresh = await identity.credentials();
    stop.abort();
    let checks = 0;
    const second = new AbortController();
    const setTimer: typeof systemClock.setTimer = (_ms, callback) => {
      if (++checks > 3) second.abort();
      return systemClock.setTimer(0, callback);
    };
    await keepCertificate({ ...deps(), clock: { ...systemClock, setTimer } }, second.signal);
    expect(checks).toBeGreaterThan(3);
    expect(await identity.credentials()).toBe(fresh);
  });
});

interface Wanted {
  readonly by?: string;
  readonly groups?: readonly string[];
  readonly name?: string;
  readonly organizations?: readonly string[];
  readonly signer?: string;
  readonly usages?: readonly string[];
}

describe('the signer', () => {
  const ask = async ({
    by = 'system:node:n1',
    groups = ['system:nodes'],
    ...wanted
  }: Wanted): Promise<Record<string, unknown>> => {
    const { request } = createCertificateRequest(wanted.name ?? 'system:node:n1', wanted.organizations ?? ['system:nodes']);
    const path = '/apis/certificates.k8s.io/v1/certificatesigningrequests';
    const admin = server.client({ username: 'root', groups: ['system:masters'] });
    const asker = groups.includes('system:nodes') ? server.client({ username: by, groups }) : admin;
    const spec = {
      request: Buffer.from(request).toString('base64'),
      signerName: wanted.signer ?? 'kubernetes.io/kube-apiserver-client-kubelet',
      usages: wanted.usages ?? ['client auth'],
    };
    const body = { apiVersion: 'certificates.k8s.io/v1', kind: 'CertificateSigningRequest', metadata: { name: 'r' }, spec };
    await asker.raw({ method: 'POST', path, body });
    await server.settled();
    return ((await admin.raw({ method: 'GET', path: `${path}/r` })).body as { status: Record<string, unknown> }).status;
  };

  it('gives a node a certificate of its own', async () => {
    expect(await ask({})).toMatchObject({ certificate: expect.any(String), conditions: [{ type: 'Approved' }] });
  });

  it.each<[string, Wanted]>([
    ['a node in the name of another one', { name: 'system:node:n2' }],
    ['a node that wants more groups', { organizations: ['system:nodes', 'system:masters'] }],
    ['a node that wants another group', { organizations: ['system:masters'] }],
    ['a node that wants to serve', { usages: ['client auth', 'server auth'] }],
    ['a user who is no node', { groups: ['dev'], by: 'system:node:n1' }],
    ['a node by the signer of users', { signer: 'kubernetes.io/kube-apiserver-client' }],
    ['anybody by a signer that is not ours', { signer: 'example.com/other' }],
  ])('gives none to %s', async (_what, wanted) => {
    expect(await ask(wanted)).not.toHaveProperty('certificate');
  });

  it('signs for others what an administrator approves, but never for the administrators', async () => {
    const admin = server.client({ username: 'root', groups: ['system:masters'] });
    const path = '/apis/certificates.k8s.io/v1/certificatesigningrequests/r';
    const approve = async (): Promise<Record<string, unknown>> => {
      const conditions = [{ type: 'Approved', status: 'True', reason: 'Tested', message: 'fine' }];
      const { body } = await admin.raw({ method: 'GET', path });
      const request = body as { status: object };
      await admin.raw({
        method: 'PUT',
        path: `${path}/approval`,
        body: { ...request, status: { ...request.status, conditions } },
      });
      await server.settled();
      return ((await admin.raw({ method: 'GET', path })).body as { status: Record<string, unknown> }).status;
    };
    const signer = 'kubernetes.io/kube-apiserver-client';
    await ask({ groups: ['dev'], name: 'ann', organizations: ['dev'], signer });
    const { certificate } = await approve();
    expect(new X509Certificate(Buffer.from(String(certificate), 'base64')).subject).toBe('O=dev\nCN=ann');
    await admin.raw({ method: 'DELETE', path });
    await ask({ groups: ['dev'], name: 'ann', organizations: ['system:masters'], signer });
    expect(await approve()).toMatchObject({ conditions: [{ type: 'Approved' }, { type: 'Failed' }] });
  });
});

it('is taken over only for the same node and the key that was made for it', async () => {
  const other = await issueCertificate(authority, { commonName: 'x', usages: ['client'], ...around(-HOUR_MS, HOUR_MS) });
  expect(() => identity.replace(other)).toThrow(/another subject/);
  const { cert = '' } = await identity.credentials();
  expect(() => identity.replace({ cert, key: other.key })).toThrow(/another key/);
  await renewCertificate(deps(), never);
  expect(statSync(file).mode & 0o777).toBe(0o600);
});
