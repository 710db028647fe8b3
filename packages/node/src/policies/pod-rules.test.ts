import type { NetworkPolicy, Pod } from '@slipway/api';
import { describe, expect, it } from 'vitest';
import { podRules } from './pod-rules.ts';

const pod = (
  name: string,
  ip: string,
  more: { namespace?: string; nodeName?: string; hostNetwork?: boolean; phase?: string } = {},
): Pod =>
  ({
    metadata: { name, namespace: more.namespace ?? 'a', uid: name, labels: { app: name } },
    spec: {
      nodeName: more.nodeName ?? 'here',
      ...(more.hostNetwork && { hostNetwork: true }),
      containers: [{ name: 'main', ports: [{ name: 'web', containerPort: 8080 }] }],
    },
    status: { phase: more.phase ?? 'Running', podIPs: [{ ip }] },
  }) as unknown as Pod; // only these fields matter

const web = pod('web', '10.1.0.1');
const db = pod('db', '10.1.0.2', { nodeName: 'there' });
const far = pod('far', '10.1.0.3', { namespace: 'b', nodeName: 'there' });
const rulesOf = (spec: object, pods: readonly Pod[] = [web, db, far]) =>
  podRules({
    policies: [{ metadata: { name: 'p', namespace: 'a' }, spec } as NetworkPolicy],
    pods,
    namespaces: new Map([
      ['a', { team: 'one' }],
      ['b', { team: 'two' }],
    ]),
    nodeName: 'here',
    nameServers: ['10.1.0.254'],
  });

const selected = { podSelector: { matchLabels: { app: 'web' } } };

describe('podRules', () => {
  it.each<[string, object, object]>([
    ['nothing is received when no rule is there', { ...selected, policyTypes: ['Ingress'] }, { ingress: [] }],
    ['a policy without types is about what is received', selected, { ingress: [] }],
    ['and about what is sent when it says something of that', { ...selected, egress: [{}] }, { ingress: [], egress: [{}] }],
    ['an empty rule allows everything', { ...selected, ingress: [{}] }, { ingress: [{}] }],
    [
      'pods of the own namespace',
      { ...selected, ingress: [{ from: [{ podSelector: {} }] }] },
      { ingress: [{ peers: { addresses: ['10.1.0.1', '10.1.0.2'], blocks: [] } }] },
    ],
    [
      'all pods of namespaces by their labels',
      { ...selected, ingress: [{ from: [{ namespaceSelector: { matchLabels: { team: 'two' } } }] }] },
      { ingress: [{ peers: { addresses: ['10.1.0.3'], blocks: [] } }] },
    ],
    [
      'pods that match in namespaces that match: both',
      { ...selected, ingress: [{ from: [{ namespaceSelector: {}, podSelector: { matchLabels: { app: 'db' } } }] }] },
      { ingress: [{ peers: { addresses: ['10.1.0.2'], blocks: [] } }] },
    ],
    [
      'nobody when the labels match nobody',
      { ...selected, ingress: [{ from: [{ podSelector: { matchLabels: { app: 'none' } } }] }] },
      { ingress: [{ peers: { addresses: [], blocks: [] } }] },
    ],
    [
      'a port by the name that the receiving pod gives it',
      { ...selected, ingress: [{ ports: [{ port: 'web' }, { protocol: 'UDP', port: 53 }, { port: 'other' }] }] },
      {
        ingress: [
          {
            ports: [
              { protocol: 'tcp', first: 8080, last: 8080 },
              { protocol: 'udp', first: 53, last: 53 },
            ],
          },
        ],
      },
    ],
    [
      'nothing when the pod has no port of that name',
      { ...selected, ingress: [{ ports: [{ port: 'other' }] }] },
      { ingress: [] },
    ],
    [
      'a port by name towards each destination that has one',
      {
        ...selected,
        policyTypes: ['Egress'],
        egress: [{ to: [{ podSelector: { matchLabels: { app: 'db' } } }], ports: [{ port: 'web' }] }],
      },
      { egress: [{ peers: { addresses: ['10.1.0.2'], blocks: [] }, ports: [{ protocol: 'tcp', first: 8080, last: 8080 }] }] },
    ],
    [
      'names of the node for who may ask pods for them',
      {
        ...selected,
        policyTypes: ['Egress'],
        egress: [{ to: [{ namespaceSelector: {}, ...selected }], ports: [{ port: 53, protocol: 'UDP' }] }],
      },
      {
        egress: [
          { peers: { addresses: ['10.1.0.1', '10.1.0.254'], blocks: [] }, ports: [{ protocol: 'udp', first: 53, last: 53 }] },
        ],
      },
    ],
  ])('%s', (_, spec, expected) => {
    expect(rulesOf(spec)).toEqual([{ uid: 'web', addresses: ['10.1.0.1'], ...expected }]);
  });

  it.each<[string, Pod]>([
    ['of another node', pod('web', '10.1.0.1', { nodeName: 'there' })],
    ['of another namespace', pod('web', '10.1.0.1', { namespace: 'b' })],
    ['with the network of the host', pod('web', '192.0.2.1', { hostNetwork: true })],
    ['that has ended', pod('web', '10.1.0.1', { phase: 'Succeeded' })],
  ])('has no rules for a pod %s', (_, other) => {
    expect(rulesOf(selected, [other])).toEqual([]);
  });
});
