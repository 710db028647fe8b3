import { ClusterRoleKind } from '@slipway/api';
import { built, type TestWorld, testWorld } from '@slipway/testkit';
import { afterEach, describe, expect, it } from 'vitest';
import { clusterRoleAggregationController } from './index.ts';

let world: TestWorld;
afterEach(() => world.close());

const rule = (resource: string) => ({ apiGroups: ['x.example.com'], resources: [resource], verbs: ['get'] });
const part = (name: string, resource: string) =>
  built(ClusterRoleKind, name, { metadata: { name, labels: { collect: 'yes' } }, rules: [rule(resource)] });
const rulesOf = async (name: string) => (await world.get(ClusterRoleKind, name)).rules?.map(({ resources }) => resources?.join());

describe('role aggregation', () => {
  it('collects the rules of selected roles as these come, change and go', async () => {
    world = await testWorld({ api: 'server', controllers: [clusterRoleAggregationController] }).with(
      built(ClusterRoleKind, 'all', {
        rules: [],
        aggregationRule: { clusterRoleSelectors: [{ matchLabels: { collect: 'yes' } }] },
      }),
      part('b', 'things'),
    );
    await world.settle();
    expect(await rulesOf('all')).toEqual(['things']);
    await world.with(part('a', 'others'), part('c', 'things'));
    await world.settle();
    expect(await rulesOf('all')).toEqual(['others', 'things']);
    await world.client.delete(ClusterRoleKind, { namespace: '', name: 'a' });
    await world.settle();
    expect(await rulesOf('all')).toEqual(['things']);
  });

  it('finds the rules of the roles that every cluster has as they are', async () => {
    world = testWorld({ api: 'server', controllers: [clusterRoleAggregationController] });
    await world.settle();
    expect((await rulesOf('view'))?.length).toBeGreaterThan(5);
    expect(await rulesOf('admin')).not.toEqual([]);
  });
});
