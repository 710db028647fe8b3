import type { Node } from '@slipway/api';
import { describe, expect, it } from 'vitest';
import {
  addressAtNode,
  annotationsOf,
  broughtAddress,
  isHeardOf,
  nextTurn,
  type Peer,
  PeerAnnotation,
  peerOf,
  peerRoutes,
  routeLines,
  visitorsOf,
} from './plan-peers.ts';

const peer = (number: number, more: Partial<Peer> = {}): Peer => ({
  name: `n${number}`,
  podCidrs: [`10.244.${number}.0/24`, `fd10:244:${number}::/64`],
  link: [`10.245.0.1${number}`, `fd10:245::1${number}`],
  leases: {},
  visitors: [],
  turns: {},
  isReady: true,
  ...more,
});
const nodeWith = (annotations: Record<string, string>): Node => ({
  apiVersion: 'v1',
  kind: 'Node',
  metadata: { name: 'n2', annotations },
  spec: { podCIDRs: ['10.244.2.0/24'] },
  status: { conditions: [{ type: 'Ready', status: 'True' }] },
});

describe('peerOf', () => {
  it('reads what annotationsOf writes', () => {
    const link = { device: 'eth0', addressV4: '10.245.0.12', addressV6: 'fd10:245::12', networks: [] };
    const annotations = annotationsOf(link, { 'vm-b': 7, 'vm-a': 3 }, [
      { address: '10.244.9.4', turn: 0 },
      { address: '10.244.1.2', turn: 2 },
    ]);
    expect(peerOf(nodeWith(annotations))).toEqual({
      name: 'n2',
      podCidrs: ['10.244.2.0/24'],
      link: ['10.245.0.12', 'fd10:245::12'],
      leases: { 'vm-a': 3, 'vm-b': 7 },
      visitors: ['10.244.1.2', '10.244.9.4'],
      turns: { '10.244.1.2': 2 },
      isReady: true,
    });
  });

  it.each(['', 'no JSON', '[1]', 'null', '{"vm":"7"}', '{"vm":1}', '{"vm":2.5}'])('takes %j for no lease', (text) => {
    expect(peerOf(nodeWith({ [PeerAnnotation.leases]: text })).leases).toEqual({});
  });
});

describe('peerRoutes', () => {
  it('leads to the pods of the others, and to addresses that have moved, of this node too', () => {
    const peers = [peer(1), peer(2, { visitors: ['10.244.1.5', 'fd10:244:1::5', '10.244.3.9'] }), peer(3)];
    expect(peerRoutes('n1', peers).map(({ destination, via }) => `${destination} ${via}`)).toEqual([
      '10.244.2.0/24 10.245.0.12',
      'fd10:244:2::/64 fd10:245::12',
      '10.244.1.5 10.245.0.12',
      'fd10:244:1::5 fd10:245::12',
      '10.244.3.9 10.245.0.12',
      '10.244.3.0/24 10.245.0.13',
      'fd10:244:3::/64 fd10:245::13',
    ]);
  });

  it.each([
    ['first', [peer(2, { isReady: false, visitors: ['10.244.1.5'] }), peer(3, { visitors: ['10.244.1.5'] })]],
    ['last', [peer(3, { visitors: ['10.244.1.5'] }), peer(2, { isReady: false, visitors: ['10.244.1.5'] })]],
  ])('believes the node that is heard, with the lost one %s', (_, peers) => {
    expect(peerRoutes('n1', peers).find(({ destination }) => destination === '10.244.1.5')?.via).toBe('10.245.0.13');
  });

  it('believes the later one of two that are heard', () => {
    const at = (turn: number) => ({ visitors: ['10.244.1.5'], turns: { '10.244.1.5': turn } });
    for (const peers of [
      [peer(2, at(1)), peer(3, at(2))],
      [peer(3, at(2)), peer(2, at(1))],
    ])
      expect(peerRoutes('n1', peers).find(({ destination }) => destination === '10.244.1.5')?.via).toBe('10.245.0.13');
  });

  it('leaves out what is no address: it goes into commands', () => {
    const strange = peer(2, { podCidrs: ['10.244.2.0/24 dev eth0'], visitors: ['-force', '10.244.1.5\nlink del eth0'] });
    expect(peerRoutes('n1', [strange])).toEqual([]);
    expect(peerRoutes('n1', [peer(2, { link: ['10.245.0.12 onlink'] })]).filter(({ via }) => via.includes(' '))).toEqual([]);
    expect(peerRoutes('n1', [peer(2, { link: [] })])).toEqual([]);
  });
});

describe('broughtAddress', () => {
  const home = peer(2, { leases: { vm: 5 } });
  const address = { v4: '10.244.2.5', v6: 'fd10:244:2::5' };
  it.each([
    ['one that another node gave', 'n1', false, [peer(1), home], address],
    ['none that this node gave itself', 'n2', true, [peer(1), home], undefined],
    ['none for a VM that was nowhere', 'n1', false, [peer(1), peer(2)], undefined],
    ['its own when it comes first by name', 'n1', true, [peer(1, { leases: { vm: 9 } }), home], undefined],
    ['that of the first by name', 'n3', true, [peer(3, { leases: { vm: 9 } }), home], address],
    ['none of a node without networks', 'n1', false, [peer(2, { leases: { vm: 5 }, podCidrs: [] })], undefined],
  ])('%s', (_, name, hasLease, peers, expected) => {
    expect(broughtAddress('vm', { name, hasLease }, peers)).toEqual(expected);
  });
});

describe('addressAtNode', () => {
  const own = { v4: '10.244.1.9', v6: 'fd10:244:1::9' };
  const brought = { v4: '10.244.2.5', v6: 'fd10:244:2::5' };
  const guest = peer(1, { leases: { vm: 9 } });
  it.each([
    ['the one that the node gave', [guest, peer(2)], own],
    ['the one that it gave, whatever others once did', [guest, peer(2, { leases: { vm: 5 } })], own],
    ['the one that was brought', [peer(1, { visitors: ['10.244.2.5'] }), peer(2, { leases: { vm: 5 } })], brought],
    [
      'the one that was brought, whatever it once gave',
      [{ ...guest, visitors: ['10.244.2.5'] }, peer(2, { leases: { vm: 5 } })],
      brought,
    ],
    ['none that nobody gave', [peer(1), peer(2)], undefined],
    ['none of a node that is not there', [peer(2, { leases: { vm: 5 } })], undefined],
  ])('is %s', (_, peers, expected) => {
    expect(addressAtNode('vm', 'n1', peers)).toEqual(expected);
  });
});

describe('visitorsOf', () => {
  const here = [
    { address: '10.244.1.5', turn: 1 },
    { address: '10.244.2.5', turn: 0 },
  ];
  const networks = ['10.244.1.0/24', 'fd10:244:1::/64'];
  it('names strange addresses, and its own as long as another node names them too', () => {
    expect(visitorsOf('n1', networks, here, [peer(1), peer(2)])).toEqual([here[1]]);
    expect(visitorsOf('n1', networks, here, [peer(2, { visitors: ['10.244.1.5'], isReady: false })])).toEqual(here);
    expect(visitorsOf('n1', networks, here, [peer(1, { visitors: ['10.244.1.5'] })])).toEqual([here[1]]);
  });

  it('has the next turn of an address that others name', () => {
    expect(nextTurn('10.244.1.5', [peer(2)])).toBe(0);
    expect(nextTurn('10.244.1.5', [peer(2, { visitors: ['10.244.1.5'] })])).toBe(1);
    expect(nextTurn('10.244.1.5', [peer(2, { visitors: ['10.244.1.5'], turns: { '10.244.1.5': 4 } })])).toBe(5);
  });
});

describe('isHeardOf', () => {
  const entry = { via: '10.245.0.12', turn: 1 };
  it.each([
    ['not while nobody names it', '10.244.1.5', [peer(1), peer(2), peer(3)], false],
    ['when the target names it', '10.244.1.5', [peer(2, { visitors: ['10.244.1.5'] })], true],
    ['when it has moved on from there', '10.244.1.5', [peer(3, { visitors: ['10.244.1.5'], turns: { '10.244.1.5': 3 } })], true],
    [
      'not by a word from before',
      '10.244.1.5',
      [peer(2), peer(3, { visitors: ['10.244.1.5'], turns: { '10.244.1.5': 1 } })],
      false,
    ],
    ['at once when it went home', '10.244.2.5', [peer(1), peer(2)], true],
  ])('%s', (_, address, peers, expected) => {
    expect(isHeardOf(address, entry, 'n1', peers)).toBe(expected);
  });
});

describe('routeLines', () => {
  const route = (destination: string, via: string) => ({ destination, via });
  it.each([
    [
      'adds what is missing',
      [route('10.1.0.0/24', '10.9.0.2')],
      [],
      ['route replace 10.1.0.0/24 via 10.9.0.2 dev eth0 proto 117 metric 4096'],
    ],
    [
      'removes what nobody wants',
      [],
      [route('10.1.0.5', '10.9.0.2')],
      ['route del 10.1.0.5 via 10.9.0.2 dev eth0 proto 117 metric 4096'],
    ],
    [
      'turns what has moved',
      [route('10.1.0.5', '10.9.0.3')],
      [route('10.1.0.5', '10.9.0.2')],
      ['route replace 10.1.0.5 via 10.9.0.3 dev eth0 proto 117 metric 4096'],
    ],
    ['leaves alone what is right', [route('10.1.0.5', '10.9.0.3')], [route('10.1.0.5', '10.9.0.3')], []],
  ])('%s', (_, wanted, present, lines) => {
    expect(routeLines(wanted, present, 'eth0')).toEqual(lines);
  });
});
