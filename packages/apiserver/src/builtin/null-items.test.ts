import { memoryStoreFs, openStore } from '@slipway/store';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { bundledCustomResourceDefinitions } from '@slipway/api';
import { type ApiServer, createApiServer } from '../api-server.ts';
import { builtinResources } from './index.ts';

let server: ApiServer;
beforeAll(async () => {
  server = await createApiServer({
    store: await openStore({ fs: memoryStoreFs(), now: Date.now }),
    definitions: builtinResources(),
    bundledCrds: bundledCustomResourceDefinitions(),
  });
});
afterAll(() => server.close());

const selector = { matchExpressions: [{ key: 'a', operator: 'In', values: [null] }] };
const template = { spec: { domain: { devices: {} } } };

// found by fuzzing: a null in a list of texts ended in 500
it.each([
  ['/api/v1/namespaces/default/services', { metadata: { name: 'x', finalizers: [null] }, spec: { ports: [{ port: 80 }] } }],
  ['/apis/policy/v1/namespaces/default/poddisruptionbudgets', { metadata: { name: 'x' }, spec: { minAvailable: 1, selector } }],
  ['/apis/apps/v1/namespaces/default/deployments', { metadata: { name: 'x' }, spec: { selector: { matchLabels: { a: null } } } }],
  [
    '/apis/kubevirt.io/v1/namespaces/default/virtualmachines',
    { metadata: { name: 'x', finalizers: [null] }, spec: { runStrategy: 'Halted', template } },
  ],
  [
    '/apis/kubevirt.io/v1/namespaces/default/virtualmachines',
    { metadata: { name: 'x', labels: { a: null } }, spec: { runStrategy: 'Halted', template } },
  ],
])('null in a list of %s is no failure of the server', async (path, body) => {
  const { status } = await server.handle({
    method: 'POST',
    path,
    headers: { 'content-type': 'application/json' },
    query: new URLSearchParams(),
    remoteAddress: '127.0.0.1',
    signal: new AbortController().signal,
    body: { type: 'bytes', bytes: Buffer.from(JSON.stringify(body)) },
    identity: { type: 'user', user: { username: 'root', groups: ['system:masters'] } },
  });
  expect([201, 422]).toContain(status);
});
