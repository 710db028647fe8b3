import { readFile, rm } from 'node:fs/promises';
import { join } from 'node:path';
import type { Pod, VirtualMachineInstance } from '@slipway/api';
import { type CommandRunner, ipCommand, type IpCommand, nftCommand, type NftCommand } from '@slipway/hostapi';
import type { Logger, TimerClock } from '@slipway/runtime';
import type { MovingNetwork, NodeConfig, PodNetwork, PodNetworkStatus, Sandbox } from '../contracts.ts';
import { nodeNamespace } from '../instance-link/plan-instance-link.ts';
import { AddressPool, type PodAddresses } from './address-pool.ts';
import { Cni, type CniDeps, DEFAULT_PLUGIN_DIRS } from './cni.ts';
import { autoconfiguredLinks, writeSysctl } from './forwarding.ts';
import { GuestConfigurator } from './guest-configurator.ts';
import { hostNames, type HostNames } from './host-names.ts';
import { guestResolver } from './guest-resolver.ts';
import { type Resolver, resolverOf } from './host-resolver.ts';
import type { BindingPlugins } from './bindings.ts';
import { networkAnnotationsOf } from './network-status.ts';
import type { NodePeers } from './node-peers.ts';
import { planNodeNetwork } from './plan-node-network.ts';
import { planPodNetwork, type PodNetworkPlan } from './plan-pod-network.ts';
import { PodLinks } from './pod-links.ts';
import { gatewaysOf } from './pod-networks.ts';
import { PodPlaces } from './pod-places.ts';
import { networkDirectory, type PodRecord, type PodRecords, podRecords } from './pod-records.ts';
import { madeTaps, secondGuests, SecondNetworks } from './second-networks.ts';
import { uplinkMtu } from './uplink.ts';

export interface PodNetworkDeps {
  readonly config: NodeConfig;
  readonly runner: CommandRunner;
  readonly log: Logger;
  readonly clock: TimerClock;
  /** `spec.config` of a NetworkAttachmentDefinition; undefined when there is none of that name. */
  resolveNetwork(key: { readonly namespace: string; readonly name: string }, signal: AbortSignal): Promise<string | undefined>;
  /** The other nodes of the installation; absent when there are none. */
  readonly peers?: Pick<NodePeers, keyof NodePeers>;
  /** Binding plugins that are registered now. */
  readonly bindingPlugins?: () => BindingPlugins;
  /** Device of the host that a pod has for one of its networks. */
  deviceFor?(pod: Pod, network: string): Promise<string | undefined>;
  /** The physical side of virtual functions of this host. */
  readonly portOf?: CniDeps['portOf'];
  /** Where CNI plugins are looked for. Default: the usual places. */
  readonly cniPluginDirs?: readonly string[];
}

// systemd-resolved keeps the servers it really asks in its own file.
const RESOLV_CONF = ['/etc/resolv.conf', '/run/systemd/resolve/resolv.conf'];
// Forwarding is per namespace; a shell is the cheapest way in, and its text is constant.
const ENTER_AND_TRANSLATE = `for path in net/ipv4/ip_forward net/ipv6/conf/all/forwarding net/ipv4/conf/all/route_localnet; do
  [ ! -e /proc/sys/$path ] || echo 1 > /proc/sys/$path
done
exec nft -f -`;

/** Creates the pod network of this node. Nothing on the host changes before `start`. */
export function createPodNetwork(deps: PodNetworkDeps): PodNetwork & MovingNetwork {
  return new HostPodNetwork(deps);
}

/** The pod network made of a bridge per node, a network namespace per pod, taps, nftables and CNI. */
class HostPodNetwork implements PodNetwork, MovingNetwork {
  readonly #deps: PodNetworkDeps;
  readonly #names: HostNames;
  readonly #ip: IpCommand;
  readonly #nft: NftCommand;
  readonly #second: SecondNetworks;
  readonly #guests: GuestConfigurator;
  readonly #records: PodRecords;
  readonly #links: PodLinks;
  readonly #places: PodPlaces;
  readonly #directory: string;
  #pool: Promise<AddressPool> | undefined;
  #mtu = 1500;
  #resolver: Resolver = { nameservers: [], searches: [] };

  constructor(deps: PodNetworkDeps) {
    this.#deps = deps;
    this.#names = hostNames(deps.config.hostPrefix);
    this.#ip = ipCommand(deps.runner);
    this.#nft = nftCommand(deps.runner);
    this.#links = new PodLinks({ ip: this.#ip, names: this.#names, log: deps.log });
    this.#guests = new GuestConfigurator({ log: deps.log, clock: deps.clock });
    this.#directory = networkDirectory(deps.config.stateDir);
    this.#records = podRecords(deps.config.stateDir);
    const { peers } = deps;
    this.#places = new PodPlaces({
      ...{ ip: this.#ip, nft: this.#nft, names: this.#names, links: this.#links, records: this.#records, peers },
    });
    this.#second = new SecondNetworks({
      ...{ ip: this.#ip, names: this.#names, links: this.#links, records: this.#records, log: deps.log },
      cni: new Cni({
        ...{ runner: deps.runner, ip: this.#ip, pluginDirs: deps.cniPluginDirs ?? DEFAULT_PLUGIN_DIRS },
        ...(deps.portOf && { portOf: deps.portOf }),
      }),
      resolveNetwork: (...args) => deps.resolveNetwork(...args),
      deviceFor: async (...args) => deps.deviceFor?.(...args),
      bridgesFile: join(this.#directory, 'bridges'),
    });
  }

  async start(signal: AbortSignal): Promise<void> {
    const { podCidrV4, podCidrV6 } = this.#deps.config;
    const links = await this.#ip.links(signal);
    this.#mtu = await uplinkMtu(this.#ip, links, signal);
    this.#resolver = resolverOf(await readAll(RESOLV_CONF), []);
    const plan = planNodeNetwork({
      names: this.#names,
      podCidrV4,
      podCidrV6,
      mtu: this.#mtu,
      serviceNetworks: this.#deps.config.serviceNetworks ?? [],
      isHidden: this.#deps.config.link?.hidesPods ?? false,
      link: this.#deps.config.link?.device,
      bridgeExists: links.some(({ ifname }) => ifname === this.#names.bridge),
      autoconfiguredLinks: await autoconfiguredLinks(),
    });
    for (const sysctl of plan.sysctls) await writeSysctl(sysctl);
    await this.#ip.batch(plan.ip, signal);
    await this.#nft.apply(plan.nft, signal);
    const pool = await this.#addresses();
    this.#deps.peers?.start(signal);
    for (const record of await this.#records.list()) {
      pool.reserve(record.owner, record.podUid);
      if (typeof record.place === 'object') await this.#places.leave(record, record.place.gone, signal);
    }
    await this.#publish();
    this.#guests.start();
    signal.addEventListener('abort', () => this.#guests.stop(), { once: true });
  }

  async setUp(
    pod: Pod,
    vmi: VirtualMachineInstance | undefined,
    sandbox: Sandbox,
    signal: AbortSignal,
  ): Promise<PodNetworkStatus> {
    const record = await this.#records.read(sandbox.podUid);
    if (record?.status && (await this.#isMade(record, signal))) return this.#serve(record, record.status);
    if (record) await this.#unmake(record, signal);
    const owner = ownerOf(vmi, sandbox.podUid);
    const plan = await this.#plan(pod, vmi, sandbox, await this.#addressesOf(owner, sandbox.podUid));
    return this.#perform(plan, { pod, sandbox, owner }, signal);
  }

  async setUpWaiting(pod: Pod, vmi: VirtualMachineInstance, sandbox: Sandbox, signal: AbortSignal): Promise<PodNetworkStatus> {
    const record = await this.#records.read(sandbox.podUid);
    if (record?.status && (await this.#isMade(record, signal))) return this.#serve(record, record.status);
    if (record) await this.#unmake(record, signal);
    const owner = ownerOf(vmi, sandbox.podUid);
    const source = vmi.status?.nodeName ?? '';
    const addresses = await this.#deps.peers?.addressAt(owner, source);
    if (addresses === undefined)
      throw new Error(`Node "${source}" has not said which address VMI ${vmi.metadata.name} has there`);
    (await this.#addresses()).reserve(owner, sandbox.podUid);
    const plan = await this.#plan(pod, vmi, sandbox, addresses);
    return this.#perform(plan, { pod, sandbox, owner, place: 'waiting' }, signal);
  }

  async expect(podUid: string, signal: AbortSignal): Promise<void> {
    const record = await this.#records.read(podUid);
    if (record?.status !== undefined && record.place === 'waiting') await this.#places.expect(record, signal);
  }

  async takeOver(podUid: string, signal: AbortSignal): Promise<void> {
    const record = await this.#records.read(podUid);
    if (!record?.status) throw new Error(`Pod ${podUid} has no network that a guest could move to`);
    if (typeof record.place === 'object') throw new Error(`The guest of pod ${podUid} has moved on to another node`);
    await this.#places.arrive(record, signal);
    await this.#publish();
  }

  async handOver(podUid: string, targetLink: readonly string[], signal: AbortSignal): Promise<void> {
    const record = await this.#records.read(podUid);
    if (!record) return; // torn down already
    const { peers } = this.#deps;
    if (peers === undefined) throw new Error(`The guest of pod ${podUid} cannot move: this node knows no other`);
    // on the disk first: an agent that starts now goes on here
    await this.#records.write({ ...record, place: { gone: targetLink } });
    await this.#places.leave(record, targetLink, signal);
    await this.#publish();
  }

  async #plan(
    pod: Pod,
    vmi: VirtualMachineInstance | undefined,
    sandbox: Sandbox,
    addresses: PodAddresses,
  ): Promise<PodNetworkPlan> {
    const owner = ownerOf(vmi, sandbox.podUid);
    const { podCidrV4, podCidrV6 } = this.#deps.config;
    return planPodNetwork({
      podUid: sandbox.podUid,
      netns: sandbox.netns,
      tapUid: sandbox.uid,
      vmi,
      owner,
      hostname: vmi?.spec.hostname || (vmi ?? pod).metadata.name || 'guest',
      addresses,
      podCidrV4,
      podCidrV6,
      mtu: this.#mtu,
      resolver: guestResolver({
        vmi,
        namespace: pod.metadata.namespace ?? 'default',
        host: this.#resolver,
        cluster: gatewaysOf(this.#deps.config),
      }),
      names: this.#names,
      ...(this.#deps.bindingPlugins && { plugins: this.#deps.bindingPlugins() }),
    });
  }

  /** What the VM has had on another node, or else what this node gives it. */
  async #addressesOf(owner: string, podUid: string): Promise<PodAddresses> {
    const pool = await this.#addresses();
    const brought = await this.#deps.peers?.addressFor(owner, pool.leases()[owner] !== undefined);
    return brought ?? pool.acquire(owner, podUid);
  }

  async #publish(): Promise<void> {
    await this.#places.publish((await this.#addresses()).leases());
  }

  async adopt(pod: Pod, vmi: VirtualMachineInstance, sandbox: Sandbox, signal: AbortSignal): Promise<PodNetworkStatus> {
    const record = await this.#records.read(sandbox.podUid);
    if (!record?.status || !(await this.#isMade(record, signal))) {
      throw new Error(`The network of pod ${pod.metadata.name} of VMI ${vmi.metadata.name} is gone; the VM must be restarted`);
    }
    return this.#serve(record, record.status);
  }

  async change(pod: Pod, vmi: VirtualMachineInstance, sandbox: Sandbox, signal: AbortSignal): Promise<PodNetworkStatus> {
    const record = await this.#records.read(sandbox.podUid);
    if (!record?.status) throw new Error(`The network of pod ${pod.metadata.name} is not complete yet`);
    const [v4 = '', v6 = ''] = record.status.podIPs;
    const plan = await this.#plan(pod, vmi, sandbox, { v4, v6 });
    const wanted = new Set(plan.attachments.map(({ podInterfaceName }) => podInterfaceName));
    // what a crash has left half-made is made anew
    const whole = record.attachments.filter(({ attachment, result }) => result !== undefined && wanted.has(attachment.ifname));
    const has = new Set(whole.map(({ attachment }) => attachment.ifname));
    const isLeft = (name: string): boolean => name === 'eth0' || has.has(name);
    const interfaces = record.status.interfaces.filter(({ podInterfaceName }) => isLeft(podInterfaceName));
    const base = { ...record, status: { ...record.status, interfaces } };
    // first of all nothing counts on them any more: a network whose links are missing would be made anew as a whole
    await this.#records.write({ ...base, attachments: record.attachments });
    for (const entry of record.attachments) {
      if (whole.includes(entry)) continue;
      this.#guests.withdraw(guestId(record.podUid, entry.attachment.ifname));
      await this.#second.unplug(entry, record.netns, signal);
    }
    const kept = await this.#rejoin(whole, plan, { pod, sandbox }, base, signal);
    await this.#records.write({ ...base, attachments: kept });
    const missing = plan.attachments.filter(({ podInterfaceName }) => !has.has(podInterfaceName));
    const attachments = await this.#second.attach(missing, { pod, sandbox, done: kept }, base, signal);
    const status: PodNetworkStatus = {
      ...record.status,
      interfaces: madeTaps(plan.taps, attachments),
      annotations: networkAnnotationsOf({ taps: plan.taps, podIPs: record.status.podIPs }, attachments),
    };
    const changed = { ...base, status, attachments };
    await this.#records.write(changed);
    return this.#serve(changed, status);
  }

  /** Puts other networks behind interfaces that stay, where the instance names others now. */
  async #rejoin(
    present: PodRecord['attachments'],
    plan: PodNetworkPlan,
    of: { readonly pod: Pod; readonly sandbox: Sandbox },
    base: Omit<PodRecord, 'attachments'>,
    signal: AbortSignal,
  ): Promise<PodRecord['attachments']> {
    let now = present;
    for (const entry of present) {
      const wanted = plan.attachments.find(({ podInterfaceName }) => podInterfaceName === entry.attachment.ifname);
      if (wanted?.join !== 'bridge' || !this.#second.isOfAnother(entry, wanted, of.pod)) continue;
      const put = (next: PodRecord['attachments'][number]): void => {
        now = now.map((other) => (other.attachment.ifname === next.attachment.ifname ? next : other));
      };
      this.#guests.withdraw(guestId(base.podUid, entry.attachment.ifname));
      const record = async (next: PodRecord['attachments'][number]): Promise<void> => {
        put(next);
        await this.#records.write({ ...base, attachments: now });
      };
      put(await this.#second.rejoin(entry, wanted, { ...of, done: [] }, record, signal));
    }
    return now;
  }

  async tearDown(podUid: string): Promise<void> {
    const signal = new AbortController().signal;
    const record = await this.#records.read(podUid);
    if (record) await this.#disconnect(record, signal);
    await this.#links.remove(podUid, record?.netns, signal);
    // of a guest that waits or has gone, another node has the addresses
    if (record?.place === undefined) await this.#deps.peers?.fallSilent(record?.status?.podIPs ?? [], signal);
    (await this.#addresses()).release(podUid);
    await this.#records.remove(podUid);
    await this.#publish();
  }

  async collectGarbage(livePodUids: ReadonlySet<string>): Promise<void> {
    const signal = new AbortController().signal;
    const records = await this.#records.list();
    for (const { podUid } of records) if (!livePodUids.has(podUid)) await this.tearDown(podUid);
    const networks = records.flatMap(({ attachments }) => attachments.map(({ attachment }) => attachment.config));
    await this.#second.collectGarbage(new Set(networks), signal);
    const keep = [...livePodUids].map((podUid) => this.#names.vethPrefix(podUid));
    const links = (await this.#ip.links(signal)).filter(
      ({ ifname }) => ifname.startsWith(this.#names.anyVethPrefix) && !keep.some((prefix) => ifname.startsWith(prefix)),
    );
    await this.#links.removeEach(
      links.map(({ ifname }) => `link del ${ifname}`),
      signal,
    );
  }

  async destroy(): Promise<void> {
    const signal = new AbortController().signal;
    for (const { podUid } of await this.#records.list()) await this.tearDown(podUid);
    this.#guests.stop();
    const { hostPrefix } = this.#deps.config;
    const made = await this.#second.madeBridges();
    const links = await this.#ip.links(signal);
    const namespaces = await this.#ip.namespaces(signal);
    await this.#links.removeEach(
      [
        ...links.filter(({ ifname }) => ifname.startsWith(hostPrefix)).map(({ ifname }) => `link del ${ifname}`),
        // a bridge for an attachment goes only when nobody else uses it
        ...made
          .filter((name) => links.some(({ ifname }) => ifname === name) && !links.some(({ master }) => master === name))
          .map((name) => `link del ${name}`),
        // that of the node itself belongs to the link of the nodes
        ...namespaces
          .filter((name) => name.startsWith(hostPrefix) && name !== nodeNamespace({ hostPrefix }))
          .map((name) => `netns del ${name}`),
      ],
      signal,
    );
    const { table, serviceTable, policyTable } = this.#names;
    for (const name of [table, serviceTable, policyTable]) await this.#nft.deleteTable({ family: 'inet', name }, signal);
    await rm(this.#directory, { recursive: true, force: true });
    this.#pool = undefined;
  }

  /** Whether what the record names stands. The sandbox may have been made anew since, with an empty namespace. */
  #isMade({ netns, status }: PodRecord, signal: AbortSignal): Promise<boolean> {
    const taps = (status?.interfaces ?? []).flatMap(({ tapName }) => tapName ?? []);
    return this.#links.exist(netns, taps, signal);
  }

  /** Takes back what was made for a pod, half of it perhaps, so that it can be made anew in the same sandbox. */
  async #unmake(record: PodRecord, signal: AbortSignal): Promise<void> {
    this.#deps.log.info({ pod: record.podUid }, 'making an incomplete pod network anew');
    await this.#disconnect(record, signal);
    await this.#links.empty(record, signal);
  }

  async #disconnect({ podUid, guests, attachments }: PodRecord, signal: AbortSignal): Promise<void> {
    for (const [index] of guests.entries()) this.#guests.withdraw(guestId(podUid, index));
    for (const [link] of secondGuests(attachments)) this.#guests.withdraw(guestId(podUid, link));
    for (const entry of attachments) await this.#second.detach(entry, signal);
  }

  async #perform(
    plan: PodNetworkPlan,
    of: { readonly pod: Pod; readonly sandbox: Sandbox; readonly owner: string; readonly place?: 'waiting' },
    signal: AbortSignal,
  ): Promise<PodNetworkStatus> {
    const { podUid, netns } = of.sandbox;
    const place = of.place && { place: of.place };
    const base = { podUid, netns, owner: of.owner, guests: plan.guests, hostRoutes: plan.hostRoutes, ...place };
    await this.#records.write({ ...base, attachments: [] });
    await this.#links.create({ podUid, netns }, plan.hostIp, signal);
    await Promise.all(plan.hostSysctls.map(writeSysctl));
    if (of.place === undefined) await this.#ip.batch(plan.hostRoutes, signal);
    await this.#ip.inNamespace(netns).batch(plan.podIp, signal);
    const serving = Promise.all(plan.guests.map((guest, index) => this.#guests.serve(guestId(podUid, index), netns, guest)));
    await Promise.all([serving, plan.podNft === '' ? undefined : this.#translate(netns, plan.podNft, signal)]);
    const attachments = await this.#second.attach(plan.attachments, { ...of, done: [] }, base, signal);
    // a network that takes the place of the pod's own gives the pod its addresses
    const replaced = attachments.find(({ attachment }) => attachment.ifname === 'eth0');
    const status: PodNetworkStatus = {
      podIPs: replaced?.ips ?? plan.podIPs,
      interfaces: madeTaps(plan.taps, attachments),
      annotations: networkAnnotationsOf(plan, attachments),
    };
    const record = { ...base, status, attachments };
    if (of.place === undefined) await this.#places.arrive(record, signal);
    else await this.#records.write(record);
    await this.#publish();
    await this.#serveSecond(record);
    return status;
  }

  async #translate(netns: string, ruleset: string, signal: AbortSignal): Promise<void> {
    const argv: [string, ...string[]] = ['nsenter', `--net=/run/netns/${netns}`, 'sh', '-c', ENTER_AND_TRANSLATE];
    await this.#deps.runner.run(argv, { stdin: ruleset }, signal);
  }

  async #serve(record: PodRecord, status: PodNetworkStatus): Promise<PodNetworkStatus> {
    (await this.#addresses()).reserve(record.owner, record.podUid);
    await Promise.all(
      record.guests.map((guest, index) => this.#guests.serve(guestId(record.podUid, index), record.netns, guest)),
    );
    await this.#serveSecond(record);
    return status;
  }

  async #serveSecond({ podUid, netns, attachments }: PodRecord): Promise<void> {
    const guests = secondGuests(attachments);
    await Promise.all(guests.map(([link, guest]) => this.#guests.serve(guestId(podUid, link), netns, guest)));
  }

  #addresses(): Promise<AddressPool> {
    const { podCidrV4, podCidrV6 } = this.#deps.config;
    const isElsewhere = (address: string): boolean => this.#deps.peers?.isElsewhere(address) ?? false;
    this.#pool ??= AddressPool.open(join(this.#directory, 'addresses.json'), { v4: podCidrV4, v6: podCidrV6 }, isElsewhere);
    return this.#pool;
  }
}

const guestId = (podUid: string, index: number | string): string => `${podUid}.${index}`;

/** The VM when there is one, so that addresses survive a restart. */
function ownerOf(vmi: VirtualMachineInstance | undefined, podUid: string): string {
  if (!vmi) return `pod/${podUid}`;
  const vm = vmi.metadata.ownerReferences?.find(({ controller, kind }) => controller && kind === 'VirtualMachine');
  return vm?.uid ?? vmi.metadata.uid ?? `pod/${podUid}`;
}

async function readAll(paths: readonly string[]): Promise<string[]> {
  return Promise.all(paths.map((path) => readFile(path, 'utf8').catch(() => '')));
}
