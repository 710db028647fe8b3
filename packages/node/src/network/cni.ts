import { type CommandRunner, HostError, type IpCommand } from '@slipway/hostapi';
import { type BridgeNetwork, bridgeNetworkOf, ovsNetworkOf, parseNetworkConfig } from './cni-config.ts';
import { OvsPorts } from './cni-ovs.ts';
import { type SriovPortDeps, SriovPorts, sriovNetworkOf } from './cni-sriov.ts';
import { CniPlugins, isSince } from './cni-plugins.ts';
import type { NetworkRequest } from './cni-request.ts';
import { builtInResult, deviceResult, readCniResult } from './cni-result.ts';

export interface CniDeps {
  readonly runner: CommandRunner;
  readonly ip: IpCommand;
  /** Where plugins are looked for, in order. */
  readonly pluginDirs: readonly string[];
  /** The physical side of virtual functions; absent: this node has none. */
  readonly portOf?: SriovPortDeps['portOf'];
}

/** One interface of one pod that CNI makes. */
export interface CniAttachment {
  readonly podUid: string;
  readonly netns: string;
  /** Name of the interface in the pod. */
  readonly ifname: string;
  /** Host end of the veth pair when the built-in bridge makes it. */
  readonly hostLink: string;
  readonly mac: string;
  /** `spec.config` of the NetworkAttachmentDefinition. */
  readonly config: string;
  readonly podName: string;
  readonly podNamespace: string;
  readonly request?: NetworkRequest;
}

export interface CniResult {
  /** Addresses that the network gave, without prefix length. */
  readonly ips: readonly string[];
  /** What the plugins answered, kept for CHECK and DEL. */
  readonly raw: unknown;
  /** A bridge that did not exist before. */
  readonly createdBridge: string | undefined;
}

const DEFAULT_PLUGIN_DIRS = ['/opt/cni/bin', '/usr/lib/cni', '/usr/libexec/cni'];

export { DEFAULT_PLUGIN_DIRS };

/**
 * Attaches pods to networks described by CNI configurations: a plain bridge, of the kernel or of Open vSwitch, by itself,
 * anything else by the host's plugins.
 */
export class Cni {
  readonly #deps: CniDeps;
  readonly #plugins: CniPlugins;
  readonly #ovs: OvsPorts;
  readonly #sriov: SriovPorts;

  constructor(deps: CniDeps) {
    this.#deps = deps;
    this.#plugins = new CniPlugins(deps);
    this.#ovs = new OvsPorts(deps);
    this.#sriov = new SriovPorts({ ip: deps.ip, portOf: deps.portOf ?? (() => undefined) });
  }

  /** Throws HostError with what is missing or what the plugin said. */
  async add(attachment: CniAttachment, signal: AbortSignal): Promise<CniResult> {
    const network = parseNetworkConfig(attachment.config);
    const bridge = bridgeNetworkOf(network);
    if (bridge) return this.#addToBridge(attachment, bridge, signal);
    const ovs = ovsNetworkOf(network);
    if (ovs && !(await this.#plugins.has('ovs'))) {
      await this.#ovs.add(attachment, ovs, signal);
      return { ips: [], raw: builtInResult({ ...attachment, bridge: ovs.bridge }), createdBridge: undefined };
    }
    const sriov = sriovNetworkOf(network);
    if (sriov && !(await this.#plugins.has('sriov'))) {
      await this.#sriov.add(attachment, sriov, signal);
      return { ips: [], raw: deviceResult(attachment), createdBridge: undefined };
    }
    let previous: unknown;
    for (const plugin of network.plugins)
      previous = await this.#plugins.invoke('ADD', { network, plugin }, attachment, previous, signal);
    const ips = readCniResult(previous, attachment.ifname).ips.map(({ address }) => address.split('/')[0] ?? '');
    return { ips, raw: previous ?? {}, createdBridge: undefined };
  }

  /** Undoes `add`, with what it answered; what is gone already is no error. */
  async delete(attachment: CniAttachment, result: unknown, signal: AbortSignal): Promise<void> {
    const network = parseNetworkConfig(attachment.config);
    if (bridgeNetworkOf(network)) {
      await this.#deps.ip.batch([`link del ${attachment.hostLink}`], signal, { force: true }).catch(ignoreHostError);
      return;
    }
    if (ovsNetworkOf(network) && !(await this.#plugins.has('ovs'))) return this.#ovs.delete(attachment, signal);
    if (sriovNetworkOf(network) && !(await this.#plugins.has('sriov'))) return this.#sriov.delete(attachment, signal);
    // before 0.4.0 plugins were not told the result
    const previous = isSince(network.cniVersion, '0.4.0') ? result : undefined;
    for (const plugin of [...network.plugins].reverse())
      await this.#plugins.invoke('DEL', { network, plugin }, attachment, previous, signal);
  }

  /** Throws when the attachment is not what `add` made. Networks that cannot tell, or are not to be asked, pass. */
  async check(attachment: CniAttachment, result: unknown, signal: AbortSignal): Promise<void> {
    const network = parseNetworkConfig(attachment.config);
    if (bridgeNetworkOf(network)) {
      await this.#deps.ip.exec(['link', 'show', 'dev', attachment.hostLink], signal);
      return;
    }
    const ovs = ovsNetworkOf(network);
    if (ovs && !(await this.#plugins.has('ovs'))) return this.#ovs.check(attachment, ovs, signal);
    if (sriovNetworkOf(network) && !(await this.#plugins.has('sriov'))) return;
    if (network.disableCheck || !isSince(network.cniVersion, '0.4.0')) return;
    for (const plugin of network.plugins) await this.#plugins.invoke('CHECK', { network, plugin }, attachment, result, signal);
  }

  /** Lets the plugins of a network forget everything but these attachments, as far as they know how to. */
  async collectGarbage(config: string, valid: readonly CniAttachment[], signal: AbortSignal): Promise<void> {
    await this.#plugins.collectGarbage(parseNetworkConfig(config), valid, signal);
  }

  async #addToBridge(attachment: CniAttachment, bridge: BridgeNetwork, signal: AbortSignal): Promise<CniResult> {
    const { ip } = this.#deps;
    const links = await ip.links(signal);
    const exists = links.some(({ ifname }) => ifname === bridge.bridge);
    const mtu = bridge.mtu === undefined ? '' : ` mtu ${bridge.mtu}`;
    const { hostLink, ifname, netns } = attachment;
    await this.#prepareBridge(bridge, exists, signal);
    await ip.batch(
      [
        ...(exists ? [] : [`link set ${bridge.bridge} up`]),
        `link add ${hostLink}${mtu} type veth peer name ${ifname}${mtu} netns ${netns}`,
        `link set ${hostLink} master ${bridge.bridge} up`,
        ...(bridge.hairpinMode ? [`link set ${hostLink} type bridge_slave hairpin on`] : []),
      ],
      signal,
    );
    if (hasVlans(bridge)) await ip.bridge(['vlan', 'del', 'dev', hostLink, 'vid', '1'], signal);
    if (bridge.vlan !== undefined)
      await ip.bridge(['vlan', 'add', 'dev', hostLink, 'vid', String(bridge.vlan), 'pvid', 'untagged'], signal);
    for (const { first, last } of bridge.trunk)
      await ip.bridge(['vlan', 'add', 'dev', hostLink, 'vid', first === last ? String(first) : `${first}-${last}`], signal);
    const raw = builtInResult({ ...attachment, bridge: bridge.bridge });
    return { ips: [], raw, createdBridge: exists ? undefined : bridge.bridge };
  }

  /** One step that succeeds or changes nothing: a kernel that cannot filter VLANs leaves no bridge behind. */
  async #prepareBridge(network: BridgeNetwork, exists: boolean, signal: AbortSignal): Promise<void> {
    const { bridge, vlan, mtu } = network;
    if (exists && !hasVlans(network)) return;
    const size = mtu === undefined ? [] : ['mtu', String(mtu)];
    const filtering = hasVlans(network) ? ['vlan_filtering', '1'] : [];
    const make = ['link', 'add', bridge, ...size, 'type', 'bridge', 'stp_state', '0', 'forward_delay', '0', ...filtering];
    try {
      await this.#deps.ip.exec(exists ? ['link', 'set', bridge, 'type', 'bridge', ...filtering] : make, signal);
    } catch (error) {
      if (!hasVlans(network) || !(error instanceof HostError) || !/not supported/i.test(error.stderrTail)) throw error;
      throw new HostError(
        `Bridge "${bridge}" cannot carry ${vlan === undefined ? 'a trunk of VLANs' : `VLAN ${vlan}`}: the kernel of this node has no VLAN filtering for bridges ` +
          '(CONFIG_BRIDGE_VLAN_FILTERING). Leave "vlan" out of the network\'s configuration and give the bridge an uplink that is in that VLAN, ' +
          'or use a bridge of Open vSwitch (type "ovs")',
        { command: error.command, stderrTail: error.stderrTail, cause: error },
      );
    }
  }
}

const hasVlans = ({ vlan, trunk }: BridgeNetwork): boolean => vlan !== undefined || trunk.length > 0;

function ignoreHostError(error: unknown): void {
  if (!(error instanceof HostError)) throw error;
}
