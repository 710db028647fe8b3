import type { EndpointSlice, Service } from '@slipway/api';
import { type CommandRunner, hostRunner } from '@slipway/hostapi';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { type PacketWorld, packetWorld } from '../network/testing/packet-world.ts';
import { servicePorts } from './service-ports.ts';
import { serviceRuleset, type TableParts } from './service-ruleset.ts';
import { forgetFlows, staleFlows } from './stale-flows.ts';

const signal = new AbortController().signal;
const sh = async (script: string): Promise<string> => (await hostRunner.run(['sh', '-c', script], {}, signal)).stdout;
let world: PacketWorld;
const inHost: CommandRunner = {
  run: (argv, options, aborting) => hostRunner.run(['nsenter', `--net=/run/netns/${world.host}`, ...argv], options, aborting),
};

const SERVER = `const s = require("dgram").createSocket("udp6"); s.on("message", (_, r) => s.send(process.argv[1], r.port, r.address)); s.bind(5353)`;
/** Always from the same port: for the kernel it is one flow. */
const ASK = `const s = require("dgram").createSocket(process.argv[1].includes(":") ? "udp6" : "udp4");
s.on("message", (m) => { console.log(String(m)); process.exit(); }); setTimeout(() => process.exit(1), 30000);
s.bind(4444, () => s.send("?", 53, process.argv[1]))`;
const ask = async (address: string): Promise<string> =>
  (await sh(`ip netns exec ${world.outside} ${process.execPath} -e '${ASK}' ${address}`)).trim();

const portsTo = (address: string, clusterIP: string) =>
  servicePorts(
    {
      metadata: { name: 'names', namespace: 'a' },
      spec: { type: 'ClusterIP', clusterIP, ports: [{ port: 53, protocol: 'UDP' }] },
    } as unknown as Service, // only these fields matter
    [
      {
        metadata: { name: 'names', namespace: 'a' },
        addressType: address.includes(':') ? 'IPv6' : 'IPv4',
        endpoints: [{ addresses: [address], nodeName: 'here', conditions: { ready: true } }],
        ports: [{ name: '', port: 5353, protocol: 'UDP' }],
      } as unknown as EndpointSlice, // only these fields matter
    ],
    'here',
  );

beforeAll(async () => {
  world = await packetWorld('f0udp0');
  for (const [pod, name] of [
    [world.pod2, 'pod2'],
    [world.pod3, 'pod3'],
  ])
    await sh(`ip netns exec ${pod} ${process.execPath} -e '${SERVER}' ${name} > /dev/null 2>&1 &
for i in $(seq 600); do ip netns exec ${pod} ss -lun | grep -q :5353 && exit 0; sleep 0.05; done; exit 1`);
});
afterAll(() => world?.close());

it.each([
  ['10.0.0.53', '10.244.7.2', '10.244.7.3'],
  ['fd10:0:0::53', 'fd10:244:7::2', 'fd10:244:7::3'],
])('clients of %s that go on from one port get the endpoint that is there now', async (address, first, second) => {
  let existing: TableParts = { chains: new Set(), sets: new Set() };
  const apply = async (ports: ReturnType<typeof portsTo>): Promise<void> => {
    const podNetworks = { v4: '10.244.0.0/16', v6: 'fd10:244::/32' };
    const { script, parts } = serviceRuleset({ table: 'slipway_f0udp0_services', ports, podNetworks, existing });
    await world.nft.apply(script, signal);
    existing = parts;
  };
  const [before, now] = [portsTo(first, address), portsTo(second, address)];
  await apply(before);
  expect(await ask(address)).toBe('pod2');
  await forgetFlows(inHost, staleFlows(before, before), signal);
  await apply(now);
  // what the kernel remembers, and why it has to forget
  expect(await ask(address)).toBe('pod2');
  await forgetFlows(inHost, staleFlows(before, now), signal);
  expect(await ask(address)).toBe('pod3');
});
