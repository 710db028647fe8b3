import type { ClusterResourceQuota } from '@slipway/api';
import { parseQuantity } from '@slipway/apimachinery';
import { describe, expect, it } from 'vitest';
import { chargedClusterStatus, selectsNamespace } from './cluster-quota.ts';

type Selector = NonNullable<ClusterResourceQuota['spec']>['selector'];
const quota = (selector: Selector, status: ClusterResourceQuota['status'] = {}): ClusterResourceQuota => ({
  apiVersion: 'quota.openshift.io/v1',
  kind: 'ClusterResourceQuota',
  metadata: { name: 'q' },
  spec: { ...(selector && { selector }), quota: { hard: { pods: '5' } } },
  status,
});
const namespace = {
  apiVersion: 'v1',
  kind: 'Namespace',
  metadata: { name: 'a', labels: { team: 'red' }, annotations: { 'openshift.io/requester': 'ann' } },
};
const labels = (team: string) => ({ matchLabels: { team } });
const annotations = (user: string) => ({ 'openshift.io/requester': user });

describe('a quota of several namespaces selects one', () => {
  it.each<[string, boolean, Selector]>([
    ['by label', true, { labels: labels('red') }],
    ['by another label', false, { labels: labels('blue') }],
    ['by annotation', true, { annotations: annotations('ann') }],
    ['by another annotation', false, { annotations: annotations('bob') }],
    ['by an annotation that it lacks', false, { annotations: { other: '' } }],
    ['by both', true, { labels: labels('red'), annotations: annotations('ann') }],
    ['by both, where one does not fit', false, { labels: labels('red'), annotations: annotations('bob') }],
    ['by an empty label selector', true, { labels: {} }],
    ['by null and an annotation', true, { labels: null, annotations: annotations('ann') }],
    ['by nothing', false, { labels: null, annotations: null }],
    ['by no selector', false, undefined],
  ])('%s: %s', (_, expected, selector) => expect(selectsNamespace(quota(selector), namespace)).toBe(expected));
});

describe('a charge', () => {
  const total = { hard: { pods: '5', 'requests.memory': '4Gi' }, used: { pods: '1', 'requests.memory': '1Gi' } };
  const used = { pods: '2', 'requests.memory': '1536Mi' };
  const charge = new Map([
    ['pods', parseQuantity('1')],
    ['requests.memory', parseQuantity('512Mi')],
    ['cpu', parseQuantity('1')],
  ]);
  const b = { namespace: 'b', status: { hard: total.hard, used: { pods: '1', 'requests.memory': '1Gi' } } };

  it('of a namespace that has nothing yet makes its entry', () =>
    expect(chargedClusterStatus(quota({}, { total, namespaces: [b] }), 'a', used, charge)).toEqual({
      total: { hard: total.hard, used },
      namespaces: [{ namespace: 'a', status: { hard: total.hard, used: { pods: '1', 'requests.memory': '512Mi' } } }, b],
    }));

  it('of one that has adds up', () =>
    expect(chargedClusterStatus(quota({}, { total, namespaces: [b] }), 'b', used, charge).namespaces).toEqual([
      { namespace: 'b', status: { hard: total.hard, used: { pods: '2', 'requests.memory': '1536Mi' } } },
    ]));

  it('before anything was counted is an entry too', () =>
    expect(chargedClusterStatus(quota({}, { total, namespaces: null }), 'a', used, charge).namespaces).toHaveLength(1));
});
