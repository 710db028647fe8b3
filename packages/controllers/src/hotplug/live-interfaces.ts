import type { kubevirt } from '@slipway/api';
import { deepEqual } from '@slipway/apimachinery';
import { stableMac } from '@slipway/virt';

type Spec = kubevirt.VirtualMachineInstanceSpec;
type Interface = kubevirt.Interface;

interface Lists {
  readonly interfaces: readonly Interface[];
  readonly networks: readonly kubevirt.Network[];
}

const listsOf = (spec: Spec): Lists => ({
  interfaces: spec.domain.devices.interfaces ?? [],
  networks: spec.networks ?? [],
});

/** Whether this interface may come and go while the guest runs: a second network, joined by a bridge or as a device. */
function isPluggable({ name, bridge, sriov }: Interface, networks: readonly kubevirt.Network[]): boolean {
  return (bridge !== undefined || sriov !== undefined) && networks.some((entry) => entry.name === name && entry.multus);
}

/**
 * The running instance's interfaces and networks as the template asks: new ones are added, states are taken over, and
 * one that was plugged and is not in the template any more is asked to go. Undefined when nothing differs.
 */
export function liveInterfaces(template: Spec, started: Spec, instance: Spec, vmUid: string): Lists | undefined {
  const [wanted, before, now] = [listsOf(template), listsOf(started), listsOf(instance)];
  const isStarted = (name: string): boolean => before.interfaces.some((entry) => entry.name === name);
  const changed = now.interfaces.map((nic) => {
    const asked = wanted.interfaces.find(({ name }) => name === nic.name);
    if (asked !== undefined) return withState(nic, asked.state);
    return isPluggable(nic, now.networks) && !isStarted(nic.name) ? withState(nic, 'absent') : nic;
  });
  const added = wanted.interfaces.filter(
    (nic) => isPluggable(nic, wanted.networks) && nic.state !== 'absent' && !now.interfaces.some(({ name }) => name === nic.name),
  );
  const networks = added.flatMap(({ name }) => wanted.networks.find((network) => network.name === name) ?? []);
  const kept = now.networks.map((network) => withDefinition(network, changed, wanted.networks));
  const next = {
    interfaces: [...changed, ...added.map((nic) => withMac(nic, vmUid))],
    networks: [...kept, ...networks],
  };
  return deepEqual(next, now) ? undefined : next;
}

/**
 * KubeVirt-compat: a bridged second network may get another definition while the guest runs. Here the node puts it behind the
 * same device, so that nothing has to move for it.
 */
function withDefinition(
  network: kubevirt.Network,
  interfaces: readonly Interface[],
  wanted: readonly kubevirt.Network[],
): kubevirt.Network {
  const asked = wanted.find(({ name }) => name === network.name)?.multus;
  const nic = interfaces.find(({ name }) => name === network.name);
  const isSecond = network.multus !== undefined && !network.multus.default && asked !== undefined && !asked.default;
  return isSecond && nic?.bridge !== undefined
    ? { ...network, multus: { ...network.multus, networkName: asked.networkName } }
    : network;
}

function withState(nic: Interface, state: string | undefined): Interface {
  const { state: _, ...stateless } = nic;
  // the wire format's enum is the same text
  return state === undefined || state === '' ? stateless : { ...nic, state: state as NonNullable<Interface['state']> };
}

function withMac(nic: Interface, vmUid: string): Interface {
  return nic.macAddress || nic.sriov ? nic : { ...nic, macAddress: stableMac(vmUid, nic.name) };
}

/** A template without interfaces that came or went while the guest ran, and without states: for telling whether a restart is needed. */
export function withoutPluggableInterfaces(spec: Spec, started: Spec, instance: Spec): Spec {
  const lists = listsOf(spec);
  const [before, now] = [listsOf(started), listsOf(instance)];
  const has = ({ interfaces }: Lists, name: string): boolean => interfaces.some((entry) => entry.name === name);
  const isDropped = (nic: Interface): boolean =>
    isPluggable(nic, lists.networks) && (!has(before, nic.name) || !has(now, nic.name));
  const dropped = new Set(lists.interfaces.filter(isDropped).map(({ name }) => name));
  const interfaces = lists.interfaces.filter(({ name }) => !dropped.has(name)).map((nic) => withState(nic, undefined));
  const { domain } = spec;
  return {
    ...spec,
    networks: lists.networks
      .filter(({ name }) => !dropped.has(name))
      .map((network) => withDefinition(network, interfaces, before.networks)),
    domain: { ...domain, devices: { ...domain.devices, interfaces } },
  };
}
