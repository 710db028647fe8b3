import type { kubevirt, VirtualMachineInstance } from '@slipway/api';
import { VmiPhase } from '@slipway/api';
import type { LiveDomain, LiveInterface } from './live-domain.ts';

type Interface = kubevirt.Interface;

/** One step that brings the interfaces of a running guest nearer to its spec. */
export type InterfaceStep =
  | { readonly action: 'attach'; readonly name: string }
  | { readonly action: 'detach'; readonly name: string; readonly live: LiveInterface }
  /** No device is left: the link in the pod goes, and what the status says of it. */
  | { readonly action: 'release'; readonly name: string }
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

/** Whether the spec and the status of a running guest differ in interfaces; cheap, asks nobody. Pure. */
export function concernsInterfaces(vmi: VirtualMachineInstance): boolean {
  if (vmi.status?.phase !== VmiPhase.running) return false;
  const known = new Map((vmi.status.interfaces ?? []).map((entry) => [entry.name, entry]));
  return interfacesOf(vmi).some((nic) => {
    const status = known.get(nic.name);
    if (nic.sriov !== undefined) return nic.state === 'absent' || status === undefined;
    if (nic.state === 'absent') return isPluggable(vmi, nic) && status !== undefined;
    return status === undefined ? isPluggable(vmi, nic) : status.linkState !== undefined && status.linkState !== linkOf(nic);
  });
}

/** Compares the interfaces of the spec with the running domain. Pure. */
export function planInterfaceSteps(vmi: VirtualMachineInstance, live: LiveDomain): readonly InterfaceStep[] {
  if (vmi.status?.phase !== VmiPhase.running) return [];
  return interfacesOf(vmi).flatMap((nic) => stepOf(vmi, nic, live) ?? []);
}

const interfacesOf = ({ spec }: VirtualMachineInstance): readonly Interface[] => spec.domain.devices.interfaces ?? [];

/** A device of the host comes and goes with the guest. */
function hostDeviceStep({ name, state }: Interface, hostDevices: readonly string[]): InterfaceStep | undefined {
  const isThere = hostDevices.includes(`ua-sriov-${name}`);
  if (isThere === (state !== 'absent')) return undefined;
  const what = isThere ? 'taken from' : 'given to';
  return { action: 'refuse', name, why: `an SR-IOV device cannot be ${what} a running guest on this node: restart the VM` };
}

function stepOf(vmi: VirtualMachineInstance, nic: Interface, { interfaces, hostDevices }: LiveDomain): InterfaceStep | undefined {
  const { name } = nic;
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
  if (live.linkState !== state) return { action: 'link', name, live, state };
  return status?.linkState === state ? undefined : { action: 'report', name, live };
}
