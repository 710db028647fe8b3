import type { kubevirt, Pod, VirtualMachineInstance } from '@slipway/api';
import type { EventRecorder } from '@slipway/runtime';
import { cpuTopology, type DomainFacts, el, interfaceElement, planInterfaces, renderXml, vcpuCount } from '@slipway/virt';
import type { PlannedTap, PodNetwork, PodNetworkStatus, Sandbox } from '../contracts.ts';
import { attachedNetworks } from '../network/index.ts';
import type { LiveInterface } from './live-domain.ts';
import type { PluggedDevice } from './guest-check.ts';
import { isPendingUnplug, Patience } from './patience.ts';
import { type InterfaceStep, planInterfaceSteps } from './plan-interfaces.ts';
import type { GuestNow, InstanceChange, SyncResult } from './sync-result.ts';
import { asElement } from './write-xml.ts';

type Interface = kubevirt.VirtualMachineInstanceNetworkInterface;

export interface InterfaceSyncDeps {
  readonly network: PodNetwork;
  readonly events: EventRecorder;
  readonly nowMs: () => number;
  readonly pod: () => Pod;
  readonly sandbox: Sandbox;
  /** Told of what the guest should show from now on. */
  readonly plugged?: (device: PluggedDevice) => void;
  /** What the planner needs, with these interfaces of the pod. */
  readonly factsWith: (vmi: VirtualMachineInstance, network: PodNetworkStatus) => DomainFacts;
  /** Tells the pod's object what networks it has. */
  readonly writeNetwork: (network: PodNetworkStatus) => Promise<void>;
}

/** Plugs second interfaces into one running guest and out of it, and sets links up and down. */
export class InterfaceSync {
  private readonly deps: InterfaceSyncDeps;
  private readonly patience: Patience;
  /** Networks that were put behind interfaces; the newest known pod object may be older than that. */
  private readonly rejoined = new Map<string, string>();

  constructor(deps: InterfaceSyncDeps) {
    this.deps = deps;
    this.patience = new Patience(deps.nowMs);
  }

  /** The guest refuses to let a device go. */
  refused(alias: string): void {
    this.patience.refused(alias);
  }

  /** Does every step that is due. Rejects only when aborted or when libvirt is gone. */
  async sync(guest: GuestNow, signal: AbortSignal): Promise<SyncResult> {
    const steps = planInterfaceSteps(guest.vmi, guest.live, attachedNetworks(this.deps.pod()));
    this.patience.keep(steps.map(keyOf));
    const changes: InstanceChange[] = [];
    const problems: string[] = [];
    for (const step of steps) {
      signal.throwIfAborted();
      try {
        const change = await this.act(step, guest, signal);
        if (change !== undefined) changes.push(change);
      } catch (error) {
        signal.throwIfAborted();
        this.patience.failed(keyOf(step));
        this.patience.tell(keyOf(step), `Cannot ${step.action} interface ${step.name}: ${textOf(error)}`);
      }
      problems.push(...this.problemsOf(step));
    }
    return { changes, problems, retryInMs: this.patience.nextInMs(), hasChanged: changes.length > 0 };
  }

  private problemsOf(step: InterfaceStep): readonly string[] {
    if (step.action === 'refuse') return [`Interface ${step.name}: ${step.why}`];
    const key = keyOf(step);
    const told = this.patience.told(key);
    if (told !== undefined) return [told];
    const verdict = step.action === 'detach' ? this.patience.verdict(key) : undefined;
    if (verdict === undefined) return [];
    const why =
      verdict === 'refused' ? 'refuses to let it go' : 'has not let it go; it may still be starting, or lack the driver';
    return [`Interface ${step.name} is still attached: the guest ${why}. It goes when the guest stops`];
  }

  private async act(step: InterfaceStep, guest: GuestNow, signal: AbortSignal): Promise<InstanceChange | undefined> {
    if (!this.patience.isDue(keyOf(step))) return undefined;
    switch (step.action) {
      case 'attach':
        return this.attach(step.name, guest, signal);
      case 'detach':
        this.patience.asked(keyOf(step), step.live.alias);
        await guest.libvirt.detachDevice(guest.domain, renderXml(asElement(step.live.element))).catch((error: unknown) => {
          if (!isPendingUnplug(error)) throw error;
        });
        return (vmi) => vmi; // libvirt is asked again whether it is gone
      case 'release': {
        await this.deps.writeNetwork(await this.deps.network.change(this.deps.pod(), guest.vmi, this.deps.sandbox, signal));
        this.deps.events.normal(guest.vmi, 'InterfaceUnplugged', `Interface ${step.name} was taken from the guest`);
        return (vmi) => withInterfaces(vmi, (list) => list.filter(({ name }) => name !== step.name));
      }
      case 'rejoin':
        return this.rejoin(step, guest, signal);
      case 'link':
        await guest.libvirt.updateDevice(guest.domain, renderXml(withLink(step.live, step.state)));
        return (vmi) => withInterfaces(vmi, (list) => list.map((entry) => linked(entry, step.name, step.state)));
      case 'refuse':
        return undefined;
      case 'report':
        return (vmi) => this.reported(vmi, step.live);
    }
  }

  /** Another network behind the same device. The link goes down and up, so that the guest asks for an address there. */
  private async rejoin(
    { name, live, state, to }: Extract<InterfaceStep, { action: 'rejoin' }>,
    { vmi, libvirt, domain }: GuestNow,
    signal: AbortSignal,
  ): Promise<InstanceChange | undefined> {
    if (this.rejoined.get(name) === to) return undefined;
    const { network, pod, sandbox, writeNetwork, events } = this.deps;
    const status = await network.change(pod(), vmi, sandbox, signal);
    for (const link of state === 'up' ? (['down', 'up'] as const) : (['down'] as const))
      await libvirt.updateDevice(domain, renderXml(withLink(live, link)));
    await writeNetwork(status);
    this.rejoined.set(name, to);
    events.normal(vmi, 'InterfaceRejoined', `Interface ${name} of the guest is attached to another network`);
    const ipAddresses = status.interfaces.find((entry) => entry.name === name)?.ipAddresses ?? [];
    return (now) =>
      withInterfaces(now, (list) =>
        list.map((entry) => {
          if (entry.name !== name) return entry;
          const { ipAddress: _, ipAddresses: _all, ...rest } = entry;
          return { ...rest, ...(ipAddresses[0] !== undefined && { ipAddress: ipAddresses[0], ipAddresses: [...ipAddresses] }) };
        }),
      );
  }

  private async attach(name: string, { vmi, libvirt, domain }: GuestNow, signal: AbortSignal): Promise<InstanceChange> {
    const { network, pod, sandbox, factsWith, writeNetwork, events } = this.deps;
    const status = await network.change(pod(), vmi, sandbox, signal);
    const tap = status.interfaces.find((entry) => entry.name === name);
    const vcpus = vcpuCount(cpuTopology(vmi.spec.domain));
    const planned = planInterfaces(vmi, factsWith(vmi, status), vcpus).find((entry) => entry.name === name);
    if (tap === undefined || planned === undefined) throw new Error('its network is not one that this node can attach');
    await libvirt.attachDevice(domain, renderXml(interfaceElement(planned)));
    await writeNetwork(status);
    this.patience.forget(keyOf({ action: 'attach', name }));
    this.deps.plugged?.({ kind: 'interface', name });
    events.normal(vmi, 'InterfacePlugged', `Interface ${name} was given to the guest`);
    const entry = statusOf(tap, planned.linkState ?? 'up');
    return (now) => withInterfaces(now, (list) => [...list.filter((other) => other.name !== name), entry]);
  }

  /** The guest has the interface: an earlier agent plugged it, or its link was set before the guest started. */
  private reported(vmi: VirtualMachineInstance, { name, mac, linkState }: LiveInterface): VirtualMachineInstance {
    const fresh: Interface = { name, mac, linkState, queueCount: 1, infoSource: 'domain, multus-status' };
    return withInterfaces(vmi, (list) =>
      list.some((entry) => entry.name === name) ? list.map((entry) => linked(entry, name, linkState)) : [...list, fresh],
    );
  }
}

const keyOf = ({ action, name }: Pick<InterfaceStep, 'action' | 'name'>): string => `${action}/${name}`;
const textOf = (error: unknown): string => (error instanceof Error ? error.message : String(error));

function withInterfaces(
  vmi: VirtualMachineInstance,
  change: (list: readonly Interface[]) => readonly Interface[],
): VirtualMachineInstance {
  return { ...vmi, status: { ...vmi.status, interfaces: [...change(vmi.status?.interfaces ?? [])] } };
}

const linked = (entry: Interface, name: string, linkState: 'up' | 'down'): Interface =>
  entry.name === name ? { ...entry, linkState } : entry;

function statusOf(tap: PlannedTap, linkState: 'up' | 'down'): Interface {
  const { name, mac, podInterfaceName, infoSources, queues, ipAddresses } = tap;
  return {
    ...{ name, mac, podInterfaceName, queueCount: queues, linkState, infoSource: infoSources.join(', ') },
    ...(ipAddresses[0] !== undefined && { ipAddress: ipAddresses[0], ipAddresses: [...ipAddresses] }),
  };
}

/** libvirt changes a link when it is given the whole interface back with another state. */
function withLink({ element }: LiveInterface, state: 'up' | 'down') {
  const own = asElement(element);
  const others = own.children.filter((part) => typeof part === 'string' || part.name !== 'link');
  return { ...own, children: [...others, el('link', { state })] };
}
