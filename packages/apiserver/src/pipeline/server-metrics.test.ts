import { memoryStoreFs, openStore } from '@slipway/store';
import { afterEach, describe, expect, it } from 'vitest';
import { Registry } from '../registry/registry.ts';
import { renderFamily } from './metric-text.ts';
import { RequestMetrics } from './request-metrics.ts';
import { type ServerMetrics, createServerMetrics } from './server-metrics.ts';

describe('server metrics', () => {
  let metrics: ServerMetrics | undefined;
  afterEach(() => metrics?.close());

  it('shows what the store holds and who watches it', async () => {
    const store = await openStore({ fs: memoryStoreFs(), now: Date.now });
    const registry = new Registry(store);
    const collection = registry.cache.collection({ group: 'apps', plural: 'deployments' });
    collection.subscribe(() => undefined);
    await store.transact([], [{ type: 'put', key: 'apps/deployments//default/a', value: '{}' }]);
    metrics = createServerMetrics({ registry, requests: new RequestMetrics(), flow: { families: () => [] } });
    const lines = (await metrics.render()).split('\n');
    expect(lines).toContain('slipway_store_revision 1');
    expect(lines).toContain('slipway_store_writes_total 1');
    expect(lines).toContain('apiserver_storage_objects{resource="deployments.apps"} 1');
    expect(lines).toContain('apiserver_registered_watchers{resource="deployments.apps"} 1');
    expect(lines.filter((line) => line.startsWith('# TYPE nodejs_eventloop_lag_max_seconds'))).toHaveLength(1);
  });

  it('escapes label values', () => {
    const family = { name: 'a', help: 'A.', type: 'gauge' as const, samples: [{ labels: { b: 'x"\\\n' }, value: 2 }] };
    expect(renderFamily(family)).toBe('# HELP a A.\n# TYPE a gauge\na{b="x\\"\\\\\\n"} 2\n');
  });
});
