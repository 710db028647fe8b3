import { mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { MultiNetworkPolicyKind, NamespaceKind, PodKind, type Pod, type VirtualMachineInstance } from '@slipway/api';
import { hostRunner, nftCommand } from '@slipway/hostapi';
import { InformerFactory, silentLogger, systemClock } from '@slipway/runtime';
import { MemoryCluster } from '@slipway/testkit';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { Sandbox } from '../contracts.ts';
import { createPodNetwork, policedFile, policedPods } from '../network/index.ts';
import { answer, ask, askInVain, removeNamespace } from '../network/testing/packet-world.ts';
import { plugClient, sh } from '../network/testing/pod-client.ts';
import { runLinkFilter } from './link-filter.ts';

const PREFIX = 'f0m9pn';
const BRIDGE = 'f0m9second';
const PATIENCE = { timeout: 60_000, interval: 100 };
const { signal } = new AbortController();
const stateDir = mkdtempSync(join(tmpdir(), 'slipway-mnp-'));
const LEASED = JSON.stringify({
  ...{ cniVersion: '1.0.0', name: 'lab', type: 'bridge', bridge: BRIDGE },
  ipam: { type: 'host-local', dataDir: join(stateDir, 'ipam'), ranges: [[{ subnet: '10.198.41.0/24' }]] },
});
const PLAIN = JSON.stringify({ cniVersion: '1.0.0', name: 'plain', type: 'bridge', bridge: BRIDGE });

interface Guest {
  /** Namespace of what stands in for the guest, behind the tap's bridge. */
  readonly client: string;
  readonly podIP: string;
  /** On the second network. */
  readonly address: string;
  readonly netns: string;
}

describe('policies of second networks, at the links of guests', () => {
  const client = new MemoryCluster(systemClock).client();
  const network = createPodNetwork({
    config: {
      ...{ nodeName: 'here', hostPrefix: PREFIX, stateDir, uidBase: 64_000 },
      ...{ podCidrV4: '10.198.40.0/24', podCidrV6: 'fd98:40::/64' },
    },
    ...{ runner: hostRunner, log: silentLogger, clock: systemClock },
    resolveNetwork: async ({ name }) => (name === 'plain' ? PLAIN : LEASED),
  });
  let agent: { stop: () => Promise<void> };
  let web: Guest;
  let db: Guest;
  let far: Guest;
  /** Has an address that nobody but itself knows. */
  let still: Guest;

  function startAgent(): typeof agent {
    const stopping = new AbortController();
    const informers = new InformerFactory({ client, clock: systemClock, random: Math.random, log: silentLogger });
    const running = runLinkFilter(
      {
        ...{ informers, nft: nftCommand(hostRunner), clock: systemClock, log: silentLogger, nodeName: 'here' },
        ...{ policedPods: () => policedPods(stateDir), file: policedFile(stateDir) },
      },
      stopping.signal,
    );
    informers.start(stopping.signal);
    return {
      stop: async () => {
        stopping.abort();
        await Promise.all([running, informers.stopped()]);
      },
    };
  }

  async function boot(name: string, namespace: string, of: string, given?: string): Promise<Guest> {
    const pod = await client.create(PodKind, {
      ...{ apiVersion: 'v1', kind: 'Pod', metadata: { name, namespace, labels: { app: name } } },
      spec: { nodeName: 'here', containers: [{ name: 'compute', ports: [{ name: 'web', containerPort: 8080 }] }] },
    } as unknown as Pod); // the rest does not matter to networks
    const podUid = pod.metadata.uid ?? '';
    const interfaces = [
      { name: 'default', masquerade: {} },
      { name: 'second', bridge: {} },
    ];
    const networks = [
      { name: 'default', pod: {} },
      { name: 'second', multus: { networkName: of } },
    ];
    const vmi = {
      ...{ apiVersion: 'kubevirt.io/v1', kind: 'VirtualMachineInstance', metadata: { name, namespace, uid: `vmi-${name}` } },
      spec: { networks, domain: { devices: { interfaces } } },
    } as unknown as VirtualMachineInstance; // the rest does not matter to networks
    const netns = `${PREFIX}-${name}`;
    const sandbox: Sandbox = { podUid, uid: 64_124, netns, dir: '/nonexistent' };
    const { interfaces: taps, annotations, podIPs } = await network.setUp(pod, vmi, sandbox, signal);
    const key = { namespace, name };
    await client.patch(PodKind, key, { metadata: { annotations } }, { type: 'merge' });
    const status = { phase: 'Running', podIPs: podIPs.map((ip) => ({ ip })) };
    await client.patch(PodKind, key, { status }, { type: 'merge', subresource: 'status' });
    const second = taps[1];
    const address = second?.ipAddresses[0] ?? given ?? '';
    const guest = await plugClient(netns, second?.mac ?? '', `k6t-${second?.podInterfaceName.slice('pod'.length)}`);
    await sh(`ip -n ${guest} addr add ${address}/24 dev eth0
ip -n ${netns} link add gport0 type veth peer name eth1 netns ${guest}
ip -n ${netns} link set gport0 master k6t-eth0 up
ip -n ${guest} link set eth1 up
ip -n ${guest} addr add 10.0.2.2/24 dev eth1
ip -n ${guest} route add default via 10.0.2.1`);
    for (const port of [8080, 9090]) await answer(guest, name, port);
    return { client: guest, podIP: podIPs[0] ?? '', address, netns };
  }

  const apply = async (name: string, spec: object, networks = 'default/lab'): Promise<void> => {
    await client.create(MultiNetworkPolicyKind, {
      ...{ apiVersion: 'k8s.cni.cncf.io/v1beta1', kind: 'MultiNetworkPolicy' },
      metadata: { name, namespace: 'a', annotations: { 'k8s.v1.cni.cncf.io/policy-for': networks } },
      spec: { podSelector: { matchLabels: { app: 'web' } }, ...spec },
    });
  };
  const remove = async (...names: string[]): Promise<void> => {
    for (const name of names) await client.delete(MultiNetworkPolicyKind, { namespace: 'a', name });
  };
  const opens = (from: Guest, to: Guest) =>
    expect.poll(() => ask(from.client, to.address, 8080), PATIENCE).toMatch(new RegExp(` ${from.address}$`));
  const closes = (from: Guest, to: Guest) =>
    expect.poll(() => askInVain(from.client, to.address, 8080), PATIENCE).toBe('silence');
  /** Asks them all at once. */
  const areClosed = async (...ways: readonly (readonly [Guest, Guest, number?])[]): Promise<void> => {
    const answers = await Promise.all(ways.map(([from, to, port = 8080]) => askInVain(from.client, to.address, port)));
    expect(answers).toEqual(ways.map(() => 'silence'));
  };
  const ping = (from: Guest, to: Guest, how: string): Promise<string> =>
    sh(`ip netns exec ${from.client} busybox ping -c 1 ${how} ${to.address} > /dev/null && echo answer || echo silence`);
  /** With more bytes than fit a packet. */
  const pings = async (from: Guest, to: Guest) => expect(await ping(from, to, '-W 30 -s 4000')).toBe('answer\n');
  const pingsInVain = async (from: Guest, to: Guest) => expect(await ping(from, to, '-W 1')).toBe('silence\n');

  beforeAll(async () => {
    await network.start(signal);
    for (const [name, team] of [
      ['a', 'one'],
      ['b', 'two'],
    ] as const)
      await client.create(NamespaceKind, { apiVersion: 'v1', kind: 'Namespace', metadata: { name, labels: { team } } });
    // the network of namespace "default" is for both
    web = await boot('web', 'a', 'default/lab');
    db = await boot('db', 'a', 'default/lab');
    far = await boot('far', 'b', 'default/lab');
    still = await boot('still', 'a', 'default/plain', '10.198.41.200');
    agent = startAgent();
  }, 120_000);
  afterAll(async () => {
    await agent?.stop();
    for (const name of readdirSync('/run/netns').filter((entry) => entry.startsWith(PREFIX) && entry.endsWith('-c')))
      await removeNamespace(name);
    await network.destroy();
    for (const name of readdirSync('/run/netns').filter((entry) => entry.startsWith(PREFIX))) await sh(`ip netns del ${name}`);
    await sh(`ip link del ${BRIDGE} 2>/dev/null; true`);
    rmSync(stateDir, { recursive: true, force: true });
  });

  it('deny what nothing allows, there alone, and let answers pass', async () => {
    await opens(db, web);
    await apply('elsewhere', {}, 'default/other');
    await apply('nobody', { policyTypes: ['Ingress'] });
    await closes(db, web);
    await Promise.all([areClosed([far, web], [still, web]), pingsInVain(db, web)]);
    // the pod network goes on, others are not selected, and the guest may ask
    expect(await ask(undefined, web.podIP, 8080)).toMatch(/^web /);
    expect(await ask(far.client, db.address, 8080)).toBe(`db ${far.address}`);
    expect(await ask(web.client, db.address, 8080)).toBe(`db ${web.address}`);
    await pings(web, db);
    await pingsInVain(db, web);
  });

  it('allow namespaces by labels, one port of them', async () => {
    const peer = { namespaceSelector: { matchLabels: { team: 'two' } } };
    await apply('two', { ingress: [{ from: [peer], ports: [{ port: 'web' }] }] });
    await opens(far, web);
    await areClosed([far, web, 9090], [db, web]);
    await remove('two');
    await closes(far, web);
  });

  it('allow blocks but for parts of them, where nobody knows the address', async () => {
    await apply('block', { ingress: [{ from: [{ ipBlock: { cidr: '10.198.41.0/24', except: [`${db.address}/32`] } }] }] });
    await opens(still, web);
    await pings(still, web);
    await areClosed([db, web]);
    await remove('block');
  });

  it('hold what a guest sends whose address nobody knows', async () => {
    await opens(still, db);
    const podSelector = { matchLabels: { app: 'still' } };
    await apply('quiet', { podSelector, policyTypes: ['Egress'] }, 'default/plain');
    await closes(still, db);
    expect(await ask(db.client, still.address, 8080)).toBe(`still ${db.address}`);
    // the peer has its address on the other network, which the policy must be for too
    const to = [{ podSelector: { matchLabels: { app: 'db' } } }];
    await apply('some', { podSelector, egress: [{ to }], policyTypes: ['Egress'] }, 'default/plain, default/lab');
    await opens(still, db);
    await areClosed([still, far]);
    await remove('quiet', 'some');
    await opens(still, far);
  });

  it('stay while no agent runs, and are kept by the next one, which removes what has gone meanwhile', async () => {
    await closes(db, web);
    await agent.stop();
    await areClosed([db, web]);
    agent = startAgent();
    await apply('two', { ingress: [{ from: [{ namespaceSelector: { matchLabels: { team: 'two' } } }] }] });
    await opens(far, web);
    await areClosed([db, web]);
    await agent.stop();
    await remove('two', 'nobody');
    await areClosed([db, web]);
    agent = startAgent();
    await opens(db, web);
    expect(await sh(`ip netns exec ${web.netns} nft list tables bridge`)).toBe('');
    await expect.poll(() => readdirSync(join(stateDir, 'network')), PATIENCE).not.toContain('policed.json');
  });
});
