// A platform of several nodes with four guests on them, each joined in another way.
import { type ImageServer, serveImages } from '@slipway/daemon';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect } from 'vitest';
import { type GuestShell, guestShell, SHELL_USER_DATA, shellVm } from './guest-shell.ts';
import { ask, type Asker, type Verdict, WHO_SCRIPT } from './network-probes.ts';
import { SERVICES } from './network-tables.ts';
import { guestImage, type Platform, startPlatform } from './platform.ts';

export const PATIENCE_MS = 240_000;
export const FAMILIES = [4, 6] as const;

export interface Service {
  spec: { clusterIPs?: string[]; ports?: { nodePort?: number }[]; healthCheckNodePort?: number };
  status?: { loadBalancer?: { ingress?: { ip: string }[] } };
}
export interface Nic {
  name: string;
  mac?: string;
  ipAddress?: string;
  ipAddresses?: string[];
  linkState?: string;
}
export interface Vmi {
  status?: { nodeName?: string; interfaces?: Nic[] };
}
interface NodeList {
  items: { metadata: { name: string; annotations: Record<string, string> } }[];
}

const POD = { name: 'default', pod: {} };
const LAB = { name: 'lab', multus: { networkName: 'lab' } };
export const LEASED = { name: 'leased', multus: { networkName: 'default/leased' } };

/** How each guest is joined, and on which node it is; `last` is the second of two and the third of three. */
export const GUESTS = {
  web: {
    at: 'first',
    namespace: 'default',
    interfaces: [
      {
        ...{ name: 'default', masquerade: {} },
        ports: [{ name: 'http', port: 80 }, { port: 8080 }, { port: 5353, protocol: 'UDP' }],
      },
      { name: 'lab', bridge: {} },
    ],
    networks: [{ name: 'default', pod: { vmNetworkCIDR: '10.77.0.0/24', vmIPv6NetworkCIDR: 'fd77::/120' } }, LAB],
    inside: { v4: '10.77.0.2', v6: 'fd77::2' },
  },
  near: {
    at: 'first',
    namespace: 'default',
    interfaces: [
      { name: 'default', masquerade: {} },
      { name: 'lab', bridge: {} },
      { name: 'leased', binding: { name: 'l2bridge' } },
    ],
    networks: [POD, LAB, LEASED],
    inside: { v4: '10.0.2.2', v6: 'fd10:0:2::2' },
  },
  twin: {
    at: 'second',
    namespace: 'default',
    interfaces: [{ name: 'default', bridge: {} }],
    networks: [POD],
    inside: undefined,
  },
  far: {
    at: 'last',
    namespace: 'elsewhere',
    interfaces: [{ name: 'default', masquerade: {} }],
    networks: [POD],
    inside: { v4: '10.0.2.2', v6: 'fd10:0:2::2' },
  },
} as const;
export type Name = keyof typeof GUESTS;
export const NAMES: readonly Name[] = ['web', 'near', 'twin', 'far'];

export const named = (kind: string, apiVersion: string, name: string, spec: object, namespace = 'default'): object => ({
  ...{ apiVersion, kind, metadata: { name, namespace } },
  spec,
});
export const ofFamily = (addresses: readonly string[], family: 4 | 6): string =>
  addresses.find((address) => address.includes(':') === (family === 6)) ?? `no IPv${family} address`;

export interface NetworkWorld {
  readonly platform: Platform;
  /** Addresses of this machine on the link of the nodes. */
  readonly machine: readonly string[];
  /** Addresses of the nodes on it. */
  readonly nodes: readonly { readonly name: string; readonly addresses: readonly string[] }[];
  readonly addressesOf: (guest: string) => readonly string[];
  readonly shellOf: (guest: string) => GuestShell;
  readonly askerOf: (name: string) => Asker;
  readonly run: (guest: string, command: string) => Promise<string>;
  readonly vmi: (name: Name, isReached?: (vmi: Vmi) => boolean) => Promise<Vmi>;
  readonly service: (name: string) => Promise<Service>;
  /** Asks until the answer is this one: agents act on what they hear of each other. */
  readonly answers: (who: string, address: string, port: number, expected: string) => Promise<Verdict>;
  readonly close: () => Promise<void>;
}

/** Starts the nodes, the Services of `SERVICES` and the guests. */
export async function networkWorld(count: number): Promise<NetworkWorld> {
  const { qcow2Path } = await guestImage('tiny');
  const platform = await startPlatform({ nodes: count });
  const { link } = JSON.parse(readFileSync(join(platform.dataDir, 'instance.json'), 'utf8')) as {
    link: { hostV4: string; hostV6: string };
  }; // what `up` wrote
  const images = await serveImages({ '/tiny.qcow2': qcow2Path }, link.hostV4);
  const close = async (): Promise<void> => {
    await images.close();
    await platform.destroy();
  };
  try {
    const linkOf = ({ metadata: { annotations } }: NodeList['items'][number]): string | undefined =>
      annotations['slipway.dev/link-addresses'];
    const { items } = await platform.until<NodeList>('nodes', (list) => list.items.every(linkOf));
    const nodes = items.map((node) => ({ name: node.metadata.name, addresses: linkOf(node)?.split(',') ?? [] }));
    await prepare(platform);
    const guests = new Map<string, { shell: GuestShell; addresses: readonly string[] }>();
    // one after the other: guests that boot at once slow each other down
    for (const name of NAMES) {
      const node = nodes[{ first: 0, second: 1, last: count - 1 }[GUESTS[name].at]]?.name ?? '';
      guests.set(name, await boot(platform, name, node, images));
    }
    return { ...probes(platform, guests), platform, machine: [link.hostV4, link.hostV6], nodes, close };
  } catch (error) {
    await close();
    throw error;
  }
}

async function prepare(platform: Platform): Promise<void> {
  const definition = (name: string, config: object): object =>
    named('NetworkAttachmentDefinition', 'k8s.cni.cncf.io/v1', name, {
      config: JSON.stringify({ name: `swnn-${name}`, ...config }),
    });
  await platform.kubectl('create', 'namespace', 'elsewhere');
  await platform.apply(definition('lab', { cniVersion: '0.4.0', type: 'bridge', bridge: 'br-swnn-lab', ipam: {} }));
  const ipam = { type: 'host-local', ranges: [[{ subnet: '10.198.77.0/24' }]], dataDir: `${platform.dataDir}/ipam` };
  await platform.apply(
    definition('leased', { cniVersion: '1.0.0', type: 'bridge', bridge: 'br-swnn-leased', isGateway: true, ipam }),
  );
  for (const [name, spec] of Object.entries(SERVICES)) await platform.apply(named('Service', 'v1', name, spec));
}

async function boot(
  platform: Platform,
  name: Name,
  node: string,
  images: ImageServer,
): Promise<{ shell: GuestShell; addresses: readonly string[] }> {
  const { namespace, interfaces, networks, inside } = GUESTS[name];
  const vm = shellVm(name, `${images.url}/tiny.qcow2`, {
    memory: '128Mi',
    spec: { subdomain: 'fellows', nodeSelector: { 'kubernetes.io/hostname': node } },
    seed: { cloudInitNoCloud: { userData: `${SHELL_USER_DATA}  - httpd -p '[::]:8080' -h /www\n` } },
  }) as {
    metadata: { namespace: string };
    spec: {
      template: { metadata: { labels: object }; spec: { networks: unknown; domain: { devices: { interfaces: unknown } } } };
    };
  }; // what shellVm makes
  const { template } = vm.spec;
  vm.metadata.namespace = namespace;
  template.metadata.labels = { app: name, fellow: 'yes', ...(name === 'web' || name === 'twin' ? { tier: 'server' } : {}) };
  [template.spec.networks, template.spec.domain.devices.interfaces] = [networks, interfaces];
  await platform.apply(vm);
  const shell = await guestShell(platform, `${name} -n ${namespace}`, '', PATIENCE_MS);
  const { status } = await platform.until<Vmi>(`vmi ${name} -n ${namespace}`, () => true);
  expect(status?.nodeName).toBe(node);
  const addresses = status?.interfaces?.[0]?.ipAddresses ?? [];
  await shell.run(WHO_SCRIPT);
  // the tiny guest has no client for DHCPv6, which would give it this address
  if (inside) await shell.run(`ip -6 addr add ${inside.v6}/120 dev eth0`);
  // with the pod's own address the node is the router, which sends no advertisements
  else await shell.run(`ip -6 addr add ${ofFamily(addresses, 6)}/128 dev eth0; ip -6 route add default via fe80::1:1 dev eth0`);
  return { shell, addresses };
}

type Probes = Omit<NetworkWorld, 'platform' | 'machine' | 'nodes' | 'close'>;

function probes(
  platform: Platform,
  guests: ReadonlyMap<string, { readonly shell: GuestShell; readonly addresses: readonly string[] }>,
): Probes {
  const guest = (name: string) => {
    const found = guests.get(name);
    if (found === undefined) throw new Error(`No guest ${name}`);
    return found;
  };
  const shellOf = (name: string): GuestShell => guest(name).shell;
  const askerOf = (name: string): Asker => (name === 'machine' ? 'machine' : shellOf(name));
  return {
    ...{ shellOf, askerOf },
    addressesOf: (name) => guest(name).addresses,
    run: (name, command) => shellOf(name).run(command),
    vmi: (name, isReached = () => true) =>
      platform.until<Vmi>(`vmi ${name} -n ${GUESTS[name].namespace}`, isReached, PATIENCE_MS),
    service: (name) => platform.until<Service>(`svc ${name}`, () => true),
    async answers(who, address, port, expected) {
      let last: Verdict = { answer: '', seen: '' };
      const message = `${who} asks ${address} port ${port}`;
      await expect
        .poll(async () => (last = await ask(askerOf(who), address, port)).answer, { timeout: PATIENCE_MS, message })
        .toBe(expected);
      return last;
    },
  };
}
