import type { kubevirt, Pod, VirtualMachineInstance } from '@slipway/api';
import { HotplugReason, VolumePhase } from '@slipway/api';
import type { EventRecorder, Logger } from '@slipway/runtime';
import { diskElement, type DomainFacts, planHotplugDisk, renderXml, spareIoThreads } from '@slipway/virt';
import type { PreparedVolume, Sandbox, VolumeManager } from '../contracts.ts';
import { emptyDriveXml, loadedDriveXml } from './disc-xml.ts';
import type { PluggedDevice } from './guest-check.ts';
import { isPendingUnplug, Patience } from './patience.ts';
import type { LiveDisk } from './live-domain.ts';
import { planVolumes, type VolumeStep } from './plan-volumes.ts';
import type { GuestNow, InstanceChange, SyncResult } from './sync-result.ts';
import { deviceXml } from './write-xml.ts';

type VolumeStatus = kubevirt.VolumeStatus;

export interface VolumeSyncDeps {
  readonly volumes: VolumeManager;
  readonly events: EventRecorder;
  readonly log: Logger;
  readonly nowMs: () => number;
  readonly pod: () => Pod;
  readonly sandbox: Sandbox;
  /** Told of what the guest should show from now on. */
  readonly plugged?: (device: PluggedDevice) => void;
  /** What the planner needs besides the volume. */
  readonly facts: (vmi: VirtualMachineInstance) => DomainFacts;
}

/** New fields of one `status.volumeStatus` entry. */
type VolumeChange = Partial<VolumeStatus> & { readonly name: string };

/** Attaches and detaches hotplugged volumes of one guest; keeps only how patient it has been with what does not work. */
export class VolumeSync {
  private readonly deps: VolumeSyncDeps;
  private readonly patience: Patience;

  constructor(deps: VolumeSyncDeps) {
    this.deps = deps;
    this.patience = new Patience(deps.nowMs);
  }

  /** The guest refuses to let a device go. */
  refused(alias: string): void {
    this.patience.refused(alias);
  }

  /** Does every step that is due. Rejects only when aborted or when libvirt is gone. */
  async sync(guest: GuestNow, signal: AbortSignal): Promise<SyncResult> {
    const steps = planVolumes(guest.vmi, guest.live);
    this.patience.keep(steps.map(keyOf));
    const changes: VolumeChange[] = [];
    const taken = { targets: guest.live.disks.map(({ target }) => target), ioThreads: [...guest.live.ioThreads] };
    let hasChanged = false;
    for (const step of steps) {
      signal.throwIfAborted();
      const change = await this.act(step, guest, taken, signal);
      if (change === undefined) continue;
      changes.push(change);
      hasChanged ||= step.action !== 'report' && step.action !== 'release';
    }
    const update: InstanceChange = (vmi) => withVolumeChanges(vmi, changes);
    return { changes: changes.length > 0 ? [update] : [], problems: [], retryInMs: this.patience.nextInMs(), hasChanged };
  }

  private async act(
    step: VolumeStep,
    guest: GuestNow,
    taken: { readonly targets: string[]; readonly ioThreads: number[] },
    signal: AbortSignal,
  ): Promise<VolumeChange | undefined> {
    switch (step.action) {
      case 'report':
        return this.ready(guest.vmi, step.name, step.disk.target);
      case 'attach':
        return this.patience.isDue(keyOf(step)) ? this.attach(step, guest, taken, signal) : undefined;
      case 'insert':
        return this.patience.isDue(keyOf(step)) ? this.attach(step, guest, taken, signal) : undefined;
      case 'detach':
        return this.detach(step.disk, guest);
      case 'eject':
        return this.eject(step, guest);
      case 'release':
        await this.dropIoThreads(guest, spareIoThreads(guest.vmi, guest.live.ioThreads, guest.live.disks.map(ioThreadOf)));
        return this.release(step, guest, signal);
    }
  }

  private async attach(
    step: Extract<VolumeStep, { action: 'attach' | 'insert' }>,
    { vmi, libvirt, domain }: GuestNow,
    taken: { readonly targets: string[]; readonly ioThreads: number[] },
    signal: AbortSignal,
  ): Promise<VolumeChange | undefined> {
    const { volumes, facts, pod, sandbox } = this.deps;
    const { name } = step;
    const volume = vmi.spec.volumes?.find((entry) => entry.name === name);
    if (volume === undefined) return undefined;
    let prepared: PreparedVolume | undefined;
    let newIoThread: number | undefined;
    try {
      prepared = await volumes.plug(vmi, volume, pod(), sandbox, signal);
      const plan = planHotplugDisk(vmi, name, prepared, facts(vmi), taken);
      if (plan === undefined) throw new Error(`The spec has no disk for volume ${name}; add one or remove the volume`);
      newIoThread = plan.newIoThread;
      if (newIoThread !== undefined) await libvirt.addIoThread(domain, newIoThread);
      const targetDev = step.action === 'insert' ? step.disk.target : plan.disk.targetDev;
      const element = diskElement({ ...plan.disk, targetDev });
      if (step.action === 'insert') await this.changeDisc(step, { libvirt, domain }, loadedDriveXml(step.disk.element, element));
      else await libvirt.attachDevice(domain, renderXml(element));
      taken.targets.push(targetDev);
      if (newIoThread !== undefined) taken.ioThreads.push(newIoThread);
      this.patience.forget(keyOf(step));
      if (step.action === 'attach') this.deps.plugged?.({ kind: 'disk', name });
      return this.ready(vmi, name, targetDev);
    } catch (error) {
      signal.throwIfAborted();
      if (newIoThread !== undefined) await this.dropIoThreads({ libvirt, domain }, [newIoThread]);
      if (prepared?.claim) await this.giveBack(vmi, name, prepared.claim.claimName, signal);
      return this.attachFailed(vmi, step, error);
    }
  }

  /** A thread that stays costs a little and hinders nobody: it goes with the next disk that goes. */
  private async dropIoThreads({ libvirt, domain }: Pick<GuestNow, 'libvirt' | 'domain'>, ids: readonly number[]): Promise<void> {
    for (const id of ids)
      await libvirt.removeIoThread(domain, id).catch((error: unknown) => {
        this.deps.log.warn({ pod: this.deps.sandbox.podUid, thread: id, error: textOf(error) }, 'io thread not removed');
      });
  }

  private ready(vmi: VirtualMachineInstance, name: string, target: string): VolumeChange {
    const message = `Successfully attach hotplugged volume ${name} to VM`;
    this.deps.events.normal(vmi, HotplugReason.volumeReady, message);
    return { name, target, phase: VolumePhase.ready, reason: HotplugReason.volumeReady, message };
  }

  /** What was prepared is given back already: the volume is where it was before, and the status says why. */
  private attachFailed(
    vmi: VirtualMachineInstance,
    step: Pick<VolumeStep, 'action' | 'name'>,
    error: unknown,
  ): VolumeChange | undefined {
    const { name } = step;
    const reason = HotplugReason.attachFailed;
    const message = `Cannot attach volume ${name}: ${withRemedy(textOf(error))}`;
    this.patience.failed(keyOf(step));
    const known = vmi.status?.volumeStatus?.find((status) => status.name === name);
    if (known?.reason === reason && known.message === message) return undefined;
    this.deps.events.warning(vmi, reason, message);
    return { name, phase: VolumePhase.attachedToNode, reason, message };
  }

  private async detach(disk: LiveDisk, { vmi, libvirt, domain }: GuestNow): Promise<VolumeChange | undefined> {
    const { name, alias } = disk;
    const key = keyOf({ action: 'detach', name });
    if (this.patience.isDue(key)) {
      this.patience.asked(key, alias);
      try {
        await libvirt.detachDevice(domain, deviceXml(disk.element));
      } catch (error) {
        if (!isPendingUnplug(error)) return this.told(vmi, name, HotplugReason.detachRefused, textOf(error));
      }
    }
    const verdict = this.patience.verdict(key);
    if (verdict === undefined) return undefined;
    const why =
      verdict === 'refused'
        ? 'the guest refuses to let it go'
        : 'the guest has not let it go; it may still be starting, or lack the driver';
    const remedy = 'unmount it in the guest. It is asked again from time to time, and the disk goes when the guest stops';
    const reason = verdict === 'refused' ? HotplugReason.detachRefused : HotplugReason.detachTimedOut;
    return this.told(vmi, name, reason, `${why}: ${remedy}`);
  }

  /** Takes the disc out of its drive: a guest is asked first to open the tray, then it is opened. */
  private async eject(
    step: Extract<VolumeStep, { action: 'eject' }>,
    { vmi, libvirt, domain }: GuestNow,
  ): Promise<VolumeChange | undefined> {
    const { name, disk } = step;
    if (!this.patience.isDue(keyOf(step))) return undefined;
    try {
      await this.changeDisc(step, { libvirt, domain }, emptyDriveXml(disk.element));
      return { name, target: disk.target }; // asked again whether it is empty
    } catch (error) {
      this.patience.failed(keyOf(step));
      return this.told(vmi, name, HotplugReason.detachRefused, `${textOf(error)}. It is tried again by force`);
    }
  }

  /** Puts a disc in or takes it out; when that has failed once, the tray is opened by force before. */
  private async changeDisc(
    step: Extract<VolumeStep, { action: 'insert' | 'eject' }>,
    { libvirt, domain }: Pick<GuestNow, 'libvirt' | 'domain'>,
    xml: string,
  ): Promise<void> {
    const force = this.patience.failures(keyOf(step)) > 0;
    // libvirt 9 does not open the tray of a drive that was empty when the guest started
    const open = { execute: 'blockdev-open-tray', arguments: { id: step.disk.alias, force: true } };
    if (force) await libvirt.monitorCommand(domain, JSON.stringify(open));
    await libvirt.updateDevice(domain, xml, { force });
  }

  private told(vmi: VirtualMachineInstance, name: string, reason: string, why: string): VolumeChange | undefined {
    const message = `Volume ${name} is still attached: ${why}`;
    const known = vmi.status?.volumeStatus?.find((status) => status.name === name);
    if (known?.reason === reason && known.message === message) return undefined;
    this.deps.events.warning(vmi, reason, message);
    return { name, reason, message };
  }

  private async release(
    { name, claimName }: Extract<VolumeStep, { action: 'release' }>,
    { vmi }: GuestNow,
    signal: AbortSignal,
  ): Promise<VolumeChange> {
    await this.giveBack(vmi, name, claimName, signal);
    const reason = HotplugReason.volumeUnmountedFromPod;
    const message = `Volume ${name} has been unmounted from virt-launcher pod`;
    this.deps.events.normal(vmi, reason, message);
    return { name, target: '', phase: VolumePhase.unmountedFromPod, reason, message };
  }

  private async giveBack(
    vmi: VirtualMachineInstance,
    name: string,
    claimName: string | undefined,
    signal: AbortSignal,
  ): Promise<void> {
    const { volumes, sandbox, log } = this.deps;
    const namespace = vmi.metadata.namespace ?? '';
    try {
      await volumes.unplug({ namespace, name, ...(claimName !== undefined && { claimName }) }, sandbox.podUid, signal);
    } catch (error) {
      signal.throwIfAborted();
      // it is given back with the rest when the pod ends
      log.warn({ pod: sandbox.podUid, volume: name, error: textOf(error) }, 'hotplugged volume not given back');
    }
  }
}

const keyOf = ({ action, name }: Pick<VolumeStep, 'action' | 'name'>): string => `${action}/${name}`;

const ioThreadOf = ({ ioThread }: LiveDisk): number | undefined => ioThread;

const textOf = (error: unknown): string => (error instanceof Error ? error.message : String(error));

const NO_SLOT = /no more available PCI slots/i;

function withRemedy(text: string): string {
  return NO_SLOT.test(text)
    ? `${text}. Every PCI slot of the guest is taken: use bus scsi, which needs none, or restart the VM to get new slots`
    : text;
}

/** The VMI with new fields in its volume statuses; entries that went meanwhile stay away. Pure. */
export function withVolumeChanges(vmi: VirtualMachineInstance, changes: readonly VolumeChange[]): VirtualMachineInstance {
  const byName = new Map(changes.map((change) => [change.name, change]));
  const volumeStatus = (vmi.status?.volumeStatus ?? []).map((status) => ({ ...status, ...byName.get(status.name) }));
  return { ...vmi, status: { ...vmi.status, volumeStatus } };
}
