import type { UnstructuredObject, WatchEvent } from '@slipway/apimachinery';
import { ConfigMapKind, NamespaceKind, VirtualMachineKind, bundledCustomResourceDefinitions } from '@slipway/api';
import { memoryStoreFs, openStore } from '@slipway/store';
import { afterEach, describe, expect, it } from 'vitest';
import { type ApiServer, createApiServer } from './api-server.ts';
import { simpleDefinition } from './registry/simple-definition.ts';

const admin = { username: 'admin', groups: ['system:masters'] };
let server: ApiServer | undefined;
afterEach(async () => {
  await server?.close();
});

async function start(): Promise<ApiServer> {
  server = await createApiServer({
    store: await openStore({ fs: memoryStoreFs(), now: Date.now }),
    definitions: [simpleDefinition(NamespaceKind), simpleDefinition(ConfigMapKind)],
    bundledCrds: bundledCustomResourceDefinitions(),
  });
  const client = server.client(admin);
  await client.create(NamespaceKind, { apiVersion: 'v1', kind: 'Namespace', metadata: { name: 'a' } });
  return server;
}

const configMap = (name: string, data = {}) => ({
  apiVersion: 'v1',
  kind: 'ConfigMap',
  metadata: { name, namespace: 'a' },
  data,
});

describe('the API server in process', () => {
  it('creates, reads, patches, lists and deletes', async () => {
    const client = (await start()).client(admin);
    const created = await client.create(ConfigMapKind, configMap('one', { x: '1' }));
    expect(created.metadata.uid).toBeTruthy();
    const key = { namespace: 'a', name: 'one' };
    const patched = await client.patch(ConfigMapKind, key, { data: { y: '2' } }, { type: 'merge' });
    expect(patched.data).toEqual({ x: '1', y: '2' });
    expect((await client.list(ConfigMapKind, { namespace: 'a' })).items).toEqual([patched]);
    await client.delete(ConfigMapKind, key);
    await expect(client.get(ConfigMapKind, key)).rejects.toMatchObject({ reason: 'NotFound' });
  });

  it('refuses a stale update and keeps an unchanged one', async () => {
    const client = (await start()).client(admin);
    const first = await client.create(ConfigMapKind, configMap('one'));
    const second = await client.update(ConfigMapKind, { ...first, data: { a: 'b' } });
    await expect(client.update(ConfigMapKind, { ...first, data: { a: 'c' } })).rejects.toMatchObject({ reason: 'Conflict' });
    expect((await client.update(ConfigMapKind, second)).metadata.resourceVersion).toBe(second.metadata.resourceVersion);
  });

  it('watches from a revision without losing or repeating an event', async () => {
    const client = (await start()).client(admin);
    const { metadata } = await client.list(ConfigMapKind, { namespace: 'a' });
    await client.create(ConfigMapKind, configMap('one'));
    const seen: string[] = [];
    const abort = new AbortController();
    const watching = (async () => {
      for await (const event of client.watch(ConfigMapKind, {
        namespace: 'a',
        resourceVersion: metadata.resourceVersion ?? '',
        signal: abort.signal,
      })) {
        seen.push(
          `${event.type} ${(event as WatchEvent<UnstructuredObject> & { object: UnstructuredObject }).object.metadata.name}`,
        );
        if (seen.length === 3) break;
      }
    })();
    await client.create(ConfigMapKind, configMap('two'));
    await client.delete(ConfigMapKind, { namespace: 'a', name: 'one' });
    await watching;
    expect(seen).toEqual(['ADDED one', 'ADDED two', 'DELETED one']);
  });

  it('serves the platform kinds from the start', async () => {
    const client = (await start()).client(admin);
    const vm = await client.create(VirtualMachineKind, {
      apiVersion: 'kubevirt.io/v1',
      kind: 'VirtualMachine',
      metadata: { name: 'vm', namespace: 'a' },
      spec: { runStrategy: 'Halted', template: { spec: { domain: { devices: {} } } } },
    } as never);
    expect(vm.metadata.generation).toBe(1);
  });

  it('lets nobody in without rights', async () => {
    const nobody = (await start()).client({ username: 'nobody', groups: [] });
    await expect(nobody.list(ConfigMapKind, { namespace: 'a' })).rejects.toMatchObject({
      reason: 'Forbidden',
      message: 'configmaps is forbidden: User "nobody" cannot list resource "configmaps" in API group "" in the namespace "a"',
    });
  });
});
