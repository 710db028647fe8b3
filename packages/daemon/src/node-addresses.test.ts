import type { NetworkInterfaceInfo } from 'node:os';
import { describe, expect, it } from 'vitest';
import { defaultLinks, nodeAddresses } from './node-addresses.ts';

const v4 = (address: string, internal = false): NetworkInterfaceInfo => ({
  ...{ address, internal, family: 'IPv4', netmask: '', mac: '', cidr: null },
});
const v6 = (address: string, scopeid = 0): NetworkInterfaceInfo => ({
  ...{ address, scopeid, internal: false, family: 'IPv6', netmask: '', mac: '', cidr: null },
});

const interfaces = {
  lo: [v4('127.0.0.1', true)],
  a1b2c3br: [v4('10.200.0.1'), v6('fd20::1')],
  eth0: [v6('2001:db8::5'), v6('fe80::1', 2), v4('192.0.2.5')],
  eth1: [v4('198.51.100.7')],
};

describe('addresses of a node', () => {
  it.each([
    ['those of the link with the default route', interfaces, ['eth0'], ['192.0.2.5', '2001:db8::5']],
    [
      'all but those of bridges of installations, without such a route',
      interfaces,
      [],
      ['192.0.2.5', '198.51.100.7', '2001:db8::5'],
    ],
    ['loopback, when there is no other', { lo: interfaces.lo, a1b2c3br: interfaces.a1b2c3br }, [], ['127.0.0.1']],
    [
      'all, when the link with the route has none',
      { ...interfaces, tun0: [] },
      ['tun0'],
      ['192.0.2.5', '198.51.100.7', '2001:db8::5'],
    ],
  ])('are %s', (_what, given, links, expected) => {
    expect(nodeAddresses(given, links)).toEqual(expected);
  });

  it("come from the kernel's table of routes", () => {
    const table = 'Iface\tDestination\tGateway\neth0\t00000000\t0100000A\neth0\t0000000A\t00000000\na1b2c3br\t0000C80A\t0\n';
    expect(defaultLinks(table)).toEqual(['eth0']);
  });
});
