import { type StoreFs, memoryStoreFs, openStore } from '@slipway/store';
import { describe, expect, it } from 'vitest';
import { createApiServer } from './api-server.ts';
import { builtinResources } from './builtin/index.ts';
import type { ApiRequest } from './pipeline/request.ts';

/** A disk without room for writes while `isFull` says so; part of each write still arrives. */
function fillableFs(isFull: () => boolean): StoreFs {
  const memory = memoryStoreFs();
  return {
    ...memory,
    async open(name) {
      const file = await memory.open(name);
      return {
        ...file,
        async write(data, position) {
          if (!isFull()) return file.write(data, position);
          await file.write(data.subarray(0, 20), position);
          throw Object.assign(new Error('no space left on device'), { code: 'ENOSPC' });
        },
      };
    },
  };
}

const request = (method: string, name: string, value?: object): ApiRequest => ({
  method,
  path: `/api/v1/namespaces/default/configmaps${name && `/${name}`}`,
  query: new URLSearchParams(),
  headers: {},
  body: value === undefined ? { type: 'none' } : { type: 'value', value },
  identity: { type: 'user', user: { username: 'admin', groups: ['system:masters'] } },
  remoteAddress: 'in-process',
  signal: new AbortController().signal,
});

const configMap = (name: string): object => ({ apiVersion: 'v1', kind: 'ConfigMap', metadata: { name } });

describe('a full disk', () => {
  it('refuses writes with 507, answers reads, and takes writes again when there is room', async () => {
    let isFull = false;
    const fs = fillableFs(() => isFull);
    const server = await createApiServer({ store: await openStore({ fs, now: Date.now }), definitions: builtinResources() });
    const create = (name: string) => server.handle(request('POST', '', configMap(name)));
    expect((await create('before')).status).toBe(201);
    isFull = true;
    const refused = await Promise.all([create('one'), create('two')]);
    expect(refused.map(({ status }) => status)).toEqual([507, 507]);
    expect(refused[0]?.value).toMatchObject({
      kind: 'Status',
      reason: 'InsufficientStorage',
      message: 'The disk of the store is full',
    });
    expect((await server.handle(request('GET', 'before'))).status).toBe(200);
    expect((await server.handle(request('GET', 'one'))).status).toBe(404);
    isFull = false;
    expect((await create('one')).status).toBe(201);
    await server.close();
    const again = await openStore({ fs, now: Date.now });
    expect(again.range('/configmaps//default/').entries.map(({ key }) => key.split('/').at(-1))).toEqual(['before', 'one']);
  });
});
