import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Pod, VirtualMachineInstance } from '@slipway/api';
import { hostRunner } from '@slipway/hostapi';
import { silentLogger, systemClock } from '@slipway/runtime';
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import type { PodNetwork, Sandbox } from '../contracts.ts';
import { createPodNetwork } from './index.ts';
import { inPod, plugClient, requestLease, sh } from './testing/pod-client.ts';

const PREFIX = 'f0a5e7';
const signal = new AbortController().signal;

const pod = (name: string): Pod => ({
  apiVersion: 'v1',
  kind: 'Pod',
  metadata: { name, namespace: 'default', uid: `uid-${name}` },
});
const sandbox = (name: string): Sandbox => ({
  podUid: `uid-${name}`,
  uid: 64123,
  netns: `${PREFIX}-${name}`,
  dir: '/nonexistent',
});

function vmi(
  name: string,
  devices: object,
  networks: object[] = [{ name: 'default', pod: {} }],
  cpu: object = {},
): VirtualMachineInstance {
  return {
    apiVersion: 'kubevirt.io/v1',
    kind: 'VirtualMachineInstance',
    metadata: { name, namespace: 'default', uid: `vmi-${name}` },
    spec: { networks, domain: { cpu, devices } },
  } as VirtualMachineInstance; // the rest of the spec does not matter to networks
}

const masquerade = (nic: object = {}): object => ({ interfaces: [{ name: 'default', masquerade: {}, ...nic }] });

/** Everything that tests could leave on the host. */
const traces = (): Promise<string> =>
  sh(
    `ip -o link | grep -c '${PREFIX}\\|f0a5blue' ; nft list tables | grep -c ${PREFIX}; ls /run/netns 2>/dev/null | grep -c ${PREFIX}; true`,
  );

describe('createPodNetwork', () => {
  const stateDir = mkdtempSync(join(tmpdir(), 'slipway-network-'));
  const networks = new Map([
    ['default/blue', '{"cniVersion":"0.4.0","name":"blue","type":"bridge","bridge":"f0a5blue","ipam":{}}'],
    ['default/odd', '{"cniVersion":"0.4.0","name":"odd","type":"no-such-plugin"}'],
    [
      'default/real',
      '{"cniVersion":"0.4.0","name":"real","type":"bridge","bridge":"f0a5blue","ipam":{"type":"static","addresses":[{"address":"10.9.9.9/24"}]}}',
    ],
  ]);
  const create = (): PodNetwork =>
    createPodNetwork({
      config: {
        nodeName: 'n',
        hostPrefix: PREFIX,
        stateDir,
        podCidrV4: '10.197.3.0/24',
        podCidrV6: 'fd97:3::/64',
        uidBase: 64000,
      },
      runner: hostRunner,
      log: silentLogger,
      clock: systemClock,
      resolveNetwork: async ({ namespace, name }) => networks.get(`${namespace}/${name}`),
    });
  let network = create();

  beforeAll(() => network.start(signal));
  afterAll(async () => {
    await network.destroy();
    for (const name of readdirSync('/run/netns').filter((entry) => entry.startsWith(PREFIX))) await sh(`ip netns del ${name}`);
    rmSync(stateDir, { recursive: true, force: true });
  });

  it('leases the guest address, translates both ways and answers from the outside', async () => {
    const { podIPs, interfaces } = await network.setUp(pod('a'), vmi('a', masquerade()), sandbox('a'), signal);
    const client = await plugClient(`${PREFIX}-a`, interfaces[0]?.mac ?? '');
    const lease = await requestLease(client, stateDir);
    expect(lease).toMatchObject({
      ip: '10.0.2.2',
      router: '10.0.2.1',
      serverid: '10.0.2.1',
      hostname: 'a',
      broadcast: '10.0.2.255',
    });

    const server = createServer((request, response) => response.end(request.socket.remoteAddress)).listen(0, '10.197.3.1');
    await new Promise((resolve) => server.once('listening', resolve));
    const { port } = server.address() as { port: number };
    const seen = await hostRunner.run(
      ['nsenter', `--net=/run/netns/${client}`, 'busybox', 'wget', '-q', '-O', '-', `http://10.197.3.1:${port}/`],
      {},
      signal,
    );
    server.close();
    expect(seen.stdout).toBe(podIPs[0]);

    await inPod(
      client,
      `mkdir -p ${stateDir}/www; echo from-guest > ${stateDir}/www/index.html; busybox httpd -p 80 -h ${stateDir}/www`,
    );
    const answer = await fetch(`http://${podIPs[0]}/`).then((response) => response.text());
    await sh(`kill $(ip netns pids ${client})`);
    expect(answer).toBe('from-guest\n');
  });

  it('gives the guest its IPv6 address and route by advertisement and DHCPv6', async () => {
    const { interfaces } = await network.setUp(pod('six'), vmi('six', masquerade()), sandbox('six'), signal);
    const client = await plugClient(`${PREFIX}-six`, interfaces[0]?.mac ?? '');
    // the kernel asks for routers when the link comes up
    await vi.waitFor(async () => expect(await inPod(client, 'ip -6 route')).toMatch(/default via fe80::\S+ dev eth0 proto ra/), {
      timeout: 15_000,
      interval: 200,
    });
  });

  it('is idempotent and survives a restart of the agent', async () => {
    const first = await network.setUp(pod('b'), vmi('b', masquerade()), sandbox('b'), signal);
    expect(await network.setUp(pod('b'), vmi('b', masquerade()), sandbox('b'), signal)).toEqual(first);
    network = create();
    await network.start(signal);
    expect(await network.adopt(pod('b'), vmi('b', masquerade()), sandbox('b'), signal)).toEqual(first);
    const client = await plugClient(`${PREFIX}-b`, first.interfaces[0]?.mac ?? '');
    expect((await requestLease(client, stateDir))['ip']).toBe('10.0.2.2');
    await network.tearDown('uid-b');
    await network.tearDown('uid-b');
    const again = await network.setUp(pod('b2'), vmi('b', masquerade()), sandbox('b2'), signal);
    expect(again.podIPs).toEqual(first.podIPs);
  });

  it('makes taps for the uid, with several queues only when asked', async () => {
    const devices = { ...masquerade(), networkInterfaceMultiqueue: true };
    await network.setUp(pod('q'), vmi('q', devices, undefined, { cores: 4 }), sandbox('q'), signal);
    const taps = await inPod(`${PREFIX}-q`, 'ip -d link show tap0');
    expect(taps).toMatch(/tun type tap .*multi_queue/);
    expect(taps).toContain('user 64123');
  });

  it('forwards only the listed ports', async () => {
    const nic = { ports: [{ port: 80 }, { port: 53, protocol: 'UDP' }] };
    await network.setUp(pod('p'), vmi('p', masquerade(nic)), sandbox('p'), signal);
    const rules = await inPod(`${PREFIX}-p`, 'nft list table ip slipway');
    expect(rules).toMatch(/iifname "eth0" tcp dport 80 counter .* dnat to 10\.0\.2\.2/);
    expect(rules).toMatch(/iifname "eth0" udp dport 53 counter .* dnat to 10\.0\.2\.2/);
  });

  it('forwards a range of ports to a guest in the network that it names, and no other port', async () => {
    const nic = { portRanges: [{ start: 8000, end: 8010 }] };
    const spec = [{ name: 'default', pod: { vmNetworkCIDR: '10.77.0.0/24' } }];
    const { podIPs, interfaces } = await network.setUp(pod('pr'), vmi('pr', masquerade(nic), spec), sandbox('pr'), signal);
    const client = await plugClient(`${PREFIX}-pr`, interfaces[0]?.mac ?? '');
    expect(await requestLease(client, stateDir)).toMatchObject({ ip: '10.77.0.2', router: '10.77.0.1' });
    const serve = [8005, 8011].map((port) => `busybox httpd -p ${port} -h ${stateDir}/range;`).join(' ');
    await inPod(client, `mkdir -p ${stateDir}/range; echo in-range > ${stateDir}/range/index.html; ${serve}`);
    const answer = await fetch(`http://${podIPs[0]}:8005/`).then((response) => response.text());
    const refused = await fetch(`http://${podIPs[0]}:8011/`).catch((error: unknown) => error);
    await sh(`kill $(ip netns pids ${client})`);
    expect(answer).toBe('in-range\n');
    expect(refused).toBeInstanceOf(Error);
  });

  it('lets pods, a guest with the address of its pod and this machine reach each other', async () => {
    // with a list of ports the pod itself answers what is not in it
    const listed = masquerade({ ports: [{ port: 80 }] });
    const [one, two] = [
      await network.setUp(pod('n1'), vmi('n1', listed), sandbox('n1'), signal),
      await network.setUp(pod('n2'), vmi('n2', listed), sandbox('n2'), signal),
    ];
    const devices = { interfaces: [{ name: 'default', bridge: {}, macAddress: '02:aa:00:00:00:02' }] };
    const three = await network.setUp(pod('n3'), vmi('n3', devices), sandbox('n3'), signal);
    const client = await plugClient(`${PREFIX}-n3`, '02:aa:00:00:00:02');
    await requestLease(client, stateDir);
    const reaches = async (from: string, addresses: readonly string[]): Promise<void> => {
      for (const address of addresses)
        expect(await inPod(from, `busybox ping -c 1 -W 5 ${address}`), address).toContain('1 packets received');
    };
    await reaches(`${PREFIX}-n1`, [...two.podIPs, three.podIPs[0] ?? '', '10.197.3.1', 'fd97:3::1']);
    await reaches(client, [one.podIPs[0] ?? '', two.podIPs[0] ?? '']);
    for (const address of [...one.podIPs, three.podIPs[0]])
      expect(await sh(`busybox ping -c 1 -W 5 ${address}`)).toContain('1 packets');
  });

  it('connects a second interface to a bridge network, without a plugin', async () => {
    const devices = {
      interfaces: [
        { name: 'default', masquerade: {} },
        { name: 'blue', bridge: {} },
      ],
    };
    const spec = [
      { name: 'default', pod: {} },
      { name: 'blue', multus: { networkName: 'blue' } },
    ];
    const one = await network.setUp(pod('m1'), vmi('m1', devices, spec), sandbox('m1'), signal);
    const two = await network.setUp(pod('m2'), vmi('m2', devices, spec), sandbox('m2'), signal);
    const [left, right] = await Promise.all(
      [one, two].map(async (status, index) => {
        const tap = status.interfaces[1];
        return await plugClient(`${PREFIX}-m${index + 1}`, tap?.mac ?? '', `k6t-${tap?.podInterfaceName.slice(3)}`);
      }),
    );
    await sh(`ip -n ${left} addr add 192.168.77.1/24 dev eth0; ip -n ${right} addr add 192.168.77.2/24 dev eth0`);
    expect(await inPod(left ?? '', 'busybox ping -c 1 -W 5 192.168.77.2')).toContain('1 packets received');
    expect(JSON.parse(one.annotations?.['k8s.v1.cni.cncf.io/network-status'] ?? '')).toMatchObject([
      { interface: 'eth0', default: true },
      { name: 'default/blue', mac: one.interfaces[1]?.mac },
    ]);
  });

  it('runs a real plugin for anything else', async () => {
    const devices = {
      interfaces: [
        { name: 'default', masquerade: {} },
        { name: 'real', bridge: {} },
      ],
    };
    const spec = [
      { name: 'default', pod: {} },
      { name: 'real', multus: { networkName: 'default/real' } },
    ];
    const status = await network.setUp(pod('r'), vmi('r', devices, spec), sandbox('r'), signal);
    expect(status.annotations?.['k8s.v1.cni.cncf.io/network-status']).toContain('10.9.9.9');
    await network.tearDown('uid-r');
  });

  it.each([
    ['absent', /NetworkAttachmentDefinition default\/absent does not exist; create it/],
    ['odd', /CNI plugin "no-such-plugin" is not installed in/],
  ])('says what is missing: %s', async (networkName, message) => {
    const devices = {
      interfaces: [
        { name: 'default', masquerade: {} },
        { name: 'x', bridge: {} },
      ],
    };
    const spec = [
      { name: 'default', pod: {} },
      { name: 'x', multus: { networkName } },
    ];
    await expect(network.setUp(pod(networkName), vmi(networkName, devices, spec), sandbox(networkName), signal)).rejects.toThrow(
      message,
    );
  });

  it('gives the guest the address of the pod by bridge binding', async () => {
    const devices = { interfaces: [{ name: 'default', bridge: {}, macAddress: '02-AA-00-00-00-01' }] };
    const { podIPs } = await network.setUp(pod('br'), vmi('br', devices), sandbox('br'), signal);
    const client = await plugClient(`${PREFIX}-br`, '02:aa:00:00:00:01');
    expect(await requestLease(client, stateDir)).toMatchObject({ ip: podIPs[0], router: '10.197.3.1' });
    expect(await inPod(client, 'busybox ping -c 1 -W 5 10.197.3.1')).toContain('1 packets received');
  });

  it('begins anew in the same sandbox what an agent left half made', async () => {
    const [half, guest] = [sandbox('half'), vmi('half', masquerade())];
    await sh(`ip netns add ${half.netns}`);
    const inode = await sh(`stat -Lc %i /run/netns/${half.netns}`);
    const first = await network.setUp(pod('half'), guest, half, signal);
    const record = join(stateDir, 'network/pods/uid-half.json');
    // as it was when the agent was killed: recorded, the links there, nothing said of the end
    const { status: _, ...begun } = JSON.parse(readFileSync(record, 'utf8'));
    writeFileSync(record, JSON.stringify(begun));
    await inPod(half.netns, 'ip link del tap0');
    expect(await network.setUp(pod('half'), guest, half, signal)).toEqual(first);
    expect(await inPod(half.netns, 'ip -o link | grep -c tap0')).toBe('1\n');
    expect(await sh(`stat -Lc %i /run/netns/${half.netns}`)).toBe(inode);
    // a sandbox that was made anew has an empty namespace of the same name
    await sh(`ip netns del ${half.netns} && ip netns add ${half.netns}`);
    expect(await network.setUp(pod('half'), guest, half, signal)).toEqual(first);
    expect(await inPod(half.netns, 'ip -o link | grep -c tap0')).toBe('1\n');
    await network.tearDown('uid-half');
    expect(await sh(`ls /run/netns | grep -c ${half.netns} || true`)).toBe('0\n');
  });

  it('collects what no live pod owns and leaves nothing behind', async () => {
    await network.collectGarbage(new Set(['uid-a']));
    expect(readdirSync('/run/netns').filter((name) => name.startsWith(PREFIX) && !name.endsWith('-c'))).toEqual([`${PREFIX}-a`]);
    await network.destroy();
    for (const name of readdirSync('/run/netns').filter((entry) => entry.startsWith(PREFIX))) await sh(`ip netns del ${name}`);
    expect(await traces()).toBe('0\n0\n0\n');
  });
});
