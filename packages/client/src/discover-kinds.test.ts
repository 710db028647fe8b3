import { describe, expect, it } from 'vitest';
import type { Client } from './client.ts';
import { discoverKinds } from './discover-kinds.ts';

const list = (groupVersion: string, ...names: string[]): object => ({
  groupVersion,
  resources: names.map((name) => ({ name, kind: name, namespaced: true, verbs: ['list'] })),
});
const group = (name: string, preferred: string, ...others: string[]): object => ({
  name,
  preferredVersion: { groupVersion: `${name}/${preferred}` },
  versions: [...others, preferred].map((version) => ({ groupVersion: `${name}/${version}` })),
});
const DOCUMENTS: Readonly<Record<string, object>> = {
  '/apis': { groups: [group('apps', 'v1'), group('operators', 'v2', 'v1', 'v1alpha1')] },
  '/api/v1': list('v1', 'pods', 'pods/log'),
  '/apis/apps/v1': list('apps/v1', 'deployments'),
  '/apis/operators/v2': list('operators/v2', 'conditions'),
  '/apis/operators/v1': list('operators/v1', 'conditions', 'groups'),
  '/apis/operators/v1alpha1': list('operators/v1alpha1', 'groups', 'subscriptions'),
};

describe('kinds that a server offers', () => {
  it('are there once, in the preferred version or else in one that has them', async () => {
    const client = { raw: async ({ path }: { path: string }) => ({ body: DOCUMENTS[path] }) } as unknown as Client; // asks nothing else
    const kinds = await discoverKinds(client);
    expect(kinds.map(({ group: name, version, plural }) => `${plural} ${name}/${version}`).sort()).toEqual(
      [
        'pods /v1',
        'deployments apps/v1',
        'conditions operators/v2',
        'groups operators/v1',
        'subscriptions operators/v1alpha1',
      ].sort(),
    );
  });
});
