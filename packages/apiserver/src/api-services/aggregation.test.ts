import { createServer, type Server } from 'node:https';
import type { AddressInfo } from 'node:net';
import type { TLSSocket } from 'node:tls';
import { APIServiceKind, ConfigMapKind, EndpointsKind, ServiceKind } from '@slipway/api';
import { createHttpClient, type Client } from '@slipway/client';
import { memoryStoreFs, openStore } from '@slipway/store';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type ApiServer, createApiServer } from '../api-server.ts';
import { builtinResources } from '../builtin/index.ts';
import type { Listener } from '../http/http-server.ts';
import { createAuthority, issueCertificate, type KeyPair } from '../pki/certificates.ts';
import { simpleDefinition } from '../registry/simple-definition.ts';

const validity = { notBefore: new Date(Date.now() - 3_600_000), notAfter: new Date(Date.now() + 3_600_000) };
const GROUP = 'toys.example.com';
const PATH = `/apis/${GROUP}/v1`;

interface Seen {
  readonly path: string;
  readonly headers: Record<string, unknown>;
}

let clientCa: KeyPair;
let proxyCa: KeyPair;
let backendCa: KeyPair;
let api: ApiServer;
let listener: Listener;
let backend: Server;
let seen: Seen[] = [];
const closing: (() => Promise<void> | void)[] = [];

const DOCUMENTS: Record<string, unknown> = {
  [PATH]: {
    kind: 'APIResourceList',
    apiVersion: 'v1',
    groupVersion: `${GROUP}/v1`,
    resources: [{ name: 'toys', singularName: 'toy', namespaced: true, kind: 'Toy', verbs: ['get', 'list'] }],
  },
  [`${PATH}/namespaces/default/toys`]: { kind: 'ToyList', apiVersion: `${GROUP}/v1`, metadata: {}, items: [] },
  '/openapi/v2': {
    swagger: '2.0',
    paths: { [`${PATH}/toys`]: { get: {} }, '/api/v1/cats': { get: { description: 'not yours' } } },
    definitions: { 'com.example.toys.v1.Toy': { type: 'object' } },
  },
  [`/openapi/v3${PATH}`]: { openapi: '3.0.0', paths: { [`${PATH}/toys`]: { get: {} } }, components: {} },
};

/** An extension server as others write them: it believes identity headers from holders of the proxy's certificate alone. */
async function startBackend(): Promise<Server> {
  const pair = await issueCertificate(backendCa, {
    commonName: 'toys',
    usages: ['server'],
    dnsNames: ['toys.default.svc'],
    ...validity,
  });
  const server = createServer(
    { ...pair, ca: proxyCa.cert, requestCert: true, rejectUnauthorized: false },
    (request, response) => {
      const socket = request.socket as TLSSocket; // an HTTPS server
      if (!socket.authorized) return void response.writeHead(401).end();
      seen.push({ path: request.url ?? '', headers: request.headersDistinct });
      const document = DOCUMENTS[(request.url ?? '').split('?')[0] ?? ''];
      const head = { 'content-type': 'application/json' };
      return void response
        .writeHead(document === undefined ? 404 : 200, head)
        .end(JSON.stringify(document ?? { kind: 'Status' }));
    },
  );
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return server;
}

const baseUrl = () => `https://127.0.0.1:${listener.port}`;
const as = async (authority: KeyPair, commonName: string, organizations: string[] = []): Promise<Client> => {
  const pair = await issueCertificate(authority, { commonName, organizations, usages: ['client'], ...validity });
  const client = createHttpClient({ server: baseUrl(), ca: clientCa.cert, credentials: async () => pair, fieldManager: 'test' });
  closing.push(() => client.close());
  return client;
};

beforeAll(async () => {
  [clientCa, proxyCa, backendCa] = await Promise.all(
    ['client-ca', 'proxy-ca', 'backend-ca'].map((commonName) => createAuthority({ commonName, ...validity })) as [
      Promise<KeyPair>,
      Promise<KeyPair>,
      Promise<KeyPair>,
    ],
  );
  const frontProxy = await issueCertificate(proxyCa, { commonName: 'front-proxy-client', usages: ['client'], ...validity });
  api = await createApiServer({
    store: await openStore({ fs: memoryStoreFs(), now: Date.now }),
    // endpoints on loopback are refused by the real kind
    definitions: [...builtinResources().filter(({ plural }) => plural !== 'endpoints'), simpleDefinition(EndpointsKind)],
    frontProxy,
    extensionAuthorities: { client: clientCa.cert, requestHeader: proxyCa.cert },
  });
  const serving = await issueCertificate(clientCa, {
    commonName: 'api',
    usages: ['server'],
    ipAddresses: ['127.0.0.1'],
    ...validity,
  });
  listener = await api.listen({
    host: '127.0.0.1',
    port: 0,
    tls: { ...serving, clientCa: clientCa.cert, requestHeaderCa: proxyCa.cert },
  });
  backend = await startBackend();
});
afterAll(async () => {
  for (const close of closing) await close();
  await api.close();
  backend.close();
  backend.closeAllConnections();
});

const apiService = (spec: object = {}) => ({
  apiVersion: 'apiregistration.k8s.io/v1',
  kind: 'APIService',
  metadata: { name: `v1.${GROUP}` },
  spec: {
    group: GROUP,
    version: 'v1',
    groupPriorityMinimum: 1000,
    versionPriority: 15,
    service: { namespace: 'default', name: 'toys' },
    caBundle: Buffer.from(backendCa.cert).toString('base64'),
    ...spec,
  },
});

const API_SERVICES = '/apis/apiregistration.k8s.io/v1/apiservices';

/** Resolves when the APIService has this reason; each change of it is an event of a watch. */
async function untilReason(admin: Client, reason: string): Promise<void> {
  for await (const event of admin.watch(APIServiceKind, { fieldSelector: `metadata.name=v1.${GROUP}` })) {
    const status = (event.object as { status?: { conditions?: { reason: string }[] } }).status;
    if (status?.conditions?.[0]?.reason === reason) return;
  }
  throw new Error(`The watch ended without the reason ${reason}`);
}

describe('a server behind an APIService', () => {
  it('is asked for its discovery document before it gets requests, and is left alone while it is not there', async () => {
    const admin = await as(clientCa, 'root', ['system:masters']);
    const wrong = { caBundle: Buffer.from(clientCa.cert).toString('base64') };
    expect((await admin.raw({ method: 'POST', path: API_SERVICES, body: apiService(wrong) })).status).toBe(201);
    await untilReason(admin, 'ServiceNotFound');
    await admin.create(ServiceKind, {
      apiVersion: 'v1',
      kind: 'Service',
      metadata: { name: 'toys', namespace: 'default' },
      spec: { ports: [{ port: 443 }] },
    });
    await untilReason(admin, 'EndpointsNotFound');
    const refused = admin.raw({ method: 'GET', path: `${PATH}/namespaces/default/toys` });
    await expect(refused).rejects.toMatchObject({ code: 503, message: 'service unavailable' });
    await admin.create(EndpointsKind, {
      apiVersion: 'v1',
      kind: 'Endpoints',
      metadata: { name: 'toys', namespace: 'default' },
      subsets: [{ addresses: [{ ip: '127.0.0.1' }], ports: [{ port: (backend.address() as AddressInfo).port }] }],
    });
    await untilReason(admin, 'FailedDiscoveryCheck'); // nobody vouches for its certificate
    const patch = { spec: { caBundle: apiService().spec.caBundle } };
    await admin.patch(APIServiceKind, { namespace: '', name: `v1.${GROUP}` }, patch, { type: 'merge' });
    await untilReason(admin, 'Passed');
  });

  it('learns who asks by the certificate of the front proxy, whatever the client says of itself', async () => {
    const admin = await as(clientCa, 'ann, b', ['system:masters', 'dev']);
    seen = [];
    const headers = { 'X-Remote-User': 'evil', 'X-Remote-Group': 'system:masters', 'X-Remote-Extra-Scope': 'all' };
    const { body } = await admin.raw({ method: 'GET', path: `${PATH}/namespaces/default/toys`, query: { limit: '5' }, headers });
    expect(body).toMatchObject({ kind: 'ToyList' });
    expect(seen).toHaveLength(1);
    expect(seen[0]?.path).toBe(`${PATH}/namespaces/default/toys?limit=5`);
    expect(seen[0]?.headers).toMatchObject({
      'x-remote-user': ['ann, b'],
      'x-remote-group': ['system:masters', 'dev', 'system:authenticated'],
    });
    expect(seen[0]?.headers).not.toHaveProperty('x-remote-extra-scope');
  });

  it('is asked only by those who may', async () => {
    const nobody = await as(clientCa, 'nobody');
    seen = [];
    await expect(nobody.raw({ method: 'GET', path: `${PATH}/namespaces/default/toys` })).rejects.toMatchObject({ code: 403 });
    expect(seen).toEqual([]);
  });

  it('appears in discovery and in both OpenAPI documents with its own paths alone', async () => {
    const admin = await as(clientCa, 'root', ['system:masters']);
    const get = async (path: string): Promise<unknown> => {
      const { body } = await admin.raw({ method: 'GET', path });
      return typeof body === 'string' ? JSON.parse(body) : body;
    };
    expect(await get('/apis')).toMatchObject({ groups: expect.arrayContaining([expect.objectContaining({ name: GROUP })]) });
    expect(await get(PATH)).toEqual(DOCUMENTS[PATH]);
    const v2 = (await get('/openapi/v2')) as { paths: Record<string, { get?: unknown }>; definitions: object };
    expect(v2.paths[`${PATH}/toys`]).toEqual({ get: {} });
    expect(v2.paths['/api/v1/cats']).toBeUndefined();
    expect(v2.definitions).toHaveProperty(['com.example.toys.v1.Toy']);
    expect(await get('/openapi/v3')).toMatchObject({ paths: { [`apis/${GROUP}/v1`]: expect.anything() } });
    expect(await get(`/openapi/v3${PATH}`)).toEqual(DOCUMENTS[`/openapi/v3${PATH}`]);
  });

  it('is 503 when it goes away, and its endpoints need no certificate check when nobody wants one', async () => {
    const admin = await as(clientCa, 'root', ['system:masters']);
    const patch = { spec: { caBundle: null, insecureSkipTLSVerify: true } };
    await admin.patch(APIServiceKind, { namespace: '', name: `v1.${GROUP}` }, patch, { type: 'merge' });
    expect((await admin.raw({ method: 'GET', path: PATH })).status).toBe(200);
    backend.close();
    backend.closeAllConnections();
    await expect(admin.raw({ method: 'GET', path: PATH })).rejects.toMatchObject({ code: 503 });
  });
});

describe('identity headers', () => {
  const whoAmI = async (client: Client, headers: Record<string, string>): Promise<unknown> => {
    const { body } = await client.raw({
      method: 'POST',
      path: '/apis/authentication.k8s.io/v1/selfsubjectreviews',
      headers,
      body: { apiVersion: 'authentication.k8s.io/v1', kind: 'SelfSubjectReview' },
    });
    return (body as { status: { userInfo: unknown } }).status.userInfo;
  };
  const headers = { 'X-Remote-User': 'ann', 'X-Remote-Group': 'dev', 'X-Remote-Extra-Acme.com%2fScope': 'some' };

  it('are believed from a front proxy', async () => {
    const proxy = await as(proxyCa, 'front-proxy-client');
    expect(await whoAmI(proxy, headers)).toEqual({
      username: 'ann',
      groups: ['dev', 'system:authenticated'],
      extra: { 'acme.com/scope': ['some'] },
    });
  });

  it('are ignored from everybody else', async () => {
    const user = await as(clientCa, 'bob', ['ops']);
    expect(await whoAmI(user, headers)).toMatchObject({ username: 'bob', groups: ['ops', 'system:authenticated'] });
  });

  it.each([
    ['with another name', 'somebody', headers],
    ['without the headers', 'front-proxy-client', {}],
  ])('make nobody of a certificate of the proxy authority %s', async (_what, name, sent) => {
    const proxy = await as(proxyCa, name, ['system:masters']);
    await expect(whoAmI(proxy, sent)).rejects.toMatchObject({ code: 403 });
  });

  it('are described, with the authorities, where extension servers look', async () => {
    const admin = await as(clientCa, 'root', ['system:masters']);
    const map = await admin.get(ConfigMapKind, { namespace: 'kube-system', name: 'extension-apiserver-authentication' });
    expect(map.data).toMatchObject({
      'client-ca-file': clientCa.cert,
      'requestheader-client-ca-file': proxyCa.cert,
      'requestheader-allowed-names': '["front-proxy-client"]',
    });
  });
});
