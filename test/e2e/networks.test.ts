// What a guest sees of its networks: bindings, second networks, and why some cannot be had.
import { execFile } from 'node:child_process';
import { type ImageServer, serveImages } from '@slipway/daemon';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type GuestShell, guestShell, shellVm } from './src/guest-shell.ts';
import { guestImage, type Platform, startPlatform } from './src/platform.ts';

/** `SLIPWAY_E2E_LONG=1` boots a guest for each further binding, and on two nodes. */
const isLong = process.env['SLIPWAY_E2E_LONG'] === '1';
const BRIDGES = ['br-swnet-a', 'br-swnet-b'] as const;
const BOOT_MS = 240_000;

interface Nic {
  name: string;
  mac?: string;
  ipAddress?: string;
  linkState?: string;
  queueCount?: number;
}
interface Vmi {
  spec: { networks?: { name: string; multus?: { networkName: string } }[] };
  status?: { phase?: string; nodeName?: string; interfaces?: Nic[]; conditions?: { type: string; message?: string }[] };
}

const run = promisify(execFile);
const nicOf = ({ status }: Vmi, name: string): Nic | undefined => status?.interfaces?.find((entry) => entry.name === name);

/** A network with addresses of its own, whose router is this machine. */
const definition = (name: string, bridge: string, subnet: string, namespace = 'default'): object => ({
  ...{ apiVersion: 'k8s.cni.cncf.io/v1', kind: 'NetworkAttachmentDefinition', metadata: { name, namespace } },
  spec: {
    config: JSON.stringify({
      ...{ cniVersion: '1.0.0', name: `swnet-${name}`, type: 'bridge', bridge, isGateway: true },
      ipam: { type: 'host-local', ranges: [[{ subnet }]], dataDir: `/run/swnet-e2e/${name}` },
    }),
  },
});

interface Networks {
  readonly interfaces: readonly object[];
  readonly networks: readonly object[];
}

/** A guest that takes commands, with these interfaces instead of the usual one. */
function guestWith(name: string, url: string, { interfaces, networks }: Networks, devices: object = {}): object {
  const vm = shellVm(name, url, { memory: '128Mi' }) as { spec: { template: { spec: Record<string, unknown> } } };
  const { spec } = vm.spec.template;
  const domain = spec['domain'] as { devices: object };
  spec['domain'] = { ...domain, devices: { ...domain.devices, ...devices, interfaces } };
  spec['networks'] = networks;
  return vm;
}

/** An instance that never gets as far as a boot. */
const refusedInstance = (name: string, { interfaces, networks }: Networks): object => ({
  ...{ apiVersion: 'kubevirt.io/v1', kind: 'VirtualMachineInstance', metadata: { name } },
  spec: { terminationGracePeriodSeconds: 0, domain: { memory: { guest: '64Mi' }, devices: { interfaces } }, networks },
});

async function cleanUp(platform: Platform | undefined, images: ImageServer | undefined): Promise<void> {
  await images?.close();
  await platform?.destroy();
  for (const bridge of BRIDGES) await run('ip', ['link', 'del', bridge]).catch(() => {}); // made by the host's plugin
  await run('rm', ['-rf', '/run/swnet-e2e']);
}

describe('networks of a guest', () => {
  let platform: Platform;
  let images: ImageServer;
  let shell: GuestShell;
  let image = '';
  const primary = {
    name: 'default',
    masquerade: {},
    ports: [{ port: 80 }, { port: 5353, protocol: 'UDP' }],
    dhcpOptions: { ntpServers: ['192.0.2.123'], privateOptions: [{ option: 240, value: 'mine' }] },
  };
  const pod = { name: 'default', pod: { vmNetworkCIDR: '10.77.0.0/24' } };
  const edit = (interfaces: object[], networks: object[]): Promise<string> => {
    const spec = { template: { spec: { domain: { devices: { interfaces } }, networks } } };
    return platform.kubectl('patch', 'vm', 'net', '--type=merge', '-p', JSON.stringify({ spec }));
  };
  const second = (more: object = {}) => ({ name: 'lab', bridge: {}, ...more });
  const lab = (networkName: string) => ({ name: 'lab', multus: { networkName } });
  /** The address that the guest leases on its second card, when one is offered. */
  const lease = (subnet: string): Promise<string> =>
    shell.run(`ip link set eth1 up; for i in $(seq 20); do
udhcpc -i eth1 -n -q -t 3 -T 1 -s /bin/true >/tmp/lease 2>&1; grep 'lease of ${subnet}' /tmp/lease && break; sleep 0.5; done; cat /tmp/lease`);

  beforeAll(async () => {
    const { qcow2Path } = await guestImage('tiny');
    images = await serveImages({ '/tiny.qcow2': qcow2Path });
    image = `${images.url}/tiny.qcow2`;
    platform = await startPlatform();
    await platform.apply(definition('first', BRIDGES[0], '10.199.1.0/24'));
    await platform.apply(definition('other', BRIDGES[1], '10.199.2.0/24'));
    await platform.kubectl('create', 'namespace', 'foreign');
    await platform.apply(definition('theirs', BRIDGES[0], '10.199.3.0/24', 'foreign'));
    await platform.apply(guestWith('net', image, { interfaces: [primary], networks: [pod] }));
    shell = await guestShell(platform, 'net', '', BOOT_MS);
  }, 400_000);
  afterAll(() => cleanUp(platform, images));

  /** Somebody on the second network reaches the guest, and does not while a policy for it is there; the pod network goes on. */
  async function provePolicy(vmi: Vmi, address: string): Promise<void> {
    const read = (host: string): Promise<string> =>
      fetch(`http://${host}/probe`, { headers: { connection: 'close' }, signal: AbortSignal.timeout(3_000) }).then(
        (answer) => answer.text(),
        () => 'silence',
      );
    const becomes = (expected: string) =>
      expect.poll(() => read(address), { timeout: 120_000, message: 'on the second network' }).toContain(expected);
    await shell.run('echo here > /www/probe');
    await becomes('here');
    await platform.apply({
      ...{ apiVersion: 'k8s.cni.cncf.io/v1beta1', kind: 'MultiNetworkPolicy' },
      metadata: { name: 'nobody', annotations: { 'k8s.v1.cni.cncf.io/policy-for': 'first' } },
      spec: { podSelector: { matchLabels: { 'vm.kubevirt.io/name': 'net' } }, policyTypes: ['Ingress'] },
    });
    await becomes('silence');
    await expect.poll(() => read(vmi.status?.interfaces?.[0]?.ipAddress ?? ''), { timeout: 120_000 }).toContain('here');
    expect(await shell.run('ping -c 1 -W 20 10.199.1.1')).toContain('1 packets received');
    await platform.kubectl('delete', 'multi-policy', 'nobody');
    await becomes('here');
  }

  it('has the address range and the ports that it asks for', async () => {
    expect(await shell.run('ip -4 -o addr show eth0')).toContain('10.77.0.2/24');
    const options = await shell.run('udhcpc -i eth0 -n -q -t 5 -T 1 -O ntpsrv -s /bin/true 2>&1');
    expect(options).toContain('lease of 10.77.0.2 obtained');
    const { status } = await platform.until<Vmi>('vmi net', () => true);
    const address = status?.interfaces?.[0]?.ipAddress ?? '';
    // what is not listed is answered by the pod, which serves nothing there
    const local = 'echo here > /www/probe; httpd -p 81 -h /www; wget -q -O - http://127.0.0.1:81/probe';
    expect(await shell.run(local)).toContain('here');
    await expect(fetch(`http://${address}:81/probe`)).rejects.toThrow();
    expect(await fetch(`http://${address}:80/probe`).then((answer) => answer.text())).toContain('here');
  }, 120_000);

  it('gets a second card while it runs, another network behind it, and gives it back', async () => {
    await edit([primary, second()], [pod, lab('first')]);
    const plugged = await platform.until<Vmi>('vmi net', (vmi) => nicOf(vmi, 'lab')?.linkState === 'up', 120_000);
    const first = nicOf(plugged, 'lab')?.ipAddress ?? '';
    expect(first).toMatch(/^10\.199\.1\./);
    expect(await lease('10.199.1.')).toContain(`lease of ${first} obtained`);
    expect(await shell.run(`ip addr add ${first}/24 dev eth1; ping -c 1 -W 20 10.199.1.1`)).toContain('1 packets received');
    await provePolicy(plugged, first);

    await edit([primary, second()], [pod, lab('other')]);
    const moved = (vmi: Vmi): boolean => nicOf(vmi, 'lab')?.ipAddress?.startsWith('10.199.2.') === true;
    const other = nicOf(await platform.until<Vmi>('vmi net', moved, 120_000), 'lab');
    expect(other?.mac).toBe(nicOf(plugged, 'lab')?.mac);
    expect(await lease('10.199.2.')).toContain(`lease of ${other?.ipAddress} obtained`);
    const vm = await platform.until<Vmi>('vm net', () => true);
    expect(vm.status?.conditions?.map(({ type }) => type)).not.toContain('RestartRequired');

    await edit([primary, second({ state: 'down' })], [pod, lab('other')]);
    await platform.until<Vmi>('vmi net', (vmi) => nicOf(vmi, 'lab')?.linkState === 'down', 120_000);
    expect(
      await shell.run(
        'for i in $(seq 100); do grep -q 0 /sys/class/net/eth1/carrier && break; sleep 0.2; done; cat /sys/class/net/eth1/carrier',
      ),
    ).toContain('0');
    await edit([primary, second({ state: 'absent' })], [pod, lab('other')]);
    const isGone = (vmi: Vmi): boolean =>
      nicOf(vmi, 'lab') === undefined && !vmi.spec.networks?.some(({ name }) => name === 'lab');
    await platform.until<Vmi>('vmi net', isGone, 120_000);
    expect(
      await shell.run('for i in $(seq 100); do [ -e /sys/class/net/eth1 ] || break; sleep 0.2; done; ls /sys/class/net'),
    ).not.toContain('eth1');
  }, 600_000);

  it('says why it cannot have some', async () => {
    const own = { name: 'default', pod: {} };
    const refusals: [string, Networks, string][] = [
      [
        'passt',
        { interfaces: [{ name: 'default', passtBinding: {} }], networks: [own] },
        'needs a libvirt that joins it by vhost-user',
      ],
      ['foreign', { interfaces: [second()], networks: [lab('foreign/theirs')] }, 'belongs to another namespace'],
      [
        'device',
        { interfaces: [{ name: 'lab', sriov: {} }], networks: [lab('first')] },
        'was given no device for network default/first',
      ],
      ['plugin', { interfaces: [{ name: 'default', binding: { name: 'none' } }], networks: [own] }, 'none'],
    ];
    for (const [name, networks, why] of refusals) {
      const applied = await platform.apply(refusedInstance(name, networks)).catch(String);
      if (applied.includes('denied')) {
        expect(applied).toContain(why);
        continue;
      }
      interface Events {
        items: { message?: string; involvedObject: { name: string } }[];
      }
      const isSaid = ({ items }: Events): boolean =>
        items.some(({ message, involvedObject }) => involvedObject.name === name && message?.includes(why));
      await platform.until<Events>('event --field-selector=reason=SyncFailed', isSaid, 120_000);
      await platform.kubectl('delete', 'vmi', name, '--timeout=120s');
    }
  }, 600_000);

  it.runIf(isLong).each<[string, Networks, object, RegExp]>([
    [
      'bridge',
      {
        interfaces: [{ name: 'default', bridge: {}, macAddress: '02:00:00:5e:00:01' }],
        networks: [{ name: 'default', pod: {} }],
      },
      {},
      /inet 10\.244\.\d+\.\d+\/24/,
    ],
    [
      'default',
      { interfaces: [{ name: 'lab', bridge: {} }], networks: [{ name: 'lab', multus: { networkName: 'first', default: true } }] },
      {},
      /inet 10\.199\.1\.\d+\/24/,
    ],
    [
      'queues',
      {
        interfaces: [{ name: 'default', masquerade: {}, pciAddress: '0000:09:00.0', acpiIndex: 7 }],
        networks: [{ name: 'default', pod: { vmIPv6NetworkCIDR: 'fd77::/120' } }],
      },
      { networkInterfaceMultiqueue: true },
      /inet 10\.0\.2\.2\/24/,
    ],
  ])(
    'boots with the binding %s',
    async (name, networks, devices, address) => {
      await platform.apply(guestWith(`long-${name}`, image, networks, devices));
      const guest = await guestShell(platform, `long-${name}`, '', BOOT_MS);
      const seen = await guest.run('ip -4 -o addr show eth0; ip link show eth0');
      expect(seen).toMatch(address);
      const { status } = await platform.until<Vmi>(`vmi long-${name}`, () => true);
      expect(seen).toContain(status?.interfaces?.[0]?.mac);
      await platform.kubectl('delete', 'vm', `long-${name}`, '--timeout=120s');
    },
    600_000,
  );
});
