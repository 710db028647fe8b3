import type { EndpointSlice, Service } from '@slipway/api';
import { hostRunner, nftCommand } from '@slipway/hostapi';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type ServicePort, servicePorts } from './service-ports.ts';
import { serviceRuleset, type TableParts } from './service-ruleset.ts';

const PREFIX = 'f0svc0';
const TABLE = `slipway_${PREFIX}_services`;
const signal = new AbortController().signal;
const sh = async (script: string): Promise<string> => (await hostRunner.run(['sh', '-c', script], {}, signal)).stdout;
const host = `${PREFIX}-host`;

/** A node in a network namespace of its own, two pods and a client outside. */
const LAYOUT = `
ip netns add ${host}
ip -n ${host} link set lo up
ip -n ${host} link add gw0 type bridge
ip -n ${host} addr add 10.244.7.1/24 dev gw0
ip -n ${host} addr add fd10:244:7::1/64 dev gw0 nodad
ip -n ${host} link set gw0 up
for pod in 2 3; do
  ip netns add ${PREFIX}-pod$pod
  ip -n ${host} link add v$pod type veth peer name eth0 netns ${PREFIX}-pod$pod
  ip -n ${host} addr add fe80::1:1/64 dev v$pod nodad
  ip -n ${host} link set v$pod up
  ip -n ${PREFIX}-pod$pod link set lo up
  ip -n ${PREFIX}-pod$pod link set eth0 up
  ip -n ${PREFIX}-pod$pod addr add 10.244.7.$pod/32 dev eth0
  ip -n ${PREFIX}-pod$pod addr add fd10:244:7::$pod/128 dev eth0 nodad
  ip -n ${PREFIX}-pod$pod route add 10.244.7.1 dev eth0
  ip -n ${PREFIX}-pod$pod route add default via 10.244.7.1
  ip -n ${PREFIX}-pod$pod route add ::/0 via fe80::1:1 dev eth0
  ip -n ${host} route add 10.244.7.$pod/32 dev v$pod src 10.244.7.1
  ip -n ${host} route add fd10:244:7::$pod/128 dev v$pod src fd10:244:7::1
done
ip netns add ${PREFIX}-outside
ip -n ${host} link add up0 type veth peer name eth0 netns ${PREFIX}-outside
ip -n ${host} link set up0 up
ip -n ${host} addr add 192.0.2.1/24 dev up0
ip -n ${host} addr add 2001:db8::1/64 dev up0 nodad
ip -n ${host} route add default via 192.0.2.9
ip -n ${PREFIX}-outside link set eth0 up
ip -n ${PREFIX}-outside link set lo up
ip -n ${PREFIX}-outside addr add 192.0.2.9/24 dev eth0
ip -n ${PREFIX}-outside addr add 2001:db8::9/64 dev eth0 nodad
ip -n ${PREFIX}-outside route add default via 192.0.2.1
ip -n ${PREFIX}-outside route add ::/0 via 2001:db8::1
ip netns exec ${host} sh -c 'cd /proc/sys/net; echo 1 > ipv4/ip_forward; echo 1 > ipv6/conf/all/forwarding
  echo 1 > ipv4/conf/v2/route_localnet; echo 1 > ipv4/conf/v3/route_localnet'
`;

/** Answers every connection with the name of the pod and the address of the client. */
const SERVER = `require("net").createServer((s) => { s.on("error", () => {}); s.end(process.argv[1] + " " + s.remoteAddress.replace("::ffff:", "")); }).listen(8080, "::")`;
const ASK = `const s = require("net").connect(Number(process.argv[2]), process.argv[1]); let t = "";
s.setTimeout(1500, () => { console.log("silence"); process.exit(); });
s.on("data", (d) => (t += d)); s.on("end", () => { console.log(t); process.exit(); }); s.on("error", (e) => { console.log(e.code); process.exit(); });`;

const ask = async (from: string, address: string, port: number): Promise<string> => {
  const { stdout } = await hostRunner.run(
    ['ip', 'netns', 'exec', from, process.execPath, '-e', ASK, address, String(port)],
    {},
    signal,
  );
  return stdout.trim();
};

const service = (spec: object, status: object = {}): Service =>
  ({
    metadata: { name: 'web', namespace: 'a' },
    spec: { type: 'ClusterIP', clusterIP: '10.0.0.9', ports: [{ port: 80, protocol: 'TCP' }], ...spec },
    status,
  }) as unknown as Service; // only these fields matter

const slice = (addresses: readonly string[]): EndpointSlice =>
  ({
    metadata: { name: 'web', namespace: 'a' },
    addressType: addresses[0]?.includes(':') ? 'IPv6' : 'IPv4',
    endpoints: addresses.map((address) => ({ addresses: [address], nodeName: 'here', conditions: { ready: true } })),
    ports: [{ name: '', port: 8080, protocol: 'TCP' }],
  }) as unknown as EndpointSlice; // only these fields matter

describe('the rules of Services, in a network', () => {
  const nft = nftCommand(hostRunner, host);
  const outside = `${PREFIX}-outside`;
  let existing: TableParts = { chains: new Set(), sets: new Set() };

  const apply = async (ports: readonly ServicePort[]): Promise<void> => {
    const podNetworks = { v4: '10.244.0.0/16', v6: 'fd10:244::/32' };
    const { script, parts } = serviceRuleset({ table: TABLE, ports, podNetworks, existing });
    await nft.apply(script, signal);
    existing = parts;
  };
  const serve = (spec: object, addresses: readonly string[] = ['10.244.7.2'], status: object = {}): Promise<void> =>
    apply(servicePorts(service(spec, status), [slice(addresses)], 'here'));

  beforeAll(async () => {
    await sh(LAYOUT);
    for (const pod of [2, 3]) {
      await sh(`ip netns exec ${PREFIX}-pod${pod} ${process.execPath} -e '${SERVER}' pod${pod} > /dev/null 2>&1 &
for i in $(seq 200); do ip netns exec ${PREFIX}-pod${pod} sh -c 'ss -ltn | grep -q 8080' && exit 0; sleep 0.05; done; exit 1`);
    }
  });
  afterAll(async () => {
    const names = ['pod2', 'pod3', 'outside', 'host'].map((name) => `${PREFIX}-${name}`);
    for (const name of names)
      await sh(`for pid in $(ip netns pids ${name} 2>/dev/null); do kill -9 $pid; done; ip netns del ${name} || true`);
  });

  it('lead pods, this machine and the pod itself to an endpoint', async () => {
    await serve({});
    expect(await ask(`${PREFIX}-pod3`, '10.0.0.9', 80)).toBe('pod2 10.244.7.3');
    expect(await ask(host, '10.0.0.9', 80)).toMatch(/^pod2 /);
    // the pod sees a connection of its own come from the node
    expect(await ask(`${PREFIX}-pod2`, '10.0.0.9', 80)).toBe('pod2 10.244.7.1');
  });

  it('lead clients elsewhere through this node, by node port and by address', async () => {
    const ports = [{ port: 80, protocol: 'TCP', nodePort: 30_080 }];
    await serve({ type: 'NodePort', ports, externalIPs: ['198.51.100.7'] });
    expect(await ask(outside, '192.0.2.1', 30_080)).toBe('pod2 10.244.7.1');
    expect(await ask(outside, '198.51.100.7', 80)).toBe('pod2 10.244.7.1');
    expect(await ask(outside, '10.0.0.9', 80)).toBe('pod2 10.244.7.1');
    expect(await ask(host, '127.0.0.1', 30_080)).toBe('pod2 10.244.7.1');
    expect(await ask(`${PREFIX}-pod3`, '10.244.7.1', 30_080)).toBe('pod2 10.244.7.3');
  });

  it('keep the address of the client when the Service says so', async () => {
    const ports = [{ port: 80, protocol: 'TCP', nodePort: 30_080 }];
    await serve({ type: 'NodePort', ports, externalTrafficPolicy: 'Local' });
    expect(await ask(outside, '192.0.2.1', 30_080)).toBe('pod2 192.0.2.9');
    const elsewhere = { ...slice(['10.244.7.2']) };
    for (const endpoint of elsewhere.endpoints) endpoint.nodeName = 'there';
    await apply(servicePorts(service({ type: 'NodePort', ports, externalTrafficPolicy: 'Local' }), [elsewhere], 'here'));
    expect(await ask(outside, '192.0.2.1', 30_080)).toBe('silence');
    expect(await ask(`${PREFIX}-pod3`, '10.244.7.1', 30_080)).toBe('pod2 10.244.7.3');
  });

  it('refuse a Service without endpoints, and a port that it has not', async () => {
    await serve({ type: 'NodePort', ports: [{ port: 80, protocol: 'TCP', nodePort: 30_080 }] }, []);
    expect(await ask(`${PREFIX}-pod3`, '10.0.0.9', 80)).toBe('ECONNREFUSED');
    expect(await ask(host, '10.0.0.9', 80)).toBe('ECONNREFUSED');
    expect(await ask(outside, '192.0.2.1', 30_080)).toBe('ECONNREFUSED');
    await serve({});
    expect(await ask(`${PREFIX}-pod3`, '10.0.0.9', 81)).toBe('ECONNREFUSED');
  });

  it('let those in alone whom a load balancer names', async () => {
    const status = { loadBalancer: { ingress: [{ ip: '198.51.100.8' }] } };
    const spec = { type: 'LoadBalancer', allocateLoadBalancerNodePorts: false };
    await serve({ ...spec, loadBalancerSourceRanges: ['192.0.2.0/24'] }, undefined, status);
    expect(await ask(outside, '198.51.100.8', 80)).toBe('pod2 10.244.7.1');
    await serve({ ...spec, loadBalancerSourceRanges: ['203.0.113.0/24'] }, undefined, status);
    expect(await ask(outside, '198.51.100.8', 80)).toBe('silence');
  });

  it('spread clients, and keep one with its endpoint when it asks for that', async () => {
    await serve({}, ['10.244.7.2', '10.244.7.3']);
    const seen = new Set<string>();
    for (let i = 0; i < 30 && seen.size < 2; i++) seen.add((await ask(host, '10.0.0.9', 80)).split(' ')[0] ?? '');
    expect([...seen].sort()).toEqual(['pod2', 'pod3']);
    const sticky = { sessionAffinity: 'ClientIP', sessionAffinityConfig: { clientIP: { timeoutSeconds: 600 } } };
    await serve(sticky, ['10.244.7.2', '10.244.7.3']);
    const first = await ask(outside, '10.0.0.9', 80);
    // another Service comes and the rules are written anew: the client is still known
    const other = servicePorts(
      { ...service({ clusterIP: '10.0.0.10' }), metadata: { name: 'other', namespace: 'a' } },
      [slice(['10.244.7.3'])],
      'here',
    );
    await apply([...servicePorts(service(sticky), [slice(['10.244.7.2', '10.244.7.3'])], 'here'), ...other]);
    for (let i = 0; i < 6; i++) expect(await ask(outside, '10.0.0.9', 80)).toBe(first);
  });

  it('work the same in IPv6', async () => {
    const ports = [{ port: 80, protocol: 'TCP', nodePort: 30_080 }];
    await serve({ type: 'NodePort', ports, clusterIP: 'fd10:96::9' }, ['fd10:244:7::2']);
    expect(await ask(`${PREFIX}-pod3`, 'fd10:96::9', 80)).toBe('pod2 fd10:244:7::3');
    expect(await ask(outside, '2001:db8::1', 30_080)).toBe('pod2 fd10:244:7::1');
    expect(await ask(`${PREFIX}-pod2`, 'fd10:96::9', 80)).toBe('pod2 fd10:244:7::1');
  });

  it('leave nothing of a Service that is gone', async () => {
    await apply([]);
    const { chains, sets } = await nft.partsOf({ family: 'inet', name: TABLE }, signal);
    expect(chains.filter((name) => /^(svc|ext|fw|ep)_/.test(name))).toEqual([]);
    expect(sets.filter((name) => name.startsWith('aff_'))).toEqual([]);
    expect(await ask(outside, '192.0.2.1', 30_080)).toBe('ECONNREFUSED');
  });
});
