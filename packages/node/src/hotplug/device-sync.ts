import type { VirtualMachineInstance } from '@slipway/api';
import { VmiPhase } from '@slipway/api';
import { backOffDelay, sleep, type Logger, type TimerClock } from '@slipway/runtime';
import type { DomainEvent, DomainRef, LibvirtConnection } from '../libvirt/index.ts';
import { liveDomain } from './live-domain.ts';
import { type VolumeChange, VolumeSync, type VolumeSyncDeps } from './volume-sync.ts';

export interface DeviceSyncDeps extends Omit<VolumeSyncDeps, 'nowMs'> {
  readonly clock: TimerClock;
  readonly random: () => number;
  readonly log: Logger;
  readonly instance: () => VirtualMachineInstance;
  readonly update: (change: (vmi: VirtualMachineInstance) => VirtualMachineInstance, signal: AbortSignal) => Promise<void>;
  readonly libvirt: () => Promise<LibvirtConnection>;
  readonly domain: () => Promise<DomainRef>;
}

const RETRY = { baseMs: 500, maxMs: 15_000, jitter: 0.2 };

/** Keeps the devices of one running guest as its VMI asks, from `start` until aborted. One pass at a time. */
export class DeviceSync {
  private readonly deps: DeviceSyncDeps;
  private readonly volumes: VolumeSync;
  private wake: () => void = () => {};
  private isDirty = true;

  constructor(deps: DeviceSyncDeps) {
    this.deps = deps;
    this.volumes = new VolumeSync({ ...deps, nowMs: () => deps.clock.now() });
  }

  /** Works until aborted; never rejects. */
  async run(signal: AbortSignal): Promise<void> {
    const { clock, random, log, sandbox } = this.deps;
    for (let failures = 0; !signal.aborted; ) {
      this.isDirty = false;
      let retryInMs: number | undefined;
      try {
        retryInMs = await this.pass(signal);
        failures = 0;
      } catch (error) {
        if (signal.aborted) return;
        failures++;
        retryInMs = backOffDelay(failures, RETRY, random);
        log.warn(
          { pod: sandbox.podUid, failures, error: error instanceof Error ? error.message : String(error) },
          'hotplug failed',
        );
      }
      await this.untilDue(clock, retryInMs, signal);
    }
  }

  /** The VMI has changed. */
  notify(): void {
    this.isDirty = true;
    this.wake();
  }

  /** Something happened to a device of the domain. */
  observe(event: DomainEvent): void {
    if (event.type === 'device-removal-failed') this.volumes.refused(event.alias);
    if (event.type === 'device-removed' || event.type === 'device-removal-failed') this.notify();
  }

  private async pass(signal: AbortSignal): Promise<number | undefined> {
    const vmi = this.deps.instance();
    if (vmi.status?.phase !== VmiPhase.running || !concernsDevices(vmi)) return undefined;
    const [libvirt, domain] = [await this.deps.libvirt(), await this.deps.domain()];
    const guest = { vmi, libvirt, domain, live: liveDomain(await libvirt.xml(domain)) };
    const volumes = await this.volumes.sync(guest, signal);
    if (volumes.changes.length > 0) await this.deps.update((now) => withVolumeChanges(now, volumes.changes), signal);
    // a device that the guest let go at once sends its event before the call returns
    if (volumes.hasChanged) this.isDirty = true;
    return volumes.retryInMs;
  }

  private async untilDue(clock: TimerClock, retryInMs: number | undefined, signal: AbortSignal): Promise<void> {
    if (this.isDirty || signal.aborted) return;
    const woken = new Promise<void>((resolve) => {
      this.wake = resolve;
    });
    const timer = new AbortController();
    const stop = (): void => this.wake();
    signal.addEventListener('abort', stop, { once: true });
    const due = retryInMs === undefined ? woken : sleep(clock, retryInMs, timer.signal).catch(() => {});
    await Promise.race([woken, due]);
    timer.abort();
    signal.removeEventListener('abort', stop);
  }
}

/** Nothing is asked of libvirt for a guest without anything to plug. */
function concernsDevices(vmi: VirtualMachineInstance): boolean {
  return (vmi.status?.volumeStatus ?? []).some(({ hotplugVolume }) => hotplugVolume !== undefined);
}

/** The VMI with new fields in its volume statuses; entries that went meanwhile stay away. Pure. */
export function withVolumeChanges(vmi: VirtualMachineInstance, changes: readonly VolumeChange[]): VirtualMachineInstance {
  const byName = new Map(changes.map((change) => [change.name, change]));
  const volumeStatus = (vmi.status?.volumeStatus ?? []).map((status) => ({ ...status, ...byName.get(status.name) }));
  return { ...vmi, status: { ...vmi.status, volumeStatus } };
}
