import { fuzz, mutateBytes } from '@slipway/testkit';
import { describe, expect, it } from 'vitest';
import { answerDhcp4, parseDhcp4 } from './dhcp4.ts';
import { answerDhcp6, routerAdvertisement } from './dhcp6.ts';
import type { GuestConfig } from './guest-config.ts';

const config = {
  link: 'k6t-eth0',
  mac: '02:00:00:aa:00:01',
  hostname: 'web',
  mtu: 1450,
  resolver: { nameservers: ['192.0.2.53', '2001:db8::53'], searches: ['b.example.org', 'example.org'] },
  v4: { address: '10.0.2.2', prefix: 24, gateway: '10.0.2.1', server: '10.0.2.1', routes: [] },
  v6: { address: 'fd10:0:2::2', prefix: 120, network: 'fd10:0:2::' },
} satisfies GuestConfig;

function request(type: number, options: readonly number[] = [], mac = config.mac): Buffer {
  const packet = Buffer.alloc(240);
  packet.set([1, 1, 6, 0, 0xde, 0xad, 0xbe, 0xef]);
  packet.set([0x80, 0], 10);
  Buffer.from(mac.replaceAll(':', ''), 'hex').copy(packet, 28);
  packet.set([99, 130, 83, 99], 236);
  return Buffer.concat([packet, Buffer.from([53, 1, type, ...options, 255])]);
}

function answer(packet: Buffer): Record<number, string> | undefined {
  const parsed = parseDhcp4(packet);
  const reply = parsed && answerDhcp4(parsed, config);
  if (!reply) return undefined;
  const options: Record<number, string> = { 0: reply.subarray(16, 20).join('.') };
  for (let at = 240; reply[at] !== 255; at += 2 + (reply[at + 1] ?? 0)) {
    options[reply[at] ?? 0] = reply.subarray(at + 2, at + 2 + (reply[at + 1] ?? 0)).toString('hex');
  }
  return options;
}

describe('DHCPv4', () => {
  it('offers the address with everything the guest needs', () => {
    expect(answer(request(1))).toMatchInlineSnapshot(`
      {
        "0": "10.0.2.2",
        "1": "ffffff00",
        "119": "0162076578616d706c65036f726700076578616d706c65036f726700",
        "12": "776562",
        "15": "622e6578616d706c652e6f7267",
        "26": "05aa",
        "28": "0a0002ff",
        "3": "0a000201",
        "51": "05250a80",
        "53": "02",
        "54": "0a000201",
        "6": "c0000235",
      }
    `);
  });

  it.each([
    ['acknowledges the offered address', [50, 4, 10, 0, 2, 2, 54, 4, 10, 0, 2, 1], '05'],
    ['refuses an address of another network', [50, 4, 192, 168, 1, 7], '06'],
    ['is silent to a request for another server', [50, 4, 10, 0, 2, 2, 54, 4, 10, 0, 2, 99], undefined],
  ])('%s', (_, options, type) => {
    expect(answer(request(3, options))?.[53]).toBe(type);
  });

  it('keeps transaction and flags, and pads to what old clients accept', () => {
    const parsed = parseDhcp4(request(1));
    const reply = parsed && answerDhcp4(parsed, config);
    expect(reply?.subarray(0, 12).toString('hex')).toBe('02010600deadbeef00008000');
    expect(reply?.length).toBeGreaterThanOrEqual(300);
  });

  it('names no router where the network has none, but the ways it knows', () => {
    const routes = [{ destination: '10.8.0.0/16', gateway: '10.9.0.1' }];
    const parsed = parseDhcp4(request(1));
    const secluded: GuestConfig = { ...config, v4: { address: '10.9.0.4', prefix: 24, server: '169.254.75.11', routes } };
    const reply = parsed && answerDhcp4(parsed, secluded)?.toString('hex');
    expect(reply).toContain('7907100a080a090001'); // option 121, and no default route in it
    expect(reply).not.toContain('0304');
  });

  it('tells everything of dhcpOptions', () => {
    const parsed = parseDhcp4(request(1));
    const dhcpOptions = {
      ...{ bootFileName: 'pxe.0', tftpServerName: 'boot.lab', ntpServers: ['192.0.2.1', '192.0.2.2'] },
      privateOptions: [{ option: 240, value: 'mine' }],
    };
    const reply = parsed && answerDhcp4(parsed, { ...config, dhcpOptions })?.toString('latin1');
    for (const option of ['C\x05pxe.0', 'B\x08boot.lab', '*\x08\xc0\x00\x02\x01\xc0\x00\x02\x02', '\xf0\x04mine'])
      expect(reply).toContain(option);
  });

  it('ignores other clients, releases and garbage', () => {
    expect(answer(request(1, [], '02:00:00:aa:00:02'))).toBeUndefined();
    expect(answer(request(7))).toBeUndefined();
    expect(parseDhcp4(Buffer.from('garbage'))).toBeUndefined();
    expect(parseDhcp4(request(1).subarray(0, 241))).toBeUndefined();
    expect(answer(request(1, [12, 200, 1]))?.[53]).toBe('02');
  });
});

describe('DHCPv6 and router advertisements', () => {
  const solicit = Buffer.from('01aabbcc' + '0001000a00030001' + '020000aa0001' + '0003000c00000001' + '0000000000000000', 'hex');

  it('advertises, then assigns the address', () => {
    const advertised = answerDhcp6(solicit, config, '02:00:00:00:00:00');
    expect(advertised?.subarray(0, 4).toString('hex')).toBe('02aabbcc');
    expect(advertised?.toString('hex')).toContain('fd100000000200000000000000000002');
    const wanted = Buffer.concat([Buffer.from([3]), solicit.subarray(1)]);
    expect(answerDhcp6(wanted, config, '02:00:00:00:00:00')?.[0]).toBe(7);
    const rapid = Buffer.concat([solicit, Buffer.from('000e0000', 'hex')]);
    expect(answerDhcp6(rapid, config, '02:00:00:00:00:00')?.[0]).toBe(7);
  });

  it('is silent to other servers and to garbage', () => {
    const other = Buffer.concat([Buffer.from([3]), solicit.subarray(1), Buffer.from('0002000a00030001020000000099', 'hex')]);
    expect(answerDhcp6(other, config, '02:00:00:00:00:00')).toBeUndefined();
    expect(answerDhcp6(Buffer.from([1]), config, '02:00:00:00:00:00')).toBeUndefined();
  });

  it('announces a router whose addresses come from DHCPv6', () => {
    expect(routerAdvertisement(config, '02:00:00:00:00:00').toString('hex')).toMatchInlineSnapshot(
      `"8600000040c023280000000000000000010102000000000005010000000005aa03047880ffffffffffffffff00000000fd100000000200000000000000000000"`,
    );
  });
});

describe('a hostile guest', () => {
  it('is answered within bounds or not at all, whatever it asks', async () => {
    const samples = [
      request(1),
      request(3, [50, 4, 10, 0, 2, 2]),
      request(8),
      Buffer.from([1, 1, 2, 3, 0, 1, 0, 4, 1, 2, 3, 4, 0, 3, 0, 12]),
    ];
    await fuzz({
      name: 'DHCP packets',
      inputs: 3000,
      make: (random) => mutateBytes(random, random.pick(samples), samples),
      run(packet) {
        const parsed = parseDhcp4(packet);
        expect((parsed && answerDhcp4(parsed, config))?.length ?? 0).toBeLessThanOrEqual(1500);
        // the client's own name is said back to it
        expect(answerDhcp6(packet, config, '02:00:00:00:00:00')?.length ?? 0).toBeLessThanOrEqual(packet.length + 300);
      },
    });
  });
});
