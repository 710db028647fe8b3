import type { UnstructuredObject } from '@slipway/apimachinery';
import { memoryStoreFs, openStore } from '@slipway/store';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type ApiServer, createApiServer } from '../api-server.ts';
import { builtinResources } from '../builtin/index.ts';

const spec = (field: string) => ({
  openAPIV3Schema: {
    type: 'object',
    properties: { spec: { type: 'object', properties: { [field]: { type: 'string' } } } },
  },
});

const CRD = {
  apiVersion: 'apiextensions.k8s.io/v1',
  kind: 'CustomResourceDefinition',
  metadata: { name: 'boats.example.test' },
  spec: {
    group: 'example.test',
    scope: 'Cluster',
    names: { plural: 'boats', singular: 'boat', kind: 'Boat', listKind: 'BoatList' },
    versions: [
      { name: 'v1', served: true, storage: true, schema: spec('newName') },
      { name: 'v1beta1', served: true, storage: false, schema: spec('oldName') },
    ],
  },
};

/** `oldName` of v1beta1 is `newName` in v1. */
function rename(object: UnstructuredObject, version: string): UnstructuredObject {
  const { oldName, newName } = (object['spec'] ?? {}) as { oldName?: string; newName?: string }; // see the schemas
  return { ...object, spec: { [version === 'v1' ? 'newName' : 'oldName']: newName ?? oldName } };
}

describe('kinds whose fields the platform converts', () => {
  let server: ApiServer;
  const ask = (method: string, version: string, rest: object = {}) =>
    server
      .client({ username: 'admin', groups: ['system:masters'] })
      .raw({ method, path: `/apis/example.test/${version}/boats${method === 'POST' ? '' : '/a'}`, ...rest });

  beforeAll(async () => {
    server = await createApiServer({
      store: await openStore({ fs: memoryStoreFs(), now: Date.now }),
      definitions: builtinResources(),
      bundledCrds: [CRD],
      fieldConverters: new Map([['example.test/Boat', rename]]),
    });
  });
  afterAll(() => server.close());

  it('are read and written in the layout of each version', async () => {
    const made = await ask('POST', 'v1beta1', { body: { metadata: { name: 'a' }, spec: { oldName: 'Ark' } } });
    expect(made).toMatchObject({ status: 201, body: { apiVersion: 'example.test/v1beta1', spec: { oldName: 'Ark' } } });
    expect((await ask('GET', 'v1')).body).toMatchObject({ apiVersion: 'example.test/v1', spec: { newName: 'Ark' } });
    const headers = { 'content-type': 'application/json-patch+json' };
    await ask('PATCH', 'v1beta1', { headers, body: [{ op: 'replace', path: '/spec/oldName', value: 'Argo' }] });
    expect((await ask('GET', 'v1')).body).toMatchObject({ spec: { newName: 'Argo' } });
    await ask('PATCH', 'v1', { headers, body: [{ op: 'replace', path: '/spec/newName', value: 'Pequod' }] });
    expect((await ask('GET', 'v1beta1')).body).toMatchObject({ apiVersion: 'example.test/v1beta1', spec: { oldName: 'Pequod' } });
  });
});
