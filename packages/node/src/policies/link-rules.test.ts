import { BlockList } from 'node:net';
import type { MultiNetworkPolicy, Pod } from '@slipway/api';
import { describe, expect, it } from 'vitest';
import { linkRules } from './link-rules.ts';
import type { Allowance } from './pod-rules.ts';

interface Nets {
  readonly [network: string]: readonly string[];
}

/** A pod with these addresses on these networks, in their order behind the links pod1, pod2 … */
const pod = (name: string, nets: Nets, more: { namespace?: string; nodeName?: string; phase?: string } = {}): Pod =>
  ({
    metadata: {
      ...{ name, namespace: more.namespace ?? 'a', uid: name, labels: { app: name } },
      annotations: {
        'k8s.v1.cni.cncf.io/network-status': JSON.stringify([
          { name: 'slipway', interface: 'eth0', ips: ['10.244.0.9'], default: true },
          ...Object.entries(nets).map(([network, ips], index) => ({ name: network, interface: `pod${index + 1}`, ips })),
        ]),
      },
    },
    spec: { nodeName: more.nodeName ?? 'here', containers: [{ name: 'main', ports: [{ name: 'web', containerPort: 8080 }] }] },
    status: { phase: more.phase ?? 'Running', podIPs: [{ ip: '10.244.0.9' }] },
  }) as unknown as Pod; // only these fields matter

const web = pod('web', { 'a/lab': ['10.9.0.1', 'fd09::1'], 'a/dmz': ['10.8.0.1'] });
const db = pod('db', { 'a/lab': ['10.9.0.2'], 'a/dmz': ['10.8.0.2'] }, { nodeName: 'there' });
const far = pod('far', { 'a/lab': ['10.9.0.3'], 'default/shared': ['10.7.0.3'] }, { namespace: 'b', nodeName: 'there' });
const ended = pod('db', { 'a/lab': ['10.9.0.4'] }, { phase: 'Succeeded' });
const PODS = [web, db, far, ended];
const LINKS = [
  { podUid: 'web', link: 'pod1', network: 'a/lab' },
  { podUid: 'web', link: 'pod2', network: 'a/dmz' },
];

const policy = (spec: object, networks: string | undefined = 'lab', namespace = 'a'): MultiNetworkPolicy =>
  ({
    metadata: {
      ...{ name: 'p', namespace },
      ...(networks !== undefined && { annotations: { 'k8s.v1.cni.cncf.io/policy-for': networks } }),
    },
    spec: { podSelector: {}, ...spec },
  }) as unknown as MultiNetworkPolicy; // as a cluster with a schema of its own may have it

const rulesOf = (policies: readonly MultiNetworkPolicy[], pods = PODS) =>
  linkRules({
    ...{ policies, pods, nodeName: 'here', links: LINKS },
    namespaces: new Map([
      ['a', { team: 'one' }],
      ['b', { team: 'two' }],
    ]),
  });

/** Reads a packet as `in pod1 10.9.0.2 tcp/80`: the link, the other side, protocol and destination port. */
function isLetThrough(policies: readonly MultiNetworkPolicy[], packet: string): boolean {
  const [, way, link, address = '', protocol, port] = /^(in|out) (\w+) (\S+) (\w+)\/(\d+)$/.exec(packet) ?? [];
  const rules = rulesOf(policies).find((entry) => entry.link === link);
  const allowances = way === 'in' ? rules?.ingress : rules?.egress;
  return allowances === undefined || allowances.some((one) => allows(one, { address, protocol, port: Number(port) }));
}

function allows({ peers, ports }: Allowance, to: { address: string; protocol: string | undefined; port: number }): boolean {
  const family = to.address.includes(':') ? 'ipv6' : 'ipv4';
  const isIn = (cidr: string): boolean => {
    const list = new BlockList();
    const [network = '', prefix] = cidr.split('/');
    list.addSubnet(network, Number(prefix), network.includes(':') ? 'ipv6' : 'ipv4');
    return list.check(to.address, family);
  };
  const isPeer =
    peers === undefined ||
    peers.addresses.includes(to.address) ||
    peers.blocks.some(({ cidr, except }) => isIn(cidr) && !except.some(isIn));
  const isPort = ({ protocol, first = 0, last = 65_535 }: NonNullable<typeof ports>[number]): boolean =>
    protocol === to.protocol && first <= to.port && to.port <= last;
  return isPeer && (ports === undefined || ports.some(isPort));
}

const from = (...peers: object[]) => ({ ingress: [{ from: peers }] });
const IN = 'in pod1 10.9.0.2 tcp/80';
const FAR = 'in pod1 10.9.0.3 tcp/80';
const lab = (cidr: string, ...except: string[]) => from({ ipBlock: { cidr, except } });

describe('linkRules', () => {
  it.each<[string, MultiNetworkPolicy[], string, boolean]>([
    ['everything passes without a policy', [], IN, true],
    ['nothing is received when no rule is there', [policy({ policyTypes: ['Ingress'] })], IN, false],
    ['what is sent is another matter', [policy({ policyTypes: ['Ingress'] })], 'out pod1 10.9.0.2 tcp/80', true],
    ['nothing is sent either', [policy({ policyTypes: ['Egress'] })], 'out pod1 10.9.0.2 udp/53', false],
    ['a policy without types is about what is received', [policy({})], IN, false],
    ['and about what is sent if it says something of that', [policy({ egress: [{}] })], 'out pod1 10.9.0.2 tcp/80', true],
    ['another network is not meant', [policy({}, 'lab')], 'in pod2 10.8.0.2 tcp/80', true],
    ['several networks, with blanks and namespaces', [policy({}, ' b/x , a/dmz,lab')], 'in pod2 10.8.0.2 tcp/80', false],
    ['a name alone is one of the own namespace', [policy({}, 'shared')], IN, true],
    ['without the annotation it is for no network', [policy({}, '')], IN, true],
    ['pods of other namespaces are not selected', [policy({}, 'a/lab', 'b')], IN, true],
    ['pods without the label are not selected', [policy({ podSelector: { matchLabels: { app: 'db' } } })], IN, true],
    ['a pod by its address there', [policy(from({ podSelector: { matchLabels: { app: 'db' } } }))], IN, true],
    ['but not by that of another network', [policy(from({ podSelector: {} }))], 'in pod1 10.8.0.2 tcp/80', false],
    ['unless the policy is for both', [policy(from({ podSelector: {} }), 'lab,dmz')], 'in pod1 10.8.0.2 tcp/80', true],
    ['nor by that of the pod network', [policy(from({ podSelector: {} }))], 'in pod1 10.244.0.9 tcp/80', false],
    ['nor one that has ended', [policy(from({ podSelector: {} }))], 'in pod1 10.9.0.4 tcp/80', false],
    ['a pod of another namespace is none of this one', [policy(from({ podSelector: {} }))], FAR, false],
    ['namespaces by labels', [policy(from({ namespaceSelector: { matchLabels: { team: 'two' } } }))], FAR, true],
    ['and no others', [policy(from({ namespaceSelector: { matchLabels: { team: 'two' } } }))], IN, false],
    ['both selectors', [policy(from({ namespaceSelector: {}, podSelector: { matchLabels: { app: 'far' } } }))], FAR, true],
    [
      'both selectors: either alone',
      [policy(from({ namespaceSelector: {}, podSelector: { matchLabels: { x: 'y' } } }))],
      FAR,
      false,
    ],
    ['an address of the other family', [policy(from({ podSelector: {} }))], 'in pod1 fd09::1 tcp/80', true],
    ['a block', [policy(lab('10.9.0.0/24'))], IN, true],
    ['but for a part of it', [policy(lab('10.9.0.0/24', '10.9.0.2/31'))], IN, false],
    ['a block of IPv6', [policy(lab('fd09::/64'))], 'in pod1 fd09::7 udp/9', true],
    ['one port', [policy({ ingress: [{ ports: [{ port: 80 }] }] })], IN, true],
    ['of one protocol', [policy({ ingress: [{ ports: [{ port: 80 }] }] })], 'in pod1 10.9.0.2 udp/80', false],
    ['a range of ports', [policy({ ingress: [{ ports: [{ port: 70, endPort: 90 }] }] })], IN, true],
    [
      'a port by the name that the pod gives it',
      [policy({ ingress: [{ ports: [{ port: 'web' }] }] })],
      'in pod1 10.9.0.2 tcp/8080',
      true,
    ],
    [
      'a named port of each destination',
      [policy({ egress: [{ ports: [{ port: 'web' }] }] })],
      'out pod1 10.9.0.2 tcp/8080',
      true,
    ],
    ['no other of theirs', [policy({ egress: [{ ports: [{ port: 'web' }] }] })], 'out pod1 10.9.0.2 tcp/80', false],
    ['policies add up', [policy({}), policy(lab('10.9.0.0/24'))], IN, true],
    ['no peer that is not understood', [policy(from({ other: {} }))], IN, false],
    ['no block that is none', [policy(lab('10.9.0.0/24 accept'))], IN, false],
    ['nor one that is too long', [policy(lab('10.9.0.0/33'))], IN, false],
    ['no block with an exception that is none', [policy(lab('10.9.0.0/24', 'all'))], IN, false],
    ['no port that is none', [policy({ ingress: [{ ports: [{ port: 0 }, { port: 80, protocol: 'tcp }' }] }] })], IN, false],
    ['no range that goes backwards', [policy({ ingress: [{ ports: [{ port: 80, endPort: 79 }] }] })], IN, false],
    ['what is left out does not change the types', [policy({ egress: [{ to: [{}] }] })], 'out pod1 10.9.0.2 tcp/80', false],
  ])('%s', (_, policies, packet, expected) => {
    expect(isLetThrough(policies, packet)).toBe(expected);
  });

  it('gives each link what its network may, and none to pods of other nodes', () => {
    const both = rulesOf([policy({}, 'lab,dmz')]);
    expect(both).toEqual([
      { podUid: 'web', link: 'pod1', ingress: [] },
      { podUid: 'web', link: 'pod2', ingress: [] },
    ]);
    expect(rulesOf([policy({})], [pod('web', {}, { nodeName: 'there' })])).toEqual([]);
  });

  it('leaves out what a pod says of itself when it is no address', () => {
    const liar = pod('db', { 'a/lab': ['10.9.0.2 } accept', 'fe80::1%eth0', '10.9.0.5'] });
    expect(rulesOf([policy(from({ podSelector: { matchLabels: { app: 'db' } } }))], [web, liar])[0]?.ingress).toEqual([
      { peers: { addresses: ['10.9.0.5'], blocks: [] } },
    ]);
  });
});
