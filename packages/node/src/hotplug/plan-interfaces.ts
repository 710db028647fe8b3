import type { kubevirt, VirtualMachineInstance } from '@slipway/api';
import { VmiPhase } from '@slipway/api';
import { podInterfaceName } from '@slipway/virt';
import type { LiveDomain, LiveInterface } from './live-domain.ts';

type Interface = kubevirt.Interface;

/** One step that brings the interfaces of a running guest nearer to its spec. */
export type InterfaceStep =
  | { readonly action: 'attach'; readonly name: string }
  | { readonly action: 'detach'; readonly name: string; readonly live: LiveInterface }
  /** No device is left: the link in the pod goes, and what the status says of it. */
  | { readonly action: 'release'; readonly name: string }
  /** Its network is another one now; the guest keeps its device. */
  | {
      readonly action: 'rejoin';
      readonly name: string;
      readonly live: LiveInterface;
      readonly state: 'up' | 'down';
      readonly to: string;
    }
  | { readonly action: 'link'; readonly name: string; readonly live: LiveInterface; readonly state: 'up' | 'down' }
  /** The guest has it as asked; the status does not say so yet. */
  | { readonly action: 'report'; readonly name: string; readonly live: LiveInterface }
  /** Cannot be done while the guest runs. */
  | { readonly action: 'refuse'; readonly name: string; readonly why: string };

const linkOf = ({ state }: Interface): 'up' | 'down' => (state === 'down' ? 'down' : 'up');

/** Whether this node can plug the interface: a second network joined by a bridge. The pod's own network stays. */
function isPluggable(vmi: VirtualMachineInstance, { name, bridge }: Interface): boolean {
  return bridge !== undefined && (vmi.spec.networks ?? []).some((entry) => entry.name === name && entry.multus !== undefined);
}

/** Definitions that the pod's interfaces are attached to, as `namespace/name` by the interface's name in the pod. */
export type AttachedNetworks = ReadonlyMap<string, string>;
const NONE: AttachedNetworks = new Map();

/** The network that the spec asks for, if the pod says that it is attached to another one by this interface. */
function otherNetwork(vmi: VirtualMachineInstance, { name, bridge }: Interface, attached: AttachedNetworks): string | undefined {
  const multus = vmi.spec.networks?.find((network) => network.name === name)?.multus;
  const now = attached.get(podInterfaceName(name));
  if (bridge === undefined || multus === undefined || multus.default === true || now === undefined) return undefined;
  const { networkName } = multus;
  const wanted = networkName.includes('/') ? networkName : `${vmi.metadata.namespace ?? 'default'}/${networkName}`;
  return now === wanted ? undefined : wanted;
}

/** Whether the spec and the status of a running guest differ in interfaces; cheap, asks nobody. Pure. */
export function concernsInterfaces(vmi: VirtualMachineInstance, attached: AttachedNetworks = NONE): boolean {
  if (vmi.status?.phase !== VmiPhase.running) return false;
  const known = new Map((vmi.status.interfaces ?? []).map((entry) => [entry.name, entry]));
  return interfacesOf(vmi).some((nic) => {
    const status = known.get(nic.name);
    if (nic.sriov !== undefined) return nic.state === 'absent' || status === undefined;
    if (nic.state === 'absent') return isPluggable(vmi, nic) && status !== undefined;
    if (status !== undefined && otherNetwork(vmi, nic, attached) !== undefined) return true;
    return status === undefined ? isPluggable(vmi, nic) : status.linkState !== undefined && status.linkState !== linkOf(nic);
  });
}

/** Compares the interfaces of the spec with the running domain. Pure. */
export function planInterfaceSteps(
  vmi: VirtualMachineInstance,
  live: LiveDomain,
  attached: AttachedNetworks = NONE,
): readonly InterfaceStep[] {
  if (vmi.status?.phase !== VmiPhase.running) return [];
  return interfacesOf(vmi).flatMap((nic) => stepOf(vmi, nic, { live, attached }) ?? []);
}

const interfacesOf = ({ spec }: VirtualMachineInstance): readonly Interface[] => spec.domain.devices.interfaces ?? [];

/** A device of the host comes and goes with the guest. */
function hostDeviceStep({ name, state }: Interface, hostDevices: readonly string[]): InterfaceStep | undefined {
  const isThere = hostDevices.includes(`ua-sriov-${name}`);
  if (isThere === (state !== 'absent')) return undefined;
  const what = isThere ? 'taken from' : 'given to';
  return { action: 'refuse', name, why: `an SR-IOV device cannot be ${what} a running guest on this node: restart the VM` };
}

interface Present {
  readonly live: LiveDomain;
  readonly attached: AttachedNetworks;
}

function stepOf(vmi: VirtualMachineInstance, nic: Interface, present: Present): InterfaceStep | undefined {
  const { name } = nic;
  const { interfaces, hostDevices } = present.live;
  if (nic.sriov !== undefined) return hostDeviceStep(nic, hostDevices);
  const live = interfaces.find((entry) => entry.name === name);
  const status = vmi.status?.interfaces?.find((entry) => entry.name === name);
  if (nic.state === 'absent') {
    if (!isPluggable(vmi, nic)) return undefined;
    if (live !== undefined) return { action: 'detach', name, live };
    return status === undefined ? undefined : { action: 'release', name };
  }
  if (live === undefined) return isPluggable(vmi, nic) ? { action: 'attach', name } : undefined;
  const state = linkOf(nic);
  const other = otherNetwork(vmi, nic, present.attached);
  if (other !== undefined) return { action: 'rejoin', name, live, state, to: other };
  if (live.linkState !== state) return { action: 'link', name, live, state };
  return status?.linkState === state ? undefined : { action: 'report', name, live };
}
