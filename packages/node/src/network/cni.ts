import { access } from 'node:fs/promises';
import { join } from 'node:path';
import { type CommandRunner, HostError, type IpCommand } from '@slipway/hostapi';
import { type BridgeNetwork, bridgeNetworkOf, type NetworkConfig, parseNetworkConfig, type PluginConfig } from './cni-config.ts';

export interface CniDeps {
  readonly runner: CommandRunner;
  readonly ip: IpCommand;
  /** Where plugins are looked for, in order. */
  readonly pluginDirs: readonly string[];
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
}

export interface CniResult {
  /** Addresses that IPAM of the network gave, without prefix length. */
  readonly ips: readonly string[];
  /** What the plugins answered, kept for CHECK and DEL. */
  readonly raw: unknown;
  /** A bridge that did not exist before. */
  readonly createdBridge: string | undefined;
}

const DEFAULT_PLUGIN_DIRS = ['/opt/cni/bin', '/usr/lib/cni', '/usr/libexec/cni'];
const PLUGIN_TIMEOUT_MS = 30_000;
const ANY_EXIT_CODE = Array.from({ length: 125 }, (_, index) => index + 1);

export { DEFAULT_PLUGIN_DIRS };

/** Attaches pods to networks described by CNI configurations: a plain bridge by itself, anything else by the host's plugins. */
export class Cni {
  readonly #deps: CniDeps;

  constructor(deps: CniDeps) {
    this.#deps = deps;
  }

  /** Throws HostError with what is missing or what the plugin said. */
  async add(attachment: CniAttachment, signal: AbortSignal): Promise<CniResult> {
    const network = parseNetworkConfig(attachment.config);
    const bridge = bridgeNetworkOf(network);
    if (bridge) return this.#addToBridge(attachment, bridge, signal);
    let previous: unknown;
    for (const plugin of network.plugins) {
      previous = await this.#invoke('ADD', network, plugin, attachment, previous, signal);
    }
    return { ips: addressesOf(previous), raw: previous, createdBridge: undefined };
  }

  /** Undoes `add`; what is gone already is no error. */
  async delete(attachment: CniAttachment, result: unknown, signal: AbortSignal): Promise<void> {
    const network = parseNetworkConfig(attachment.config);
    if (bridgeNetworkOf(network)) {
      await this.#deps.ip.batch([`link del ${attachment.hostLink}`], signal, { force: true }).catch(ignoreHostError);
      return;
    }
    for (const plugin of [...network.plugins].reverse()) {
      await this.#invoke('DEL', network, plugin, attachment, result, signal);
    }
  }

  /** Throws when the attachment is not what `add` made. */
  async check(attachment: CniAttachment, result: unknown, signal: AbortSignal): Promise<void> {
    const network = parseNetworkConfig(attachment.config);
    if (bridgeNetworkOf(network)) {
      await this.#deps.ip.exec(['link', 'show', 'dev', attachment.hostLink], signal);
      return;
    }
    for (const plugin of network.plugins) await this.#invoke('CHECK', network, plugin, attachment, result, signal);
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
    if (bridge.vlan !== undefined) {
      await ip.bridge(['vlan', 'del', 'dev', hostLink, 'vid', '1'], signal);
      await ip.bridge(['vlan', 'add', 'dev', hostLink, 'vid', String(bridge.vlan), 'pvid', 'untagged'], signal);
    }
    return { ips: [], raw: undefined, createdBridge: exists ? undefined : bridge.bridge };
  }

  /** One step that succeeds or changes nothing: a kernel that cannot filter VLANs leaves no bridge behind. */
  async #prepareBridge({ bridge, vlan, mtu }: BridgeNetwork, exists: boolean, signal: AbortSignal): Promise<void> {
    if (exists && vlan === undefined) return;
    const size = mtu === undefined ? [] : ['mtu', String(mtu)];
    const filtering = vlan === undefined ? [] : ['vlan_filtering', '1'];
    const make = ['link', 'add', bridge, ...size, 'type', 'bridge', 'stp_state', '0', 'forward_delay', '0', ...filtering];
    try {
      await this.#deps.ip.exec(exists ? ['link', 'set', bridge, 'type', 'bridge', ...filtering] : make, signal);
    } catch (error) {
      if (vlan === undefined || !(error instanceof HostError) || !/not supported/i.test(error.stderrTail)) throw error;
      throw new HostError(
        `Bridge "${bridge}" cannot carry VLAN ${vlan}: the kernel of this node has no VLAN filtering for bridges ` +
          '(CONFIG_BRIDGE_VLAN_FILTERING). Leave "vlan" out of the network\'s configuration and give the bridge an uplink that is in that VLAN',
        { command: error.command, stderrTail: error.stderrTail, cause: error },
      );
    }
  }

  async #invoke(
    command: 'ADD' | 'DEL' | 'CHECK',
    network: NetworkConfig,
    plugin: PluginConfig,
    attachment: CniAttachment,
    previous: unknown,
    signal: AbortSignal,
  ): Promise<unknown> {
    const path = await this.#find(plugin.type);
    const { exitCode, stdout, stderr } = await this.#deps.runner.run(
      [path],
      {
        stdin: JSON.stringify(invocationConfig(network, plugin, attachment, previous)),
        timeoutMs: PLUGIN_TIMEOUT_MS,
        okExitCodes: ANY_EXIT_CODE,
        env: {
          CNI_COMMAND: command,
          CNI_CONTAINERID: attachment.podUid,
          CNI_NETNS: `/run/netns/${attachment.netns}`,
          CNI_IFNAME: attachment.ifname,
          CNI_PATH: this.#deps.pluginDirs.join(':'),
          CNI_ARGS: `IgnoreUnknown=1;K8S_POD_NAMESPACE=${attachment.podNamespace};K8S_POD_NAME=${attachment.podName};K8S_POD_UID=${attachment.podUid};MAC=${attachment.mac}`,
        },
      },
      signal,
    );
    const answer: unknown = stdout.trim() === '' ? undefined : JSON.parse(stdout);
    if (exitCode === 0) return answer;
    throw new HostError(
      `CNI plugin "${plugin.type}" of network "${network.name}" failed: ${pluginMessage(answer) ?? stderr.trim()}`,
      {
        command: `${path} (${command})`,
        exitCode,
        stderrTail: stderr.slice(-2000),
      },
    );
  }

  async #find(type: string): Promise<string> {
    for (const directory of this.#deps.pluginDirs) {
      const path = join(directory, type);
      const found = await access(path).then(
        () => true,
        () => false,
      );
      if (found) return path;
    }
    throw new HostError(
      `CNI plugin "${type}" is not installed in ${this.#deps.pluginDirs.join(' or ')}; install it, on Debian with "apt-get install containernetworking-plugins"`,
      { command: type },
    );
  }
}

function ignoreHostError(error: unknown): void {
  if (!(error instanceof HostError)) throw error;
}

function invocationConfig(network: NetworkConfig, plugin: PluginConfig, attachment: CniAttachment, previous: unknown): unknown {
  const wantsMac = plugin.capabilities?.['mac'] === true;
  return {
    ...plugin,
    name: network.name,
    cniVersion: network.cniVersion,
    ...(wantsMac && { runtimeConfig: { mac: attachment.mac } }),
    ...(previous !== undefined && { prevResult: previous }),
  };
}

function pluginMessage(answer: unknown): string | undefined {
  if (typeof answer !== 'object' || answer === null || !('msg' in answer)) return undefined;
  const details = 'details' in answer && typeof answer.details === 'string' && answer.details !== '' ? `; ${answer.details}` : '';
  return `${String(answer.msg)}${details}`;
}

function addressesOf(result: unknown): string[] {
  if (typeof result !== 'object' || result === null || !('ips' in result) || !Array.isArray(result.ips)) return [];
  return result.ips.flatMap((entry: unknown) =>
    typeof entry === 'object' && entry !== null && 'address' in entry && typeof entry.address === 'string'
      ? [entry.address.split('/')[0] ?? '']
      : [],
  );
}
