import { readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { Pod, VirtualMachineInstance } from '@slipway/api';
import { type CommandRunner, ipCommand, type IpCommand, nftCommand, type NftCommand } from '@slipway/hostapi';
import type { Logger, TimerClock } from '@slipway/runtime';
import type { NodeConfig, PodNetwork, PodNetworkStatus, Sandbox } from '../contracts.ts';
import { nodeNamespace } from '../instance-link/plan-instance-link.ts';
import { AddressPool, type PodAddresses } from './address-pool.ts';
import { parseCidr } from './cidr.ts';
import { Cni, type CniAttachment, DEFAULT_PLUGIN_DIRS } from './cni.ts';
import { autoconfiguredLinks, writeSysctl } from './forwarding.ts';
import { GuestConfigurator } from './guest-configurator.ts';
import { hostNames, type HostNames } from './host-names.ts';
import { guestResolver } from './guest-resolver.ts';
import { type Resolver, resolverOf } from './host-resolver.ts';
import { networkStatusAnnotation } from './network-status.ts';
import type { NodePeers } from './node-peers.ts';
import { planNodeNetwork } from './plan-node-network.ts';
import { planPodNetwork, type PodNetworkPlan, secondaryLinks } from './plan-pod-network.ts';
import { PodLinks } from './pod-links.ts';
import { gatewaysOf } from './pod-networks.ts';
import { type PodRecord, PodRecords } from './pod-records.ts';
import { uplinkMtu } from './uplink.ts';

export interface PodNetworkDeps {
  readonly config: NodeConfig;
  readonly runner: CommandRunner;
  readonly log: Logger;
  readonly clock: TimerClock;
  /** `spec.config` of a NetworkAttachmentDefinition; undefined when there is none of that name. */
  resolveNetwork(key: { readonly namespace: string; readonly name: string }, signal: AbortSignal): Promise<string | undefined>;
  /** The other nodes of the installation; absent when there are none. */
  readonly peers?: Pick<NodePeers, 'start' | 'answerFor' | 'fallSilent' | 'addressFor' | 'isElsewhere' | 'publish'>;
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
export function createPodNetwork(deps: PodNetworkDeps): PodNetwork {
  return new HostPodNetwork(deps);
}

/** The pod network made of a bridge per node, a network namespace per pod, taps, nftables and CNI. */
class HostPodNetwork implements PodNetwork {
  readonly #deps: PodNetworkDeps;
  readonly #names: HostNames;
  readonly #ip: IpCommand;
  readonly #nft: NftCommand;
  readonly #cni: Cni;
  readonly #guests: GuestConfigurator;
  readonly #records: PodRecords;
  readonly #links: PodLinks;
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
    this.#cni = new Cni({ runner: deps.runner, ip: this.#ip, pluginDirs: deps.cniPluginDirs ?? DEFAULT_PLUGIN_DIRS });
    this.#guests = new GuestConfigurator({ log: deps.log, clock: deps.clock });
    this.#directory = join(deps.config.stateDir, 'network');
    this.#records = new PodRecords(join(this.#directory, 'pods'));
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
      bridgeExists: links.some(({ ifname }) => ifname === this.#names.bridge),
      autoconfiguredLinks: await autoconfiguredLinks(),
    });
    for (const sysctl of plan.sysctls) await writeSysctl(sysctl);
    await this.#ip.batch(plan.ip, signal);
    await this.#nft.apply(plan.nft, signal);
    const pool = await this.#addresses();
    for (const record of await this.#records.list()) pool.reserve(record.owner, record.podUid);
    this.#deps.peers?.start(signal);
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
    const { plan, owner } = await this.#plan(pod, vmi, sandbox);
    return this.#perform(plan, { pod, sandbox, owner }, signal);
  }

  async #plan(
    pod: Pod,
    vmi: VirtualMachineInstance | undefined,
    sandbox: Sandbox,
  ): Promise<{ readonly plan: PodNetworkPlan; readonly owner: string }> {
    const owner = ownerOf(vmi, sandbox.podUid);
    const addresses = await this.#addressesOf(owner, sandbox.podUid, vmi);
    const { podCidrV4, podCidrV6 } = this.#deps.config;
    const plan = planPodNetwork({
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
    });
    return { plan, owner };
  }

  /** What the VM has had on another node, or else what this node gives it. */
  async #addressesOf(owner: string, podUid: string, vmi: VirtualMachineInstance | undefined): Promise<PodAddresses> {
    const pool = await this.#addresses();
    // a guest with the pod's own address has been told the router of the node it was on
    const brought = hasBridge(vmi) ? undefined : await this.#deps.peers?.addressFor(owner, pool.leases()[owner] !== undefined);
    return brought ?? pool.acquire(owner, podUid);
  }

  /** Tells the other nodes what is where. */
  async #publish(): Promise<void> {
    const { peers, config } = this.#deps;
    if (peers === undefined) return;
    const pool = await this.#addresses();
    const here = (await this.#records.list()).flatMap(({ status }) => status?.podIPs ?? []);
    const networks = [parseCidr(config.podCidrV4), parseCidr(config.podCidrV6)];
    const visitors = here.filter((address) => !networks.some((network) => network.contains(address)));
    // addresses of pods without a guest go with their pods
    const ofVms = Object.entries(pool.leases()).filter(([owner]) => !owner.startsWith('pod/'));
    peers.publish(Object.fromEntries(ofVms), visitors);
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
    const { plan } = await this.#plan(pod, vmi, sandbox);
    const { podUid, netns, owner, guests } = record;
    const wanted = new Set(plan.attachments.map(({ podInterfaceName }) => podInterfaceName));
    // what a crash has left half-made is made anew
    const whole = record.attachments.filter(({ attachment, result }) => result !== undefined && wanted.has(attachment.ifname));
    const has = new Set(whole.map(({ attachment }) => attachment.ifname));
    const isLeft = (name: string): boolean => name === 'eth0' || has.has(name);
    const interfaces = record.status.interfaces.filter(({ podInterfaceName }) => isLeft(podInterfaceName));
    const base = { podUid, netns, owner, guests, status: { ...record.status, interfaces } };
    // first of all nothing counts on them any more: a network whose links are missing would be made anew as a whole
    await this.#records.write({ ...base, attachments: record.attachments });
    for (const entry of record.attachments) if (!whole.includes(entry)) await this.#unplug(entry, netns, signal);
    await this.#records.write({ ...base, attachments: whole });
    const missing = plan.attachments.filter(({ podInterfaceName }) => !has.has(podInterfaceName));
    const attachments = await this.#attach(missing, { pod, sandbox, done: whole }, base, signal);
    const status: PodNetworkStatus = {
      ...record.status,
      interfaces: plan.taps,
      annotations: { 'k8s.v1.cni.cncf.io/network-status': networkStatusAnnotation(plan, attachments) },
    };
    await this.#records.write({ ...base, status, attachments });
    return status;
  }

  /** Takes a second network away whose tap no QEMU has open any more. */
  async #unplug({ attachment, result }: PodRecord['attachments'][number], netns: string, signal: AbortSignal): Promise<void> {
    const { tap, bridge } = secondaryLinks(attachment.ifname);
    const lines = [`link del ${tap}`, `link del ${bridge}`];
    await this.#links.removeEach(lines, signal, this.#ip.inNamespace(netns));
    await this.#detach(attachment, result, signal);
  }

  async tearDown(podUid: string): Promise<void> {
    const signal = new AbortController().signal;
    const record = await this.#records.read(podUid);
    if (record) await this.#disconnect(record, signal);
    await this.#links.remove(podUid, record?.netns, signal);
    await this.#deps.peers?.fallSilent(record?.status?.podIPs ?? [], signal);
    (await this.#addresses()).release(podUid);
    await this.#records.remove(podUid);
    await this.#publish();
  }

  async collectGarbage(livePodUids: ReadonlySet<string>): Promise<void> {
    const signal = new AbortController().signal;
    const records = await this.#records.list();
    for (const { podUid } of records) if (!livePodUids.has(podUid)) await this.tearDown(podUid);
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
    const made = await this.#madeBridges();
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
    const taps = (status?.interfaces ?? []).map(({ tapName }) => tapName);
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
    for (const { attachment, result } of attachments) await this.#detach(attachment, result, signal);
  }

  async #perform(
    plan: PodNetworkPlan,
    of: { readonly pod: Pod; readonly sandbox: Sandbox; readonly owner: string },
    signal: AbortSignal,
  ): Promise<PodNetworkStatus> {
    const { podUid, netns } = of.sandbox;
    const base = { podUid, netns, owner: of.owner, guests: plan.guests };
    await this.#records.write({ ...base, attachments: [] });
    await this.#links.create({ podUid, netns }, plan.hostIp, signal);
    await Promise.all(plan.hostSysctls.map(writeSysctl));
    await this.#ip.inNamespace(netns).batch(plan.podIp, signal);
    const serving = Promise.all(plan.guests.map((guest, index) => this.#guests.serve(guestId(podUid, index), netns, guest)));
    await Promise.all([serving, plan.podNft === '' ? undefined : this.#translate(netns, plan.podNft, signal)]);
    const attachments = await this.#attach(plan.attachments, { ...of, done: [] }, base, signal);
    const status: PodNetworkStatus = {
      podIPs: plan.podIPs,
      interfaces: plan.taps,
      annotations: { 'k8s.v1.cni.cncf.io/network-status': networkStatusAnnotation(plan, attachments) },
    };
    await this.#records.write({ ...base, status, attachments });
    await this.#deps.peers?.answerFor(plan.podIPs, signal);
    await this.#publish();
    return status;
  }

  async #translate(netns: string, ruleset: string, signal: AbortSignal): Promise<void> {
    const argv: [string, ...string[]] = ['nsenter', `--net=/run/netns/${netns}`, 'sh', '-c', ENTER_AND_TRANSLATE];
    await this.#deps.runner.run(argv, { stdin: ruleset }, signal);
  }

  async #attach(
    missing: PodNetworkPlan['attachments'],
    { pod, sandbox, done: before }: { readonly pod: Pod; readonly sandbox: Sandbox; readonly done: PodRecord['attachments'] },
    base: Omit<PodRecord, 'attachments'>,
    signal: AbortSignal,
  ): Promise<PodRecord['attachments']> {
    const done = [...before];
    for (const wanted of missing) {
      const key = networkKey(wanted.networkName, pod.metadata.namespace ?? 'default');
      const config = await this.#deps.resolveNetwork(key, signal);
      if (config === undefined) {
        throw new Error(`NetworkAttachmentDefinition ${key.namespace}/${key.name} does not exist; create it and the VM goes on`);
      }
      const attachment: CniAttachment = {
        podUid: sandbox.podUid,
        netns: sandbox.netns,
        ifname: wanted.podInterfaceName,
        hostLink: this.#names.veth(sandbox.podUid, wanted.podInterfaceName),
        mac: wanted.mac,
        config,
        podName: pod.metadata.name ?? '',
        podNamespace: key.namespace,
      };
      // recorded before it is made, so that whatever a crash leaves is removed
      await this.#records.write({ ...base, attachments: [...done, { attachment, result: undefined }] });
      const { raw, ips, createdBridge } = await this.#cni.add(attachment, signal);
      if (createdBridge !== undefined) await this.#rememberBridge(createdBridge);
      await this.#ip.inNamespace(sandbox.netns).batch(wanted.podIp, signal);
      done.push({ attachment, result: raw, ips, networkName: `${key.namespace}/${key.name}` });
    }
    return done;
  }

  async #detach(attachment: CniAttachment, result: unknown, signal: AbortSignal): Promise<void> {
    try {
      await this.#cni.delete(attachment, result, signal);
    } catch (error) {
      // the namespace is removed next, and with it what the plugin made in there
      this.#deps.log.warn({ pod: attachment.podUid, error: String(error) }, 'CNI plugin failed to detach a network');
    }
  }

  async #serve(record: PodRecord, status: PodNetworkStatus): Promise<PodNetworkStatus> {
    (await this.#addresses()).reserve(record.owner, record.podUid);
    await Promise.all(
      record.guests.map((guest, index) => this.#guests.serve(guestId(record.podUid, index), record.netns, guest)),
    );
    return status;
  }

  #addresses(): Promise<AddressPool> {
    const { podCidrV4, podCidrV6 } = this.#deps.config;
    const isElsewhere = (address: string): boolean => this.#deps.peers?.isElsewhere(address) ?? false;
    this.#pool ??= AddressPool.open(join(this.#directory, 'addresses.json'), { v4: podCidrV4, v6: podCidrV6 }, isElsewhere);
    return this.#pool;
  }

  async #madeBridges(): Promise<readonly string[]> {
    const text = await readFile(join(this.#directory, 'bridges'), 'utf8').catch(() => '');
    return text.split('\n').filter(Boolean);
  }

  async #rememberBridge(name: string): Promise<void> {
    await writeFile(join(this.#directory, 'bridges'), `${name}\n`, { flag: 'a' });
  }
}

const guestId = (podUid: string, index: number): string => `${podUid}.${index}`;

/** The VM when there is one, so that addresses survive a restart. */
function ownerOf(vmi: VirtualMachineInstance | undefined, podUid: string): string {
  if (!vmi) return `pod/${podUid}`;
  const vm = vmi.metadata.ownerReferences?.find(({ controller, kind }) => controller && kind === 'VirtualMachine');
  return vm?.uid ?? vmi.metadata.uid ?? `pod/${podUid}`;
}

const hasBridge = (vmi: VirtualMachineInstance | undefined): boolean =>
  vmi?.spec.domain.devices.interfaces?.some(({ name, bridge }) => {
    const network = vmi.spec.networks?.find((one) => one.name === name);
    return bridge !== undefined && network?.pod !== undefined;
  }) ?? false;

function networkKey(networkName: string, namespace: string): { readonly namespace: string; readonly name: string } {
  const slash = networkName.indexOf('/');
  if (slash < 0) return { namespace, name: networkName };
  return { namespace: networkName.slice(0, slash), name: networkName.slice(slash + 1) };
}

async function readAll(paths: readonly string[]): Promise<string[]> {
  return Promise.all(paths.map((path) => readFile(path, 'utf8').catch(() => '')));
}
