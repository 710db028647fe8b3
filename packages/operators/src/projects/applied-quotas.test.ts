import { ClusterResourceQuotaKind, NamespaceKind, RoleBindingKind } from '@slipway/api';
import type { Client } from '@slipway/client';
import { built, type TestWorld, testWorld } from '@slipway/testkit';
import { afterEach, describe, expect, it } from 'vitest';
import { appliedQuotasApi } from './applied-quotas.ts';

let world: TestWorld;
afterEach(() => world.close());

const late = {
  get: (...parts: Parameters<Client['get']>) => world.client.get(...parts),
  list: (...parts: Parameters<Client['list']>) => world.client.list(...parts),
} as Client; // the API reads only

async function start(): Promise<void> {
  world = testWorld({ api: 'server', controllers: [], aggregatedApis: [appliedQuotasApi({ client: late })] });
  const usage = (namespace: string) => ({ namespace, status: { hard: { pods: '5' }, used: { pods: '1' } } });
  await world.with(
    ...['a', 'b', 'c'].map((name) =>
      built(NamespaceKind, name, { metadata: { name, labels: { team: name === 'c' ? 'blue' : 'red' } } }),
    ),
    built(ClusterResourceQuotaKind, 'red', {
      spec: { selector: { labels: { matchLabels: { team: 'red' } } }, quota: { hard: { pods: '5' } } },
      status: { total: { hard: { pods: '5' }, used: { pods: '2' } }, namespaces: [usage('a'), usage('b')] },
    }),
    built(RoleBindingKind, 'a/quotas', {
      roleRef: { apiGroup: 'rbac.authorization.k8s.io', kind: 'ClusterRole', name: 'quota.openshift.io:view' },
      subjects: [{ apiGroup: 'rbac.authorization.k8s.io', kind: 'User', name: 'ann' }],
    }),
  );
}

async function ask(path: string): Promise<{ readonly status: number; readonly body: unknown }> {
  const ann = world.clientOf({ username: 'ann', groups: ['system:authenticated'] });
  return ann.raw({ method: 'GET', path: `/apis/quota.openshift.io/v1/${path}` });
}

describe('quotas of several namespaces', () => {
  it('are shown to who may look into one of them, without what the others take', async () => {
    await start();
    const one = await ask('namespaces/a/appliedclusterresourcequotas/red');
    expect(one.body).toMatchObject({ kind: 'AppliedClusterResourceQuota', metadata: { name: 'red', namespace: 'a' } });
    const { body } = await ask('namespaces/a/appliedclusterresourcequotas');
    const status = { total: { used: { pods: '2' } }, namespaces: [{ namespace: 'a' }] };
    expect(body).toMatchObject({ kind: 'AppliedClusterResourceQuotaList', items: [{ metadata: { name: 'red' }, status }] });
    expect(JSON.stringify(body)).not.toContain('"b"');
  });

  it('are hidden from who may not, and where they do not apply', async () => {
    await start();
    expect((await ask('namespaces/b/appliedclusterresourcequotas')).status).toBe(403);
    expect((await ask('clusterresourcequotas')).status).toBe(403);
    expect((await ask('namespaces/a/appliedclusterresourcequotas/blue')).status).toBe(404);
  });
});
