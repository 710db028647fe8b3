import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { memoryStoreFs, openStore } from '@slipway/store';
import { type ApiServer, createApiServer } from '../api-server.ts';
import { builtinResources } from '../builtin/index.ts';

const crd = (plural: string, kind: string, additionalPrinterColumns?: readonly object[]) => ({
  apiVersion: 'apiextensions.k8s.io/v1',
  kind: 'CustomResourceDefinition',
  metadata: { name: `${plural}.example.test` },
  spec: {
    group: 'example.test',
    scope: 'Cluster',
    names: { plural, kind },
    versions: [
      {
        ...{ name: 'v1', served: true, storage: true },
        schema: { openAPIV3Schema: { type: 'object', 'x-kubernetes-preserve-unknown-fields': true } },
        ...(additionalPrinterColumns && { additionalPrinterColumns }),
      },
    ],
  },
});
const AGE = { name: 'Age', type: 'date', jsonPath: '.metadata.creationTimestamp' };
const PRINTED = [{ name: 'Masts', cell: ({ masts }: object & { masts?: unknown }) => (Array.isArray(masts) ? masts.length : 0) }];

describe('columns that the platform prints of its own kinds', () => {
  let server: ApiServer;
  beforeAll(async () => {
    server = await createApiServer({
      store: await openStore({ fs: memoryStoreFs(), now: Date.now }),
      definitions: builtinResources(),
      bundledCrds: [crd('boats', 'Boat'), crd('ships', 'Ship', [AGE]), crd('rafts', 'Raft')],
      printedColumns: new Map(['Boat', 'Ship'].map((kind) => [`example.test/${kind}`, PRINTED])),
    });
  });
  afterAll(() => server.close());

  it.each([
    ['boats', 'Boat', ['Name', 'Masts'], ['a', 2]],
    ['ships', 'Ship', ['Name', 'Age'], ['a', expect.any(String)]],
    ['rafts', 'Raft', ['Name', 'Age'], ['a', expect.any(String)]],
  ])('are there unless the definition declares some: %s', async (plural, kind, names, cells) => {
    const client = server.client({ username: 'admin', groups: ['system:masters'] });
    const path = `/apis/example.test/v1/${plural}`;
    const body = { apiVersion: 'example.test/v1', kind, metadata: { name: 'a' }, masts: [{}, {}] };
    expect(await client.raw({ method: 'POST', path, body })).toMatchObject({ status: 201 });
    const headers = { accept: 'application/json;as=Table;v=v1;g=meta.k8s.io' };
    const { body: table } = await client.raw({ method: 'GET', path, headers });
    expect(table).toMatchObject({ columnDefinitions: names.map((name) => ({ name })), rows: [{ cells }] });
  });
});
