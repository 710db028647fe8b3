import type { kubevirt } from '@slipway/api';
import type { ClusterConfig } from '../config.ts';
import { isPciAddress } from '../domain/pci.ts';
import { type Cause, duplicate, invalid, notSupported, required, when } from './causes.ts';

type Spec = kubevirt.VirtualMachineInstanceSpec;

const MODELS = new Set(['e1000', 'e1000e', 'igb', 'ne2k_pci', 'pcnet', 'rtl8139', 'virtio', '']);
const BINDINGS = ['bridge', 'slirp', 'masquerade', 'sriov', 'macvtap', 'passt', 'passtBinding', 'binding'] as const;
const RESERVED_MAC = '02:00:00:00:00:00';
const ARRAY_LIMIT = 256;

interface NicContext {
  readonly path: string;
  readonly field: string;
  readonly spec: Spec;
  readonly nic: kubevirt.Interface;
  readonly network: kubevirt.Network | undefined;
  readonly config: ClusterConfig;
}

// KubeVirt-compat: bindings that were discontinued are refused with the messages that they had.
function checkDiscontinued({ field, nic, network, config, spec }: NicContext): readonly Cause[] {
  const name = `${field}.name`;
  const onlyPod = network !== undefined && network.pod === undefined;
  const refuse = (condition: boolean, message: string) => when(condition, () => invalid(name, message));
  if (nic.slirp)
    return [
      invalid(
        name,
        onlyPod ? 'Slirp interface only implemented with pod network' : 'Slirp interface is not enabled in kubevirt-config',
      ),
    ];
  if (nic.macvtap) {
    if (!config.hasGate('Macvtap')) return [invalid(name, 'Macvtap feature gate is not enabled')];
    return refuse(
      true,
      network?.pod === undefined
        ? 'Macvtap interface is discontinued, use a network binding plugin'
        : 'Macvtap interface only implemented with Multus network',
    );
  }
  if (!nic.passt) return [];
  if (!config.hasGate('Passt')) return [invalid(name, 'Passt feature gate is not enabled')];
  const several = (spec.domain.devices.interfaces ?? []).length > 1;
  return refuse(
    !onlyPod,
    several
      ? 'Passt interface is only supported as the single interface of the VMI'
      : 'Passt interface is discontinued, use passtBinding',
  );
}

function checkBinding(context: NicContext): readonly Cause[] {
  const { field, nic, network, config } = context;
  const name = `${field}.name`;
  const set = BINDINGS.filter((binding) => nic[binding] !== undefined);
  const onPod = network?.pod !== undefined;
  const onlyPod = network !== undefined && !onPod;
  const bridgeOff = config.configuration.network?.permitBridgeInterfaceOnPodNetwork === false;
  return [
    ...when(set.length > 1, () => invalid(name, 'logical network binding methods are mutually exclusive')),
    ...when(set.length === 0, () => invalid(name, `logical ${nic.name} interface has no binding method`)),
    ...checkDiscontinued(context),
    ...when(nic.masquerade && onlyPod, () => invalid(name, 'Masquerade interface only implemented with pod network')),
    ...when(nic.masquerade && onPod && nic.macAddress === RESERVED_MAC, () =>
      invalid(`${field}.macAddress`, 'The requested MAC address is reserved for the in-pod bridge. Please choose another one.'),
    ),
    ...when(nic.bridge && onPod && bridgeOff, () =>
      invalid(name, 'Bridge on pod network configuration is not enabled under kubevirt-config'),
    ),
    ...when((nic.passt ?? nic.passtBinding) && onlyPod, () => invalid(name, 'Passt interface only implemented with pod network')),
  ];
}

function checkMac({ field, nic }: NicContext): readonly Cause[] {
  const mac = nic.macAddress;
  if (!mac) return [];
  const at = `${field}.macAddress`;
  const parts = mac.split(/[:-]/);
  const wellFormed = parts.every((part) => /^[0-9a-fA-F]{2}$/.test(part)) && [6, 8, 20].includes(parts.length);
  if (!wellFormed) return [invalid(at, `interface ${field}.name has malformed MAC address (${mac}).`)];
  return when(parts.length === 8, () => invalid(at, `interface ${field}.name has MAC address (${mac}) that is too long.`));
}

const PORT_NAME = /^[a-z0-9]([-a-z0-9]*[a-z0-9])?$/;

function checkPorts({ field, nic }: NicContext): readonly Cause[] {
  const seen = new Set<string>();
  return (nic.ports ?? []).flatMap(({ name, port, protocol }, index) => {
    const at = `${field}.ports[${index}]`;
    const again = name !== undefined && name !== '' && seen.has(name);
    if (name) seen.add(name);
    return [
      ...when(again, () => duplicate(`${at}.name`, `Duplicate name of the port: ${name}`)),
      ...when(name !== undefined && name !== '' && (!PORT_NAME.test(name) || name.length > 15 || !/[a-z]/.test(name)), () =>
        invalid(`${at}.name`, `Invalid name of the port: ${name}`),
      ),
      ...when(!port, () => required(at, 'Port field is mandatory.')),
      ...when(port !== undefined && port !== 0 && (port < 0 || port > 65_535), () =>
        invalid(at, 'Port field must be in range 0 < x < 65536.'),
      ),
      ...when(protocol !== undefined && protocol !== '' && protocol !== 'TCP' && protocol !== 'UDP', () =>
        invalid(`${at}.protocol`, 'Unknown protocol, only TCP or UDP allowed'),
      ),
    ];
  });
}

const IPV4 = /^((25[0-5]|2[0-4]\d|1?\d?\d)(\.|$)){4}$/;

function checkDhcp({ nic }: NicContext): readonly Cause[] {
  const { privateOptions = [], ntpServers = [] } = nic.dhcpOptions ?? {};
  const options = privateOptions.map(({ option }) => option);
  return [
    ...ntpServers.flatMap((server, index) =>
      when(!IPV4.test(server), () =>
        invalid(
          `spec.domain.devices.interfaces.dhcpOptions.ntpServers[${index}]`,
          'NTP servers must be a list of valid IPv4 addresses.',
        ),
      ),
    ),
    // KubeVirt-compat: these name the whole spec.
    ...when(
      options.some((option) => option < 224 || option > 254),
      () => invalid('spec', 'provided DHCPPrivateOptions are out of range, must be in range 224 to 254'),
    ),
    ...when(new Set(options).size !== options.length, () =>
      invalid('spec', 'Found Duplicates: you have provided duplicate DHCPPrivateOptions'),
    ),
  ];
}

function checkState({ field, nic, network }: NicContext): readonly Cause[] {
  const at = `${field}.state`;
  const { state = '' } = nic;
  if (!['', 'up', 'down', 'absent'].includes(state))
    return [invalid(at, `logical ${nic.name} interface state value is unsupported: ${state}`)];
  if (state === 'absent' && !nic.bridge && !nic.sriov)
    return [invalid(at, `"${nic.name}" interface's state "absent" is supported only for bridge binding`)];
  if (state === 'absent' && (network?.pod ?? network?.multus?.default))
    return [invalid(at, `"${nic.name}" interface's state "absent" is not supported on default networks`)];
  return when((state === 'up' || state === 'down') && nic.sriov !== undefined, () =>
    invalid(at, `"${nic.name}" interface's state "${state}" is not supported for SR-IOV`),
  );
}

function checkPortRanges({ field, nic, config }: NicContext): readonly Cause[] {
  const ranges = nic.portRanges ?? [];
  const at = `${field}.portRanges`;
  if (ranges.length === 0) return [];
  if (!config.hasGate('PortRangesSpec')) return [invalid(at, 'PortRangesSpec feature gate is not enabled')];
  const overlaps = ranges.some((a, i) =>
    ranges.some((b, j) => j > i && (a.protocol ?? 'TCP') === (b.protocol ?? 'TCP') && a.start <= b.end && b.start <= a.end),
  );
  return [
    ...when(!nic.masquerade, () => invalid(at, 'portRanges are supported for masquerade binding only')),
    ...when((nic.ports ?? []).length > 0, () => invalid(at, 'portRanges and ports are mutually exclusive')),
    ...when(ranges.length > 10, () => invalid(at, 'no more than 10 port ranges are allowed')),
    ...when(
      ranges.some(({ start, end }) => start > end),
      () => invalid(at, 'the start of a port range must not be greater than its end'),
    ),
    ...when(overlaps, () => invalid(at, 'port ranges must not overlap')),
  ];
}

function checkNic(context: NicContext, index: number): readonly Cause[] {
  const { field, nic, spec, network } = context;
  const name = `${field}.name`;
  const first = (spec.domain.devices.interfaces ?? []).findIndex((other) => other.name === nic.name);
  return [
    ...when(!network, () => invalid(name, `${name} '${nic.name}' not found.`)),
    ...when(first !== index, () => duplicate(name, 'Only one interface can be connected to one specific network')),
    ...when(!/^[A-Za-z0-9-_]+$/.test(nic.name), () =>
      invalid(name, 'Network interface name can only contain alphabetical characters, numbers, dashes (-) or underscores (_)'),
    ),
    ...checkBinding(context),
    ...when(!MODELS.has(nic.model ?? ''), () =>
      notSupported(`${field}.model`, `interface ${name} uses model ${nic.model} that is not supported.`),
    ),
    ...checkMac(context),
    // KubeVirt-compat: the index stands right behind the path of the spec.
    ...when(nic.bootOrder !== undefined && nic.bootOrder < 1, () =>
      invalid(`${context.path}[${index}].bootOrder`, `${context.path}[${index}] must have a boot order > 0, if supplied`),
    ),
    ...when(Boolean(nic.pciAddress) && !isPciAddress(nic.pciAddress ?? ''), () =>
      invalid(`${field}.pciAddress`, `interface ${name} has malformed PCI address (${nic.pciAddress}).`),
    ),
    ...checkPorts(context),
    ...checkDhcp(context),
    ...checkState(context),
    ...checkPortRanges(context),
  ];
}

function checkNetwork(path: string, network: kubevirt.Network, index: number, spec: Spec): readonly Cause[] {
  const field = `${path}.networks[${index}]`;
  const kinds = [network.pod, network.multus, network.resourceClaim].filter((kind) => kind !== undefined).length;
  const used = (spec.domain.devices.interfaces ?? []).some(({ name }) => name === network.name);
  return [
    ...when(kinds === 0, () => required(field, 'should have a network type')),
    ...when(kinds > 1, () => required(field, 'should have only one network type')),
    ...when(network.multus && !network.multus.networkName, () =>
      required(field, 'CNI delegating plugin must have a networkName'),
    ),
    ...when(!used, () => required(`${field}.name`, `${field}.name '${network.name}' not found.`)),
  ];
}

function checkNetworkKinds(path: string, spec: Spec): readonly Cause[] {
  const networks = spec.networks ?? [];
  const pods = networks.filter(({ pod }) => pod !== undefined).length;
  const defaults = networks.filter(({ multus }) => multus?.default).length;
  return [
    ...when(pods > 1, () =>
      duplicate(`${path}.interfaces`, `more than one interface is connected to a pod network in ${path}.interfaces`),
    ),
    ...when(defaults > 1, () => invalid(`${path}.networks`, 'Multus CNI should only have one default network')),
    ...when(pods > 0 && defaults > 0, () =>
      invalid(`${path}.networks`, 'Pod network cannot be defined when Multus default network is defined'),
    ),
  ];
}

/** Networks and interfaces. */
export function checkNetworks(path: string, spec: Spec, config: ClusterConfig): readonly Cause[] {
  const interfaces = spec.domain.devices.interfaces ?? [];
  const networks = spec.networks ?? [];
  for (const [list, length] of [
    [`${path}.domain.devices.interfaces`, interfaces.length],
    [`${path}.networks`, networks.length],
  ] as const)
    if (length > ARRAY_LIMIT) return [invalid(list, `${list} list exceeds the ${ARRAY_LIMIT} element limit in length`)];
  const duplicates = checkNetworkKinds(path, spec);
  const reused = networks.some(({ name }, index) => networks.findIndex((other) => other.name === name) !== index);
  return [
    ...duplicates,
    ...when(reused && duplicates.length === 0, () => duplicate(`${path}.networks`, 'Network names must be unique')),
    ...networks.flatMap((network, index) => checkNetwork(path, network, index, spec)),
    ...interfaces.flatMap((nic, index) => {
      const network = networks.find(({ name }) => name === nic.name);
      return checkNic({ path, field: `${path}.domain.devices.interfaces[${index}]`, spec, nic, network, config }, index);
    }),
  ];
}
