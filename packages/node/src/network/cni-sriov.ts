import { HostError, type IpCommand } from '@slipway/hostapi';
import type { CniAttachment } from './cni.ts';
import type { NetworkConfig, PluginConfig } from './cni-config.ts';

/** A virtual function as its physical one knows it. */
export interface FunctionPort {
  readonly link: string;
  readonly index: number;
}

export interface SriovPortDeps {
  readonly ip: IpCommand;
  /** Undefined for a device that is no virtual function of this host. */
  readonly portOf: (address: string) => FunctionPort | undefined;
}

/** The only plugin of a network of virtual functions; address management needs the plugin itself. */
export function sriovNetworkOf({ plugins }: NetworkConfig): PluginConfig | undefined {
  const [plugin] = plugins;
  if (plugins.length !== 1 || plugin?.type !== 'sriov') return undefined;
  const { ipam } = plugin;
  const isEmpty = typeof ipam === 'object' && ipam !== null && Object.keys(ipam).length === 0;
  return ipam === undefined || isEmpty ? plugin : undefined;
}

/**
 * What a physical function does for a virtual one that a guest drives itself: its address, its VLAN and what it may send.
 * Throws when the configuration has something else than the plugin "sriov" takes. Pure.
 */
export function functionSettings(plugin: PluginConfig, mac: string): string[] {
  const number = (name: string, most: number): string[] => {
    const value = plugin[name];
    if (value === undefined) return [];
    if (typeof value === 'number' && Number.isInteger(value) && value >= 0 && value <= most) return [String(value)];
    throw new Error(`"${name}" of the SR-IOV network is not a number from 0 to ${most}`);
  };
  const choice = (name: string, words: readonly string[]): string[] => {
    const value = plugin[name];
    if (value === undefined || value === '') return [];
    if (typeof value === 'string' && words.includes(value)) return [value];
    throw new Error(`"${name}" of the SR-IOV network is none of ${words.join(', ')}`);
  };
  const named = (word: string, values: readonly string[]): string[] => values.flatMap((value) => [word, value]);
  return [
    ...['mac', mac],
    ...named('vlan', number('vlan', 4094)),
    ...named('qos', number('vlanQoS', 7)),
    ...named('proto', choice('vlanProto', ['802.1q', '802.1Q', '802.1ad'])),
    ...named('spoofchk', choice('spoofchk', ['on', 'off'])),
    ...named('trust', choice('trust', ['on', 'off'])),
    ...named('state', choice('link_state', ['auto', 'enable', 'disable'])),
    ...named('min_tx_rate', number('min_tx_rate', 1_000_000)),
    ...named('max_tx_rate', number('max_tx_rate', 1_000_000)),
  ];
}

/** Sets virtual functions up that guests drive themselves, when the host has no plugin "sriov". */
export class SriovPorts {
  readonly #deps: SriovPortDeps;

  constructor(deps: SriovPortDeps) {
    this.#deps = deps;
  }

  async add({ request, mac }: CniAttachment, plugin: PluginConfig, signal: AbortSignal): Promise<void> {
    const address = request?.deviceId;
    if (address === undefined) throw new Error('A network of type "sriov" needs an interface with the binding sriov');
    const port = this.#deps.portOf(address);
    if (port === undefined)
      throw new HostError(`Device ${address} has no physical function with a link on this node`, { command: 'ip link set vf' });
    await this.#set(port, functionSettings(plugin, mac), signal);
  }

  /** The next guest finds nothing of this one. What is gone is no error. */
  async delete({ request }: CniAttachment, signal: AbortSignal): Promise<void> {
    const port = request?.deviceId === undefined ? undefined : this.#deps.portOf(request.deviceId);
    if (port === undefined) return;
    await this.#set(port, ['mac', '00:00:00:00:00:00', 'vlan', '0', 'state', 'auto'], signal).catch((error: unknown) => {
      if (!(error instanceof HostError)) throw error;
    });
  }

  async #set({ link, index }: FunctionPort, settings: readonly string[], signal: AbortSignal): Promise<void> {
    await this.#deps.ip.exec(['link', 'set', 'dev', link, 'vf', String(index), ...settings], signal);
  }
}
