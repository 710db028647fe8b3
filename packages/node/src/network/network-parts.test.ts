import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { AddressPool } from './address-pool.ts';
import { parseCidr } from './cidr.ts';
import { bridgeNetworkOf, parseNetworkConfig } from './cni-config.ts';
import { hostNames } from './host-names.ts';
import { resolverOf } from './host-resolver.ts';
import { planNodeNetwork } from './plan-node-network.ts';

describe('parseCidr', () => {
  it.each([
    ['10.0.2.0/24', 2, '10.0.2.2'],
    ['10.255.255.254/8', 1, '10.0.0.1'],
    ['fd10:0:2::/120', 2, 'fd10:0:2::2'],
    ['fd10:244::/64', 0x10000, 'fd10:244::1:0'],
    ['::/0', 1, '::1'],
  ])('%s plus %i is %s', (text, offset, address) => {
    expect(parseCidr(text).addressAt(offset)).toBe(address);
  });

  it.each(['10.0.2.0', '10.0.2.0/33', 'fd::/129', 'x/8', '10.0.0.0/'])('refuses %s', (text) => {
    expect(() => parseCidr(text)).toThrow('is not a network');
  });
});

describe('AddressPool', () => {
  it('gives an owner its address back, over restarts, and takes the idlest when exhausted', async () => {
    const directory = await mkdtemp(join(tmpdir(), 'slipway-pool-'));
    const path = join(directory, 'addresses.json');
    const cidrs = { v4: '10.1.0.0/29', v6: 'fd01::/64' };
    try {
      const pool = await AddressPool.open(path, cidrs);
      const taken = await Promise.all(['a', 'b', 'c', 'd', 'e'].map((owner) => pool.acquire(owner, `pod-${owner}`)));
      expect(taken.map(({ v4 }) => v4)).toEqual(['10.1.0.2', '10.1.0.3', '10.1.0.4', '10.1.0.5', '10.1.0.6']);
      await expect(pool.acquire('f', 'pod-f')).rejects.toThrow('All 5 pod addresses');
      pool.release('pod-b');
      const reopened = await AddressPool.open(path, cidrs);
      for (const owner of ['a', 'c', 'd', 'e']) reopened.reserve(owner, `pod-${owner}`);
      expect((await reopened.acquire('a', 'pod-a2')).v4).toBe('10.1.0.2');
      expect(await reopened.acquire('f', 'pod-f')).toEqual({ v4: '10.1.0.3', v6: 'fd01::3' });
    } finally {
      await rm(directory, { recursive: true });
    }
  });
});

describe('resolverOf', () => {
  it('passes over files with nothing but loopback resolvers', () => {
    const stub = 'nameserver 127.0.0.53\nsearch lan\n';
    expect(resolverOf([stub, 'nameserver 192.0.2.1\nnameserver fe80::1\n'], [])).toEqual({
      nameservers: ['192.0.2.1'],
      searches: ['lan'],
    });
    expect(resolverOf([stub], [])).toEqual({ nameservers: [], searches: ['lan'] });
  });
});

describe('CNI configurations', () => {
  const network = (config: object): unknown => bridgeNetworkOf(parseNetworkConfig(JSON.stringify({ name: 'n', ...config })));

  it.each([
    [{ type: 'bridge', bridge: 'br1', ipam: {} }, { bridge: 'br1' }],
    [
      { type: 'bridge', bridge: 'br1', vlan: 2003 },
      { bridge: 'br1', vlan: 2003 },
    ],
    [{ plugins: [{ type: 'bridge', bridge: 'br2' }] }, { bridge: 'br2' }],
  ])('%j needs no plugin', (config, expected) => {
    expect(network(config)).toMatchObject(expected);
  });

  it.each([
    [{ type: 'macvlan' }],
    [{ type: 'bridge', ipam: { type: 'host-local' } }],
    [{ type: 'bridge', isGateway: true }],
    [{ plugins: [{ type: 'bridge' }, { type: 'tuning' }] }],
  ])('%j runs the plugin', (config) => {
    expect(network(config)).toBeUndefined();
  });

  it.each(['{', '[]', '{"type":"../../bin/sh"}', '{"plugins":[]}', '{"type":"bridge","bridge":"a b; x"}'])(
    'refuses %s',
    (text) => {
      expect(() => bridgeNetworkOf(parseNetworkConfig(text))).toThrow(
        /The (network configuration|bridge name of the network configuration) /,
      );
    },
  );
});

describe('planNodeNetwork', () => {
  it('makes the bridge once and replaces only its own table', () => {
    const inputs = {
      names: hostNames('abc123'),
      podCidrV4: '10.244.0.0/24',
      podCidrV6: 'fd10:244::/64',
      serviceNetworks: ['10.0.0.0/16'],
      mtu: 1500,
      autoconfiguredLinks: ['eth0'],
      isHidden: false,
    };
    expect(planNodeNetwork({ ...inputs, bridgeExists: false })).toMatchSnapshot();
    expect(planNodeNetwork({ ...inputs, bridgeExists: true }).ip.some((line) => line.startsWith('link add'))).toBe(false);
  });

  it('keeps link names within 15 characters', () => {
    const names = hostNames('abc123');
    expect(names.veth('0b0a2c9e-1111', 'eth0')).toHaveLength(15);
    expect(names.veth('0b0a2c9e-1111', 'eth0').startsWith(names.vethPrefix('0b0a2c9e-1111'))).toBe(true);
  });
});
