// How Argo CD keeps its cache of a cluster: pages, watches that go on from them, a fresh start when history is gone.
import { type ConfigMap, ConfigMapKind } from '@slipway/api';
import type { WatchEvent } from '@slipway/apimachinery';
import type { WatchOptions } from '@slipway/client';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type Cluster, startCluster } from '../src/cluster.ts';
import {
  DEPLOYMENTS,
  type Json,
  NAMESPACE,
  type Requester,
  VMS,
  deployment,
  itemsOf,
  metadataOf,
  namesOf,
  requesterOf,
  vm,
} from '../src/requests.ts';

let cluster: Cluster;
let requester: Requester;
const send: Requester['send'] = (...request) => requester.send(...request);

beforeAll(async () => {
  cluster = await startCluster();
  requester = requesterOf(cluster);
}, 60_000);
afterAll(async () => {
  await requester.close();
  await cluster.close();
  expect(cluster.failures).toEqual([]);
});

const MAPS = `${NAMESPACE}/configmaps`;
const configMap = (name: string, labels: Json): Json => ({
  ...{ apiVersion: 'v1', kind: 'ConfigMap' },
  metadata: { name, labels },
});

/** The events of a watch up to the first that is wanted. */
async function eventsUntil(options: WatchOptions, isWanted: (event: WatchEvent<ConfigMap>) => boolean) {
  const stop = new AbortController();
  const events: WatchEvent<ConfigMap>[] = [];
  const signal = AbortSignal.any([stop.signal, AbortSignal.timeout(60_000)]);
  for await (const event of requester.client.watch(ConfigMapKind, { namespace: 'default', signal, ...options })) {
    events.push(event);
    if (isWanted(event)) break;
  }
  stop.abort();
  return events;
}

describe('the cache of Argo CD', () => {
  it('is filled page by page, all of one moment, and goes on from there by a watch', async () => {
    const labelSelector = 'set=paged';
    for (const name of ['a', 'b', 'c', 'd', 'e'])
      await send('POST', MAPS, 201, { body: configMap(`page-${name}`, { set: 'paged' }) });
    const first = await send('GET', MAPS, 200, { query: { limit: '2', labelSelector } });
    expect(namesOf(first)).toEqual(['page-a', 'page-b']);
    const version = metadataOf(first)['resourceVersion'] as string; // of a list
    // what happens between two pages is in none of them
    await send('POST', MAPS, 201, { body: configMap('page-f', { set: 'paged' }) });
    await send('DELETE', `${MAPS}/page-c`, 200);
    const names = [...namesOf(first)];
    for (let token = metadataOf(first)['continue']; typeof token === 'string' && token !== ''; ) {
      const page = await send('GET', MAPS, 200, { query: { limit: '2', labelSelector, continue: token } });
      expect(metadataOf(page)['resourceVersion']).toBe(version);
      names.push(...namesOf(page));
      token = metadataOf(page)['continue'];
    }
    expect(names).toEqual(['page-a', 'page-b', 'page-c', 'page-d', 'page-e']);
    const options = { resourceVersion: version, labelSelector, allowWatchBookmarks: true };
    const events = await eventsUntil(options, ({ type }) => type === 'DELETED');
    expect(events.map(({ type, object }) => [type, (object as ConfigMap).metadata.name])).toEqual([
      ['ADDED', 'page-f'],
      ['DELETED', 'page-c'],
    ]);
  }, 90_000);

  it('learns by a bookmark how far it is before its watch ends', async () => {
    const made = await send('POST', MAPS, 201, { body: configMap('elsewhere', { set: 'other' }) });
    const from = String(metadataOf(await send('GET', MAPS, 200, { query: { labelSelector: 'set=none' } }))['resourceVersion']);
    const options = { resourceVersion: from, labelSelector: 'set=none', allowWatchBookmarks: true, timeoutSeconds: 1 };
    const events = await eventsUntil(options, () => false);
    expect(events.length).toBeGreaterThan(0);
    expect(new Set(events.map(({ type }) => type))).toEqual(new Set(['BOOKMARK']));
    const last = (events.at(-1)?.object as ConfigMap | undefined)?.metadata.resourceVersion;
    expect(Number(last)).toBeGreaterThanOrEqual(Number(metadataOf(made)['resourceVersion']));
    await send('GET', MAPS, 200, { query: { resourceVersion: String(last), resourceVersionMatch: 'NotOlderThan' } });
  }, 90_000);

  it('is filled anew when the history that it knows is gone', async () => {
    await send('POST', MAPS, 201, { body: configMap('relisted', { set: 'relisted' }) });
    const labelSelector = 'set=relisted';
    const [gone, ...rest] = await eventsUntil({ resourceVersion: '1', labelSelector }, () => false).catch(
      (error: { status?: unknown }) => [{ type: 'ERROR' as const, object: error.status }],
    );
    expect(gone).toMatchObject({ type: 'ERROR', object: { kind: 'Status', code: 410, reason: 'Expired' } });
    expect(rest).toEqual([]);
    const list = await send('GET', MAPS, 200, { query: { limit: '500', resourceVersion: '0', labelSelector } });
    expect(namesOf(list)).toEqual(['relisted']);
    await send('DELETE', `${MAPS}/relisted`, 200);
    const resourceVersion = String(metadataOf(list)['resourceVersion']);
    const [event] = await eventsUntil({ resourceVersion, labelSelector }, () => true);
    expect(event).toMatchObject({ type: 'DELETED', object: { metadata: { name: 'relisted' } } });
  }, 90_000);
});

describe('Argo CD', () => {
  it('looks for orphans by the metadata alone', async () => {
    const tracked = { 'argocd.argoproj.io/tracking-id': 'shop:kubevirt.io/VirtualMachine:default/tracked' };
    await send('POST', VMS, 201, { body: vm('tracked', { annotations: tracked, labels: { set: 'orphans' } }) });
    await send('POST', VMS, 201, { body: vm('orphan', { labels: { set: 'orphans' } }) });
    const as = (kind: string) => ({ accept: `application/json;as=${kind};g=meta.k8s.io;v=v1,application/json` });
    const list = await send('GET', VMS, 200, {
      query: { labelSelector: 'set=orphans' },
      headers: as('PartialObjectMetadataList'),
    });
    expect(list).toMatchObject({ kind: 'PartialObjectMetadataList', apiVersion: 'meta.k8s.io/v1' });
    const orphans = itemsOf(list).filter((item) => metadataOf(item)['annotations'] === undefined);
    expect(orphans.map((item) => metadataOf(item)['name'])).toEqual(['orphan']);
    for (const item of itemsOf(list)) expect([item['spec'], item['status']]).toEqual([undefined, undefined]);
    const one = await send('GET', `${VMS}/orphan`, 200, { headers: as('PartialObjectMetadata') });
    expect(one).toMatchObject({ kind: 'PartialObjectMetadata', metadata: { name: 'orphan', uid: expect.any(String) } });
    expect(one['spec']).toBeUndefined();
  });

  it('replaces by the version that it read, and refuses to overwrite a newer one', async () => {
    await send('POST', DEPLOYMENTS, 201, { body: deployment('replaced', 'one') });
    const live = await send('GET', `${DEPLOYMENTS}/replaced`, 200);
    const { resourceVersion, uid } = metadataOf(live);
    const body = deployment('replaced', 'two', { resourceVersion });
    const put = await send('PUT', `${DEPLOYMENTS}/replaced`, 200, { body, query: { fieldManager: 'argocd-controller' } });
    expect(metadataOf(put)).toMatchObject({ uid, generation: 2 });
    const stale = await send('PUT', `${DEPLOYMENTS}/replaced`, 409, { body });
    expect(stale['reason']).toBe('Conflict');
  });

  it('replaces by force what cannot be changed', async () => {
    const old = await send('POST', DEPLOYMENTS, 201, { body: deployment('forced', 'one') });
    const wanted = deployment('forced', 'one');
    const spec = {
      ...(wanted['spec'] as Json),
      selector: { matchLabels: { app: 'renamed' } },
      template: { metadata: { labels: { app: 'renamed' } }, spec: { containers: [{ name: 'main', image: 'one' }] } },
    };
    const refused = await send('PUT', `${DEPLOYMENTS}/forced`, 422, { body: { ...wanted, spec } });
    expect(refused['details']).toMatchObject({ causes: [expect.objectContaining({ field: 'spec.selector' })] });
    const options = { kind: 'DeleteOptions', apiVersion: 'v1', gracePeriodSeconds: 0, propagationPolicy: 'Background' };
    await send('DELETE', `${DEPLOYMENTS}/forced`, 200, { body: options });
    await send('GET', `${DEPLOYMENTS}/forced`, 404);
    const made = await send('POST', DEPLOYMENTS, 201, { body: { ...wanted, spec } });
    expect(metadataOf(made)['uid']).not.toBe(metadataOf(old)['uid']);
  });
});
