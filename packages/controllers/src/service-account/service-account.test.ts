import { ConfigMapKind, NamespaceKind, ServiceAccountKind } from '@slipway/api';
import { namespace, type TestWorld, testWorld } from '@slipway/testkit';
import { afterEach, describe, expect, it } from 'vitest';
import { serviceAccountController } from './index.ts';

let world: TestWorld;
afterEach(() => world.close());

describe('service accounts', () => {
  it('gives each namespace its account and CA, again when they are deleted or changed', async () => {
    world = await testWorld({ api: 'server', controllers: [serviceAccountController] }).with(namespace('a'));
    await world.settle();
    expect(await world.exists(ServiceAccountKind, 'a/default')).toBe(true);
    const configMap = await world.get(ConfigMapKind, 'a/kube-root-ca.crt');
    expect(configMap.data?.['ca.crt']).toContain('BEGIN CERTIFICATE');
    await world.client.update(ConfigMapKind, { ...configMap, data: { 'ca.crt': 'mine' } });
    await world.client.delete(ServiceAccountKind, { namespace: 'a', name: 'default' });
    await world.settle();
    expect(await world.exists(ServiceAccountKind, 'a/default')).toBe(true);
    expect((await world.get(ConfigMapKind, 'a/kube-root-ca.crt')).data).toEqual(configMap.data);
  });

  it('leaves namespaces alone that are going away', async () => {
    world = await testWorld({ api: 'server', controllers: [serviceAccountController] }).with(namespace('a'));
    await world.client.delete(NamespaceKind, { namespace: '', name: 'a' });
    await world.settle();
    expect(await world.exists(NamespaceKind, 'a')).toBe(true);
    expect(await world.list(ServiceAccountKind, 'a')).toEqual([]);
  });
});
