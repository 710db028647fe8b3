import { Agent, request } from 'node:https';
import { ConfigMapKind } from '@slipway/api';
import { memoryStoreFs, openStore } from '@slipway/store';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type ApiServer, createApiServer } from '../api-server.ts';
import { builtinResources } from '../builtin/index.ts';
import type { Listener } from '../http/http-server.ts';
import { createAuthority, issueCertificate } from '../pki/certificates.ts';
import type { AuditEvent } from '../pipeline/server-context.ts';

const ADMIN = { username: 'root', groups: ['system:masters'] };
const PATH = '/api/v1/namespaces/default/configmaps';
let api: ApiServer;
let listener: Listener;
let ca = '';
const served: AuditEvent[] = [];
const agents: Agent[] = [];

beforeAll(async () => {
  const validity = { notBefore: new Date(Date.now() - 3_600_000), notAfter: new Date(Date.now() + 3_600_000) };
  const authority = await createAuthority({ commonName: 'ca', ...validity });
  ca = authority.cert;
  api = await createApiServer({
    store: await openStore({ fs: memoryStoreFs(), now: Date.now }),
    definitions: builtinResources(),
    tokens: new Map([
      ['noisy', { username: 'noisy', groups: [] }],
      ['quiet', { username: 'quiet', groups: [] }],
      ['root', ADMIN],
    ]),
    audit: (event) => served.push(event),
  });
  const tls = await issueCertificate(authority, {
    commonName: 'api',
    usages: ['server'],
    ipAddresses: ['127.0.0.1'],
    ...validity,
  });
  listener = await api.listen({ host: '127.0.0.1', port: 0, tls: { ...tls, clientCa: ca } });
  const client = api.client(ADMIN);
  const rights = { rules: [{ apiGroups: [''], resources: ['configmaps'], verbs: ['*'] }] };
  const rbac = '/apis/rbac.authorization.k8s.io/v1';
  const role = { apiVersion: 'rbac.authorization.k8s.io/v1', kind: 'ClusterRole', metadata: { name: 'maps' }, ...rights };
  await client.raw({ method: 'POST', path: `${rbac}/clusterroles`, body: role });
  const binding = {
    apiVersion: 'rbac.authorization.k8s.io/v1',
    kind: 'ClusterRoleBinding',
    metadata: { name: 'maps' },
    roleRef: { apiGroup: 'rbac.authorization.k8s.io', kind: 'ClusterRole', name: 'maps' },
    subjects: ['noisy', 'quiet'].map((name) => ({ apiGroup: 'rbac.authorization.k8s.io', kind: 'User', name })),
  };
  await client.raw({ method: 'POST', path: `${rbac}/clusterrolebindings`, body: binding });
  const data = { text: 'x'.repeat(500) };
  for (let index = 0; index < 300; index += 1) {
    const metadata = { namespace: 'default', name: `map-${index}` };
    await client.create(ConfigMapKind, { apiVersion: 'v1', kind: 'ConfigMap', metadata, data });
  }
});
afterAll(async () => {
  for (const agent of agents) agent.destroy();
  await api.close();
});

interface Answer {
  readonly status: number;
  readonly headers: Record<string, unknown>;
}

function newAgent(sockets: number): Agent {
  const agent = new Agent({ keepAlive: true, maxSockets: sockets, ca });
  agents.push(agent);
  return agent;
}

function send(agent: Agent, token: string, path: string, body?: Buffer): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const outgoing = request(
      {
        agent,
        host: '127.0.0.1',
        port: listener.port,
        path,
        method: body === undefined ? 'GET' : 'POST',
        headers: { authorization: `Bearer ${token}`, ...(body && { 'content-type': 'application/json' }) },
      },
      (response) => {
        response.resume();
        response.once('end', () => resolve({ status: response.statusCode ?? 0, headers: response.headers }));
      },
    );
    outgoing.once('error', reject);
    outgoing.end(body);
  });
}

/** A request whose body is on its way: it holds its seat until `finish`. */
function withheld(token: string): { answer: Promise<Answer>; finish: () => void } {
  const headers = { authorization: `Bearer ${token}`, 'content-type': 'application/json', 'content-length': '1' };
  const outgoing = request({ agent: newAgent(1), host: '127.0.0.1', port: listener.port, path: PATH, method: 'POST', headers });
  const answer = new Promise<Answer>((resolve, reject) => {
    outgoing.once('response', (response) => {
      response.resume();
      resolve({ status: response.statusCode ?? 0, headers: response.headers });
    });
    outgoing.once('error', reject);
  });
  outgoing.flushHeaders();
  return { answer, finish: () => outgoing.end('?') };
}

describe('a client that floods the server', () => {
  it('does not keep another one waiting: few of its requests are served meanwhile', async () => {
    const flood = newAgent(40);
    const quiet = newAgent(1);
    let isOver = false;
    const worker = async (): Promise<void> => {
      while (!isOver) await send(flood, 'noisy', PATH);
    };
    const workers = Array.from({ length: 40 }, worker);
    const countOfNoisy = (): number => served.filter(({ user }) => user === 'noisy').length;
    while (countOfNoisy() < 20) await send(quiet, 'quiet', `${PATH}/map-1`);
    const meanwhile: number[] = [];
    for (let round = 0; round < 10; round += 1) {
      const before = countOfNoisy();
      const { status } = await send(quiet, 'quiet', `${PATH}/map-1`);
      expect(status).toBe(200);
      meanwhile.push(countOfNoisy() - before);
    }
    isOver = true;
    await Promise.all(workers);
    // forty of its lists wait at any time; without turns the other client would see most of them served first
    expect(meanwhile.sort((a, b) => a - b)[5]).toBeLessThan(20);
  }, 120_000);

  it('is told to come again when too many of its requests wait, and others are not', async () => {
    const level = '/apis/flowcontrol.apiserver.k8s.io/v1beta3/prioritylevelconfigurations/global-default';
    const limited = { limitResponse: { queuing: { handSize: 1, queueLengthLimit: 4 } } };
    const patch = { method: 'PATCH', path: level, body: { spec: { limited } } };
    await api.client(ADMIN).raw({ ...patch, headers: { 'content-type': 'application/merge-patch+json' } });
    const bodies = Array.from({ length: 32 + 4 + 3 }, () => withheld('noisy'));
    const refused = await Promise.race(bodies.map(({ answer }) => answer));
    expect(refused).toMatchObject({ status: 429, headers: { 'retry-after': '1' } });
    expect((await send(newAgent(1), 'quiet', `${PATH}/map-1`)).status).toBe(200);
    for (const { finish } of bodies) finish();
    const statuses = (await Promise.all(bodies.map(({ answer }) => answer))).map(({ status }) => status);
    expect(statuses.filter((status) => status === 429)).toHaveLength(3);
    expect(statuses.filter((status) => status === 400)).toHaveLength(36);
    const metrics = String((await api.client(ADMIN).raw({ method: 'GET', path: '/metrics' })).body);
    expect(metrics).toMatch(/rejected_requests_total\{priority_level="global-default",reason="queue-full"\} 3\n/);
  });

  it('has no more open watches than a user may have', async () => {
    const info = { isResource: true, verb: 'watch', group: '', version: 'v1', namespace: '', resource: 'pods' };
    const target = { ...info, subresource: '', name: '', path: '' };
    const { FlowController } = await import('./flow-controller.ts');
    const flow = new FlowController({ registry: api.registry, soon: setImmediate, after: () => () => undefined });
    const user = { username: 'noisy', groups: ['system:authenticated'] };
    const close = Array.from({ length: 1000 }, () => flow.openWatch(user, target));
    expect(() => flow.openWatch(user, target)).toThrow(/too many watches/);
    expect(() => flow.openWatch({ ...user, username: 'quiet' }, target)).not.toThrow();
    expect(() => flow.openWatch(ADMIN, target)).not.toThrow();
    close[0]?.();
    expect(() => flow.openWatch(user, target)).not.toThrow();
    flow.close();
  });
});

describe('flow control objects', () => {
  it('are there from the start in both versions, and the server goes by them', async () => {
    const client = api.client(ADMIN);
    const get = async (version: string, name: string): Promise<unknown> =>
      (
        await client.raw({
          method: 'GET',
          path: `/apis/flowcontrol.apiserver.k8s.io/${version}/prioritylevelconfigurations/${name}`,
        })
      ).body;
    expect(await get('v1beta3', 'workload-low')).toMatchObject({ spec: { limited: { nominalConcurrencyShares: 100 } } });
    expect(await get('v1beta2', 'workload-low')).toMatchObject({ spec: { limited: { assuredConcurrencyShares: 100 } } });
    const level = {
      apiVersion: 'flowcontrol.apiserver.k8s.io/v1beta3',
      kind: 'PriorityLevelConfiguration',
      metadata: { name: 'none' },
      spec: { type: 'Limited', limited: { nominalConcurrencyShares: 1, limitResponse: { type: 'Reject' } } },
    };
    const path = '/apis/flowcontrol.apiserver.k8s.io/v1beta3';
    expect((await client.raw({ method: 'POST', path: `${path}/prioritylevelconfigurations`, body: level })).status).toBe(201);
    expect(String((await client.raw({ method: 'GET', path: '/metrics' })).body)).not.toContain('priority_level="none"');
    await send(newAgent(1), 'quiet', `${PATH}/map-1`); // the first request after the change compiles it
    expect(String((await client.raw({ method: 'GET', path: '/metrics' })).body)).toContain('priority_level="none"');
  });
});

it('are shown with what they mean', async () => {
  const table = async (plural: string): Promise<unknown> => {
    const path = `/apis/flowcontrol.apiserver.k8s.io/v1beta3/${plural}`;
    const { parts, text, value } = await api.handle({
      method: 'GET',
      path,
      query: new URLSearchParams(),
      headers: { accept: 'application/json;as=Table;g=meta.k8s.io;v=v1' },
      body: { type: 'none' },
      identity: { type: 'user', user: ADMIN },
      remoteAddress: '',
      signal: new AbortController().signal,
    });
    const shown = text ?? (parts === undefined ? undefined : [...parts.pieces].join(''));
    return (shown === undefined ? value : JSON.parse(shown)) as unknown;
  };
  const row = (...cells: unknown[]): object => expect.objectContaining({ cells: expect.arrayContaining(cells) });
  expect(await table('flowschemas')).toMatchObject({
    rows: expect.arrayContaining([row('system-nodes', 'system', 500, 'ByUser')]),
  });
  expect(await table('prioritylevelconfigurations')).toMatchObject({
    rows: expect.arrayContaining([row('system', 'Limited', '30', '64', '6', '50')]),
  });
});

describe('a body', () => {
  it('is refused when it is too large, and nobody waits for one that was refused before it came', async () => {
    const agent = newAgent(1);
    expect((await send(agent, 'quiet', PATH, Buffer.alloc(4 * 1024 * 1024, 32))).status).toBe(413);
    expect((await send(agent, 'wrong', PATH, Buffer.alloc(2 * 1024 * 1024, 32))).status).toBe(401);
    expect((await send(agent, 'quiet', `${PATH}/map-1`)).status).toBe(200);
  });
});
