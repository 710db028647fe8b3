import { existsSync, mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Pod, VirtualMachineInstance } from '@slipway/api';
import { hostRunner } from '@slipway/hostapi';
import { silentLogger, systemClock } from '@slipway/runtime';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { PodNetworkStatus, Sandbox } from '../contracts.ts';
import { createPodNetwork } from './index.ts';
import { inPod, plugClient, requestLease, sh } from './testing/pod-client.ts';

const PREFIX = 'f0b5ec';
const BRIDGE = 'f0b5second';
const ROUTED = 'f0b5routed';
const { signal } = new AbortController();
const stateDir = mkdtempSync(join(tmpdir(), 'slipway-second-'));

const hostLocal = (routes: object[]) => ({
  type: 'host-local',
  dataDir: join(stateDir, 'ipam'),
  ranges: [[{ subnet: '10.198.9.0/24', gateway: '10.198.9.1' }]],
  routes,
});
const network = (name: string, ...plugins: object[]): [string, string] => [
  name,
  JSON.stringify({ cniVersion: '1.0.0', name: name.replace('/', '-'), plugins }),
];
const DEFINITIONS = new Map([
  network('default/leased', { type: 'bridge', bridge: BRIDGE, ipam: hostLocal([{ dst: '10.8.0.0/16', gw: '10.198.9.254' }]) }),
  network('default/routed', { type: 'bridge', bridge: ROUTED, isGateway: true, ipam: hostLocal([{ dst: '0.0.0.0/0' }]) }),
  network('default/plain', { type: 'bridge', bridge: BRIDGE, mtu: 1400 }),
  network('default/chain', { type: 'bridge', bridge: BRIDGE }, { type: 'cnv-tuning', mtu: 1300 }),
  network('other/plain', { type: 'bridge', bridge: BRIDGE }),
  network('mine/plain', { type: 'bridge', bridge: BRIDGE }),
  network('default/taps', { type: 'test-tap' }),
]);

const pod = (name: string, namespace = 'default', annotations: Record<string, string> = {}): Pod => ({
  ...{ apiVersion: 'v1', kind: 'Pod' },
  metadata: { name, namespace, uid: `uid-${name}`, annotations },
});
const sandbox = (name: string): Sandbox => ({
  ...{ podUid: `uid-${name}`, uid: 64_124, netns: `${PREFIX}-${name}`, dir: '/nonexistent' },
});

/** An instance with these second networks, by name. */
function vmi(name: string, seconds: Record<string, object>, namespace = 'default', hasPod = true): VirtualMachineInstance {
  const own = hasPod ? [{ name: 'default', masquerade: {} }] : [];
  const interfaces = [...own, ...Object.entries(seconds).map(([network, nic]) => ({ name: network, bridge: {}, ...nic }))];
  const networks = interfaces.map((nic) =>
    nic.name === 'default'
      ? { name: 'default', pod: {} }
      : { name: nic.name, multus: { networkName: 'of' in nic ? nic.of : nic.name, ...(!hasPod && { default: true }) } },
  );
  return {
    ...{ apiVersion: 'kubevirt.io/v1', kind: 'VirtualMachineInstance' },
    metadata: { name, namespace, uid: `vmi-${name}` },
    spec: { networks, domain: { devices: { interfaces } } },
  } as unknown as VirtualMachineInstance; // the rest of the spec does not matter to networks
}

const bridgeOf = ({ interfaces }: PodNetworkStatus, name: string): string => {
  const link = interfaces.find((entry) => entry.name === name)?.podInterfaceName ?? '';
  return link === 'eth0' ? 'k6t-eth0' : `k6t-${link.slice(3)}`;
};
const macOf = ({ interfaces }: PodNetworkStatus, name: string): string =>
  interfaces.find((entry) => entry.name === name)?.mac ?? '';

describe('second networks', () => {
  const pluginDir = join(stateDir, 'cni');
  const made = createPodNetwork({
    config: {
      ...{ nodeName: 'n', hostPrefix: PREFIX, stateDir, uidBase: 64_000 },
      ...{ podCidrV4: '10.198.3.0/24', podCidrV6: 'fd98:3::/64' },
    },
    ...{ runner: hostRunner, log: silentLogger, clock: systemClock },
    resolveNetwork: async ({ namespace, name }) => DEFINITIONS.get(`${namespace}/${name}`),
    bindingPlugins: () => ({ mine: { domainAttachmentType: 'tap', networkAttachmentDefinition: 'default/taps' } }),
    cniPluginDirs: [pluginDir, '/opt/cni/bin', '/usr/lib/cni', '/usr/libexec/cni'],
  });
  const setUp = (name: string, instance: VirtualMachineInstance, annotations?: Record<string, string>) =>
    made.setUp(pod(name, instance.metadata.namespace, annotations), instance, sandbox(name), signal);

  beforeAll(async () => {
    // a plugin of a binding: makes the tap that the guest opens
    await sh(`mkdir -p ${pluginDir}; cat > ${pluginDir}/test-tap <<'EOF'
#!/bin/sh
config=$(cat)
[ "$CNI_COMMAND" = ADD ] || exit 0
name=$(echo "$config" | sed -n 's/.*"logicNetworkName":"\\([a-z]*\\)".*/\\1/p')
[ "$name" = plugged ] || { echo '{"code":7,"msg":"no network named"}'; exit 1; }
nsenter --net="$CNI_NETNS" ip tuntap add "tap\${CNI_IFNAME#pod}" mode tap
echo '{"cniVersion":"1.0.0"}'
EOF
chmod +x ${pluginDir}/test-tap`);
    await made.start(signal);
  });
  afterAll(async () => {
    await made.destroy();
    for (const name of readdirSync('/run/netns').filter((entry) => entry.startsWith(PREFIX))) await sh(`ip netns del ${name}`);
    await sh(`ip link del ${BRIDGE} 2>/dev/null; ip link del ${ROUTED} 2>/dev/null; true`);
    rmSync(stateDir, { recursive: true, force: true });
  });

  it('lease the guest the address that the network gave its pod, and the routes alone that it named', async () => {
    const status = await setUp('a', vmi('a', { leased: {} }));
    const [address = ''] = status.interfaces[1]?.ipAddresses ?? [];
    expect(address).toMatch(/^10\.198\.9\.\d+$/);
    const client = await plugClient(`${PREFIX}-a`, macOf(status, 'leased'), bridgeOf(status, 'leased'));
    const lease = await requestLease(client, stateDir);
    expect(lease).toMatchObject({ ip: address, subnet: '255.255.255.0', staticroutes: '10.8.0.0/16 10.198.9.254' });
    expect(lease['router']).toBeUndefined();
    expect(await inPod(`${PREFIX}-a`, 'ip -4 -o addr')).not.toContain(address);
    // tearing down gives the address back to the network
    expect(existsSync(join(stateDir, 'ipam/default-leased', address))).toBe(true);
    await made.tearDown('uid-a');
    expect(existsSync(join(stateDir, 'ipam/default-leased', address))).toBe(false);
  });

  it('get the address that the pod asks for', async () => {
    const link = { name: 'leased', namespace: 'default', ips: ['10.198.9.77/24'] };
    const asked = { 'k8s.v1.cni.cncf.io/networks': JSON.stringify([link]) };
    const status = await setUp('ips', vmi('ips', { leased: {} }), asked);
    expect(status.interfaces[1]?.ipAddresses).toEqual(['10.198.9.77']);
    await made.tearDown('uid-ips');
  });

  it('have the MTU that the network gives them', async () => {
    const status = await setUp('mtu', vmi('mtu', { plain: {}, chain: {} }));
    expect(status.interfaces.slice(1).map(({ mtu }) => mtu)).toEqual([1400, 1300]);
    const annotation = JSON.parse(status.annotations?.['k8s.v1.cni.cncf.io/network-status'] ?? '');
    expect(annotation).toMatchObject([
      { interface: 'eth0', default: true },
      { name: 'default/plain', mtu: 1400 },
      { name: 'default/chain', mtu: 1300 },
    ]);
    await made.tearDown('uid-mtu');
  });

  it('stay as they are while others come and go', async () => {
    const before = await setUp('hot', vmi('hot', { plain: {} }));
    const tapOf = (): Promise<string> => inPod(`${PREFIX}-hot`, `cat /proc/net/dev | grep -o tap[0-9a-f]* | sort | tr "\\n" " "`);
    const index = await inPod(`${PREFIX}-hot`, `ip -o link show ${before.interfaces[1]?.tapName}`);
    const more = await made.change(pod('hot'), vmi('hot', { plain: {}, leased: {} }), sandbox('hot'), signal);
    expect((await tapOf()).trim().split(' ')).toHaveLength(3);
    // the very same link, which a QEMU may have open
    expect(await inPod(`${PREFIX}-hot`, `ip -o link show ${before.interfaces[1]?.tapName}`)).toBe(index);
    const client = await plugClient(`${PREFIX}-hot`, macOf(more, 'leased'), bridgeOf(more, 'leased'));
    expect((await requestLease(client, stateDir))['ip']).toBe(more.interfaces[2]?.ipAddresses[0]);
    await made.change(pod('hot'), vmi('hot', { plain: {}, leased: { state: 'absent' } }), sandbox('hot'), signal);
    expect((await tapOf()).trim().split(' ')).toHaveLength(2);
    expect(await inPod(`${PREFIX}-hot`, `ip -o link show ${before.interfaces[1]?.tapName}`)).toBe(index);
    await made.tearDown('uid-hot');
  });

  it('give way to another network behind the same tap, and the guest gets its address', async () => {
    const one = await setUp('re', vmi('re', { net: { of: 'plain' } }));
    const tap = (): Promise<string> => inPod(`${PREFIX}-re`, `ip -o link show ${one.interfaces[1]?.tapName} | cut -d: -f1`);
    const index = await tap();
    const client = await plugClient(`${PREFIX}-re`, macOf(one, 'net'), bridgeOf(one, 'net'));
    const change = (of: string) => made.change(pod('re'), vmi('re', { net: { of } }), sandbox('re'), signal);
    const two = await change('leased');
    expect(two.annotations?.['k8s.v1.cni.cncf.io/network-status']).toContain('default/leased');
    expect((await requestLease(client, stateDir))['ip']).toBe(two.interfaces[1]?.ipAddresses[0]);
    expect(await change('leased')).toEqual(two);
    expect((await change('plain')).interfaces[1]?.ipAddresses).toEqual([]);
    expect(await tap()).toBe(index);
    expect(existsSync(join(stateDir, 'ipam/default-leased', two.interfaces[1]?.ipAddresses[0] ?? ''))).toBe(false);
    await made.tearDown('uid-re');
  });

  it('take the place of the pod network', async () => {
    const status = await setUp('over', vmi('over', { routed: {} }, 'default', false));
    expect(status.podIPs).toEqual(status.interfaces[0]?.ipAddresses);
    expect(status.podIPs[0]).toMatch(/^10\.198\.9\./);
    const client = await plugClient(`${PREFIX}-over`, macOf(status, 'routed'));
    expect(await requestLease(client, stateDir)).toMatchObject({ ip: status.podIPs[0], router: '10.198.9.1' });
    expect(await inPod(client, 'busybox ping -c 1 -W 5 10.198.9.1')).toContain('1 packets received');
    expect(await sh(`ip -o route show table all | grep -c "${PREFIX}v" || true`)).toBe('0\n');
    expect(JSON.parse(status.annotations?.['k8s.v1.cni.cncf.io/network-status'] ?? '')).toMatchObject([
      { name: 'default/routed', interface: 'eth0', default: true, ips: status.podIPs },
    ]);
    await made.tearDown('uid-over');
  });

  it('of other namespaces are refused, those of "default" are for everybody', async () => {
    const use = (name: string, of: string) => setUp(name, vmi(name, { net: { of } }, 'mine'));
    await expect(use('n1', 'other/plain')).rejects.toThrow(/other\/plain belongs to another namespace/);
    expect((await use('n2', 'default/plain')).interfaces).toHaveLength(2);
    expect((await use('n3', 'plain')).annotations?.['k8s.v1.cni.cncf.io/network-status']).toContain('mine/plain');
    for (const name of ['n1', 'n2', 'n3']) await made.tearDown(`uid-${name}`);
  });

  it('are joined by the plugin of a binding, which makes the tap', async () => {
    const nic = { bridge: undefined, binding: { name: 'mine' }, of: 'plain' };
    const status = await setUp('plug', vmi('plug', { plugged: nic }));
    expect(await inPod(`${PREFIX}-plug`, 'ip -o link')).toContain(`${status.interfaces[1]?.tapName}:`);
    await expect(setUp('plug2', vmi('plug2', { unplugged: nic }))).rejects.toThrow(/no network named/);
    for (const name of ['plug', 'plug2']) await made.tearDown(`uid-${name}`);
  });
});
