import { StatusError } from '@slipway/apimachinery';
import { PodDisruptionBudgetKind, PodKind, type Pod } from '@slipway/api';
import type { Client, RawResponse } from '@slipway/client';
import { memoryStoreFs, openStore } from '@slipway/store';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { type ApiServer, createApiServer } from '../api-server.ts';
import { builtinResources } from '../builtin/index.ts';

let server: ApiServer;
let client: Client;
/** Set by a test: refuses evictions as the webhook that moves guests does. */
let refuse: boolean;

beforeEach(async () => {
  refuse = false;
  server = await createApiServer({
    store: await openStore({ fs: memoryStoreFs(), now: Date.now }),
    definitions: builtinResources(),
    admissionHandlers: [
      {
        name: 'eviction',
        rules: [{ group: '', resources: ['pods/eviction'], operations: ['CREATE'] }],
        async validate({ name }) {
          if (refuse) throw new StatusError({ code: 429, reason: 'TooManyRequests', message: `${name} is being moved` });
          return [];
        },
      },
    ],
  });
  client = server.client({ username: 'root', groups: ['system:masters'] });
});
afterEach(() => server.close());

const key = (name: string) => ({ namespace: 'default', name });

async function run(name: string): Promise<Pod> {
  await client.create(PodKind, {
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: { ...key(name), labels: { app: 'web' } },
    spec: { nodeName: 'n', containers: [{ name: 'c', image: 'i' }] },
  });
  const status = { phase: 'Running', conditions: [{ type: 'Ready', status: 'True' }] };
  return client.patch(PodKind, key(name), { status }, { type: 'merge', subresource: 'status' });
}

async function allow(disruptionsAllowed: number): Promise<void> {
  const { metadata } = await client.create(PodDisruptionBudgetKind, {
    apiVersion: 'policy/v1',
    kind: 'PodDisruptionBudget',
    metadata: key('b'),
    spec: { minAvailable: 1, selector: { matchLabels: { app: 'web' } } },
  });
  const status = {
    observedGeneration: metadata.generation,
    disruptionsAllowed,
    currentHealthy: 5,
    desiredHealthy: 1,
    expectedPods: 5,
  };
  await client.patch(PodDisruptionBudgetKind, key('b'), { status }, { type: 'merge', subresource: 'status' });
}

const evict = (name: string, deleteOptions?: object): Promise<RawResponse> =>
  client.raw({
    method: 'POST',
    path: `/api/v1/namespaces/default/pods/${name}/eviction`,
    body: { apiVersion: 'policy/v1', kind: 'Eviction', metadata: { name }, ...(deleteOptions && { deleteOptions }) },
  });
const codeOf = (answer: Promise<RawResponse>): Promise<number> =>
  answer.then(
    ({ status }) => status,
    (error: unknown) => (error as StatusError).code, // the client throws nothing else here
  );

describe('evictions', () => {
  it('at the same time are granted no more often than the budget has room', async () => {
    const names = ['a', 'b', 'c', 'd', 'e'];
    await Promise.all(names.map(run));
    await allow(2);
    const codes = await Promise.all(names.map((name) => codeOf(evict(name))));
    expect(codes.sort((a, b) => a - b)).toEqual([201, 201, 429, 429, 429]);
    const { status } = await client.get(PodDisruptionBudgetKind, key('b'));
    expect(status?.disruptionsAllowed).toBe(0);
    expect(Object.keys(status?.disruptedPods ?? {})).toHaveLength(2);
    const { items } = await client.list(PodKind, { namespace: 'default' });
    expect(items.filter(({ metadata }) => metadata.deletionTimestamp !== undefined)).toHaveLength(2);
  });

  it('that are tried out change neither the budget nor the pod', async () => {
    const { metadata } = await run('a');
    await allow(1);
    expect(await codeOf(evict('a', { dryRun: ['All'] }))).toBe(201);
    expect((await client.get(PodDisruptionBudgetKind, key('b'))).status?.disruptionsAllowed).toBe(1);
    expect((await client.get(PodKind, key('a'))).metadata.resourceVersion).toBe(metadata.resourceVersion);
  });

  it('hold to preconditions, which their own mark in the status does not break', async () => {
    const { metadata } = await run('a');
    expect(await codeOf(evict('a', { preconditions: { uid: 'other' } }))).toBe(409);
    expect(await codeOf(evict('a', { preconditions: { resourceVersion: '1' } }))).toBe(409);
    const { uid, resourceVersion } = metadata;
    expect(await codeOf(evict('a', { preconditions: { uid, resourceVersion } }))).toBe(201);
    expect((await client.get(PodKind, key('a'))).status?.conditions).toContainEqual(
      expect.objectContaining({ type: 'DisruptionTarget', reason: 'EvictionByEvictionAPI' }),
    );
  });

  it('cost no room when admission refuses them', async () => {
    await run('a');
    await allow(1);
    refuse = true;
    expect(await codeOf(evict('a'))).toBe(429);
    expect((await client.get(PodDisruptionBudgetKind, key('b'))).status?.disruptionsAllowed).toBe(1);
  });

  it('name the pod they are for', async () => {
    await run('a');
    const path = '/api/v1/namespaces/default/pods/a/eviction';
    const body = { apiVersion: 'policy/v1', kind: 'Eviction', metadata: { name: 'b' } };
    expect(await codeOf(client.raw({ method: 'POST', path, body }))).toBe(400);
    expect(await codeOf(evict('gone'))).toBe(404);
  });
});
