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
  readonly disableCheck: boolean;
  readonly disableGC: boolean;
  readonly plugins: readonly PluginConfig[];
}

/** A plain layer-2 bridge that needs no plugin program. */
export interface BridgeNetwork {
  readonly bridge: string;
  readonly vlan: number | undefined;
  /** Further VLANs that pass with their tags. */
  readonly trunk: readonly VlanRange[];
  readonly mtu: number | undefined;
  readonly hairpinMode: boolean;
}

export interface VlanRange {
  readonly first: number;
  readonly last: number;
}

/** A bridge of Open vSwitch that is there already. */
export interface OvsNetwork {
  readonly bridge: string;
  readonly vlan: number | undefined;
  readonly trunk: readonly VlanRange[];
  readonly mtu: number | undefined;
}

/** OpenShift Virtualization ships the two plugins under names of its own. */
const ALIASES: Readonly<Record<string, string>> = { 'cnv-bridge': 'bridge', 'cnv-tuning': 'tuning' };

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
    disableCheck: isOn(parsed['disableCheck']),
    disableGC: isOn(parsed['disableGC']),
    plugins: plugins.map((plugin) => ({ ...plugin, type: ALIASES[plugin.type] ?? plugin.type })),
  };
}

// the specification allows the words, too
const isOn = (value: unknown): boolean => value === true || value === 'true';

// Fields that change nothing for a bridge without addresses.
const HARMLESS = new Set([
  'name',
  'cniVersion',
  'type',
  'ipam',
  'bridge',
  'vlan',
  'vlanTrunk',
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
  if (hasAddresses(plugin)) return undefined;
  const { bridge = 'cni0', vlan, vlanTrunk, mtu, hairpinMode } = plugin;
  return {
    bridge: linkName(bridge),
    vlan: positive(vlan, 4094),
    trunk: trunkOf(vlanTrunk),
    mtu: positive(mtu, 65_535),
    hairpinMode: hairpinMode === true,
  };
}

/** The bridge of Open vSwitch, if the network is nothing but one without address management; otherwise undefined. */
export function ovsNetworkOf({ plugins }: NetworkConfig): OvsNetwork | undefined {
  const [plugin] = plugins;
  if (plugins.length !== 1 || plugin?.type !== 'ovs' || hasAddresses(plugin)) return undefined;
  const { bridge, vlan, trunk, mtu } = plugin;
  return { bridge: linkName(bridge), vlan: positive(vlan, 4094), trunk: trunkOf(trunk), mtu: positive(mtu, 65_535) };
}

function hasAddresses({ ipam }: PluginConfig): boolean {
  return ipam !== undefined && !(isObject(ipam) && (ipam['type'] === undefined || ipam['type'] === ''));
}

/** Throws unless it can go into commands as it is. */
function linkName(name: unknown): string {
  if (typeof name !== 'string' || !/^[A-Za-z0-9][A-Za-z0-9._-]{0,14}$/.test(name))
    throw new Error('The bridge name of the network configuration is not a valid link name');
  return name;
}

function trunkOf(entries: unknown): VlanRange[] {
  if (entries === undefined || entries === null) return [];
  if (!Array.isArray(entries)) throw new Error('The VLAN trunk of the network configuration is not a list');
  return entries.flatMap((entry: unknown) => {
    const { id, minID, maxID } = isObject(entry) ? entry : {};
    const [only, first, last] = [positive(id, 4094), positive(minID, 4094), positive(maxID, 4094)];
    const ranges = [...(only === undefined ? [] : [{ first: only, last: only }])];
    if (first !== undefined && last !== undefined && first <= last) ranges.push({ first, last });
    if (ranges.length === 0)
      throw new Error(
        'The VLAN trunk of the network configuration has an entry without "id" or "minID" and "maxID" from 1 to 4094',
      );
    return ranges;
  });
}

function positive(value: unknown, most: number): number | undefined {
  return typeof value === 'number' && Number.isInteger(value) && value > 0 && value <= most ? value : undefined;
}
