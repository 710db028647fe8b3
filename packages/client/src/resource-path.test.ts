import { describe, expect, it } from 'vitest';
import { collectionPath, deleteBody, patchQuery, resourcePath, watchQuery } from './resource-path.ts';

const pods = { group: '', version: 'v1', plural: 'pods', namespaced: true };
const nodes = { group: '', version: 'v1', plural: 'nodes', namespaced: false };
const vms = { group: 'kubevirt.io', version: 'v1', plural: 'virtualmachines', namespaced: true };

describe('resourcePath', () => {
  it.each([
    [pods, { namespace: 'a', name: 'web' }, undefined, '/api/v1/namespaces/a/pods/web'],
    [nodes, { namespace: '', name: 'n1' }, 'status', '/api/v1/nodes/n1/status'],
    [vms, { namespace: 'a', name: 'web' }, 'status', '/apis/kubevirt.io/v1/namespaces/a/virtualmachines/web/status'],
    [nodes, { namespace: '', name: 'a/b' }, undefined, '/api/v1/nodes/a%2Fb'],
  ] as const)('%j %j %s', (kind, key, subresource, expected) => {
    expect(resourcePath(kind, key, subresource)).toBe(expected);
  });

  it('refuses a namespaced object without namespace, and an empty name', () => {
    expect(() => resourcePath(pods, { namespace: '', name: 'web' })).toThrow('needs a namespace');
    expect(() => resourcePath(pods, { namespace: 'a', name: '' })).toThrow('needs a name');
  });

  it('lists all namespaces when none is given', () => {
    expect(collectionPath(pods)).toBe('/api/v1/pods');
    expect(collectionPath(pods, 'a')).toBe('/api/v1/namespaces/a/pods');
  });
});

describe('queries', () => {
  it('asks for a watch with bookmarks', () => {
    expect(watchQuery({ allowWatchBookmarks: true, resourceVersion: '5' })).toMatchObject({
      watch: 'true',
      allowWatchBookmarks: 'true',
      resourceVersion: '5',
    });
  });

  it('sends force only when it was said', () => {
    expect(patchQuery({ type: 'apply', fieldManager: 'me' })['force']).toBeUndefined();
    expect(patchQuery({ type: 'apply', fieldManager: 'me', force: true })['force']).toBe('true');
  });

  it('has no delete body without options', () => {
    expect(deleteBody()).toBeUndefined();
    expect(deleteBody({ dryRun: true, gracePeriodSeconds: 0 })).toEqual({
      kind: 'DeleteOptions',
      apiVersion: 'v1',
      dryRun: ['All'],
      gracePeriodSeconds: 0,
    });
  });
});
