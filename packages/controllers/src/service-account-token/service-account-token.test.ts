import { SecretKind, ServiceAccountKind } from '@slipway/api';
import { built, type TestWorld, testWorld } from '@slipway/testkit';
import { afterEach, describe, expect, it } from 'vitest';
import { serviceAccountTokenController } from './index.ts';

let world: TestWorld;
afterEach(() => world.close());

const secret = (name: string, account: string) =>
  built(SecretKind, `a/${name}`, {
    metadata: { name, namespace: 'a', annotations: { 'kubernetes.io/service-account.name': account } },
    type: 'kubernetes.io/service-account-token',
  });

describe('token secrets', () => {
  it('get a token of their account that the API server accepts, and go with the account', async () => {
    world = await testWorld({ api: 'server', controllers: [serviceAccountTokenController] }).with(
      built(ServiceAccountKind, 'a/robot'),
      secret('key', 'robot'),
    );
    await world.settle();
    const filled = await world.get(SecretKind, 'a/key');
    const account = await world.get(ServiceAccountKind, 'a/robot');
    expect(filled.metadata.annotations?.['kubernetes.io/service-account.uid']).toBe(account.metadata.uid);
    expect(Object.keys(filled.data ?? {}).sort()).toEqual(['ca.crt', 'namespace', 'token']);
    const token = Buffer.from(filled.data?.['token'] ?? '', 'base64').toString();
    const review = await world.client.raw({
      method: 'POST',
      path: '/apis/authentication.k8s.io/v1/tokenreviews',
      body: { apiVersion: 'authentication.k8s.io/v1', kind: 'TokenReview', spec: { token } },
    });
    expect(review.body).toMatchObject({ status: { authenticated: true, user: { username: 'system:serviceaccount:a:robot' } } });
    await world.client.delete(ServiceAccountKind, { namespace: 'a', name: 'robot' });
    await world.settle();
    expect(await world.exists(SecretKind, 'a/key')).toBe(false);
  });

  it('of accounts that do not exist are removed', async () => {
    world = await testWorld({ api: 'server', controllers: [serviceAccountTokenController] }).with(secret('key', 'nobody'));
    await world.settle();
    expect(await world.exists(SecretKind, 'a/key')).toBe(false);
  });

  it('leaves other secrets alone', async () => {
    const plain = built(SecretKind, 'a/plain', { stringData: { a: 'b' } });
    world = await testWorld({ api: 'server', controllers: [serviceAccountTokenController] }).with(plain);
    await world.settle();
    expect(Object.keys((await world.get(SecretKind, 'a/plain')).data ?? {})).toEqual(['a']);
  });
});
