/** One plugin of a network configuration, with all its own fields. */
export interface PluginConfig {
  readonly type: string;
  readonly capabilities?: Readonly<Record<string, unknown>>;
  readonly [field: string]: unknown;
}

/** A CNI network configuration; a single plugin counts as a list of one. */
export interface NetworkConfig {
  readonly name: string;
  readonly cniVersion: string;
  readonly plugins: readonly PluginConfig[];
}

/** A plain layer-2 bridge that needs no plugin program. */
export interface BridgeNetwork {
  readonly bridge: string;
  readonly vlan: number | undefined;
  readonly mtu: number | undefined;
  readonly hairpinMode: boolean;
}

const isObject = (value: unknown): value is Record<string, unknown> =>
  typeof value === 'object' && value !== null && !Array.isArray(value);

const isPlugin = (value: unknown): value is PluginConfig =>
  isObject(value) &&
  typeof value['type'] === 'string' &&
  /^[A-Za-z0-9._-]+$/.test(value['type']) &&
  !value['type'].startsWith('.');

/** Reads `spec.config` of a NetworkAttachmentDefinition. Throws what is wrong with it. */
export function parseNetworkConfig(text: string): NetworkConfig {
  let parsed: unknown;
  try {
    parsed = JSON.parse(text);
  } catch (error) {
    throw new Error('The network configuration is not JSON', { cause: error });
  }
  if (!isObject(parsed)) throw new Error('The network configuration is not a JSON object');
  const plugins: unknown = parsed['plugins'] ?? [parsed];
  if (!Array.isArray(plugins) || plugins.length === 0 || !plugins.every(isPlugin)) {
    throw new Error('The network configuration names no plugin type, or one that is not a plain file name');
  }
  return {
    name: typeof parsed['name'] === 'string' ? parsed['name'] : 'network',
    cniVersion: typeof parsed['cniVersion'] === 'string' ? parsed['cniVersion'] : '0.3.1',
    plugins,
  };
}

// Fields that change nothing for a bridge without addresses.
const HARMLESS = new Set([
  'name',
  'cniVersion',
  'type',
  'ipam',
  'bridge',
  'vlan',
  'mtu',
  'hairpinMode',
  'macspoofchk',
  'disableContainerInterface',
  'preserveDefaultVlan',
  'isDefaultGateway',
  'isGateway',
  'ipMasq',
  'forceAddress',
  'promiscMode',
]);
const MUST_BE_OFF = ['isDefaultGateway', 'isGateway', 'ipMasq', 'macspoofchk', 'promiscMode', 'disableContainerInterface'];

/** The bridge, if the network is nothing but one without address management; otherwise undefined. */
export function bridgeNetworkOf({ plugins }: NetworkConfig): BridgeNetwork | undefined {
  const [plugin] = plugins;
  if (plugins.length !== 1 || plugin?.type !== 'bridge') return undefined;
  if (Object.keys(plugin).some((field) => !HARMLESS.has(field)) || MUST_BE_OFF.some((field) => plugin[field] === true))
    return undefined;
  const ipam = plugin['ipam'];
  if (ipam !== undefined && !(isObject(ipam) && (ipam['type'] === undefined || ipam['type'] === ''))) return undefined;
  const { bridge = 'cni0', vlan, mtu, hairpinMode } = plugin;
  // The name goes into `ip` commands.
  if (typeof bridge !== 'string' || !/^[A-Za-z0-9][A-Za-z0-9._-]{0,14}$/.test(bridge)) {
    throw new Error('The bridge name of the network configuration is not a valid link name');
  }
  return {
    bridge,
    vlan: positive(vlan, 4094),
    mtu: positive(mtu, 65_535),
    hairpinMode: hairpinMode === true,
  };
}

function positive(value: unknown, most: number): number | undefined {
  return typeof value === 'number' && Number.isInteger(value) && value > 0 && value <= most ? value : undefined;
}
