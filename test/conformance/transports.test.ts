// What a client sees on the wire: identities, both HTTP versions, streams, errors.
import { request as httpsRequest } from 'node:https';
import { connect } from 'node:http2';
import { bundledCustomResourceDefinitions } from '@slipway/api';
import {
  type ApiServer,
  type KeyPair,
  type Listener,
  builtinResources,
  createApiServer,
  createAuthority,
  issueCertificate,
} from '@slipway/apiserver';
import { memoryStoreFs, openStore } from '@slipway/store';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';

const validity = { notBefore: new Date(Date.now() - 60_000), notAfter: new Date(Date.now() + 3_600_000) };
let server: ApiServer;
let listener: Listener;
let authority: KeyPair;
const audit: string[] = [];

beforeAll(async () => {
  authority = await createAuthority({ commonName: 'test', ...validity });
  const tls = await issueCertificate(authority, {
    commonName: 'server',
    usages: ['server'],
    ipAddresses: ['127.0.0.1'],
    ...validity,
  });
  server = await createApiServer({
    audit: (event) => void audit.push(`${event.user} ${event.verb} ${event.path} ${event.code}`),
    store: await openStore({ fs: memoryStoreFs(), now: Date.now }),
    definitions: builtinResources(),
    bundledCrds: bundledCustomResourceDefinitions(),
    tokens: new Map([['secret', { username: 'admin', groups: ['system:masters'] }]]),
  });
  listener = await server.listen({ host: '127.0.0.1', port: 0, tls: { ...tls, clientCa: authority.cert } });
});
afterAll(() => server.close());

interface Reply {
  readonly status: number;
  readonly headers: Record<string, unknown>;
  readonly text: string;
}

interface Ask {
  readonly method?: string;
  readonly token?: string;
  readonly body?: string;
  readonly type?: string;
  readonly client?: KeyPair;
}

function ask(path: string, { method = 'GET', token, body, type = 'application/json', client }: Ask = {}): Promise<Reply> {
  return new Promise((resolve, reject) => {
    const headers = { ...(token && { authorization: `Bearer ${token}` }), ...(body && { 'content-type': type }) };
    const outgoing = httpsRequest(
      { host: '127.0.0.1', port: listener.port, path, method, headers, ca: authority.cert, agent: false, ...client },
      (incoming) => {
        const chunks: Buffer[] = [];
        incoming.on('data', (chunk: Buffer) => chunks.push(chunk));
        incoming.on('end', () =>
          resolve({ status: incoming.statusCode ?? 0, headers: incoming.headers, text: Buffer.concat(chunks).toString() }),
        );
      },
    );
    outgoing.on('error', reject);
    outgoing.end(body);
  });
}

describe('who gets in', () => {
  it.each(['/version', '/healthz', '/livez', '/readyz'])('%s is open to everybody', async (path) => {
    expect((await ask(path)).status).toBe(200);
  });

  it.each(['/api', '/apis', '/api/v1/namespaces', '/openapi/v2', '/apis/kubevirt.io/v1/virtualmachines'])(
    '%s is not',
    async (path) => {
      const { status, text } = await ask(path);
      expect([status, text]).toEqual([403, expect.stringContaining('system:anonymous')]);
    },
  );

  it('refuses a wrong token even where anonymous callers are let in', async () => {
    expect((await ask('/version', { token: 'wrong' })).status).toBe(401);
  });

  it('knows users and groups by their certificate', async () => {
    const client = await issueCertificate(authority, {
      commonName: 'jane',
      organizations: ['system:masters'],
      usages: ['client'],
      ...validity,
    });
    expect((await ask('/api/v1/namespaces/default', { client })).status).toBe(200);
  });

  it('does not believe certificates of another authority', async () => {
    const other = await createAuthority({ commonName: 'other', ...validity });
    const client = await issueCertificate(other, {
      commonName: 'jane',
      organizations: ['system:masters'],
      usages: ['client'],
      ...validity,
    });
    expect((await ask('/api/v1/namespaces/default', { client })).status).toBe(403);
  });

  it('keeps a node to its own objects', async () => {
    const node = await issueCertificate(authority, {
      commonName: 'system:node:n1',
      organizations: ['system:nodes'],
      usages: ['client'],
      ...validity,
    });
    const lease = (name: string): string =>
      JSON.stringify({
        apiVersion: 'coordination.k8s.io/v1',
        kind: 'Lease',
        metadata: { name, namespace: 'kube-node-lease' },
        spec: {},
      });
    const path = '/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases';
    const post = (name: string) => ask(path, { method: 'POST', body: lease(name), client: node });
    expect([(await post('n1')).status, (await post('n2')).status]).toEqual([201, 403]);
    expect((await ask('/api/v1/namespaces/default/secrets', { client: node })).status).toBe(403);
    expect((await ask('/api/v1/namespaces/default/secrets/any', { client: node })).status).toBe(403);
  });
});

describe('the audit log', () => {
  it('records requests for streams, refused ones too', async () => {
    const path = '/api/v1/namespaces/default/pods/absent/exec';
    const upgrade = (token: string | undefined): Promise<number> =>
      new Promise((resolve, reject) => {
        const headers = { connection: 'Upgrade', upgrade: 'SPDY/3.1', ...(token && { authorization: `Bearer ${token}` }) };
        const target = { host: '127.0.0.1', port: listener.port, path: `${path}?command=id&stdout=1`, ca: authority.cert };
        const outgoing = httpsRequest({ ...target, method: 'POST', headers, agent: false }, (incoming) => {
          incoming.resume();
          incoming.on('end', () => resolve(incoming.statusCode ?? 0));
        });
        outgoing.on('error', reject).end();
      });
    expect([await upgrade('secret'), await upgrade(undefined)]).toEqual([404, 403]);
    expect(audit.slice(-2)).toEqual([`admin create ${path} 404`, `system:anonymous create ${path} 403`]);
  });
});

describe('the wire', () => {
  it('takes YAML and answers JSON', async () => {
    const body = 'apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: yaml\ndata:\n  a: b\n';
    const reply = await ask('/api/v1/namespaces/default/configmaps', {
      method: 'POST',
      token: 'secret',
      body,
      type: 'application/yaml',
    });
    expect([reply.status, JSON.parse(reply.text)]).toEqual([201, expect.objectContaining({ data: { a: 'b' } })]);
  });

  it('refuses a body beyond the limit and lives on', async () => {
    const body = JSON.stringify({ data: 'x'.repeat(4 << 20) });
    const reply = await ask('/api/v1/namespaces/default/configmaps', { method: 'POST', token: 'secret', body });
    expect(reply.status).toBe(413);
    expect((await ask('/healthz')).status).toBe(200);
  });

  it('speaks HTTP/2 and streams a watch', async () => {
    const session = connect(`https://127.0.0.1:${listener.port}`, { ca: authority.cert });
    const stream = session.request({
      ':path': '/api/v1/namespaces/default/configmaps?watch=1&fieldSelector=metadata.name%3Dseen',
      authorization: 'Bearer secret',
    });
    const first = new Promise<string>((resolve) => stream.once('data', (chunk: Buffer) => resolve(chunk.toString())));
    await new Promise((resolve) => stream.once('response', resolve));
    const body = JSON.stringify({ apiVersion: 'v1', kind: 'ConfigMap', metadata: { name: 'seen' } });
    await ask('/api/v1/namespaces/default/configmaps', { method: 'POST', token: 'secret', body });
    expect(JSON.parse(await first)).toMatchObject({ type: 'ADDED', object: { metadata: { name: 'seen' } } });
    session.destroy();
  });
});
