import type { VirtualMachineInstance } from '@slipway/api';
import { HotplugReason, VmiCondition, VmiPhase } from '@slipway/api';
import { formatTime } from '@slipway/apimachinery';
import { backOffDelay, sleep, type Logger, type TimerClock } from '@slipway/runtime';
import type { DomainEvent, DomainRef, LibvirtConnection } from '../libvirt/index.ts';
import { DiskMoves, type DiskMovesDeps } from './disk-moves.ts';
import { GuestCheck, type PluggedDevice } from './guest-check.ts';
import { liveDomain } from './live-domain.ts';
import { InterfaceSync, type InterfaceSyncDeps } from './interface-sync.ts';
import { attachedNetworks } from '../network/index.ts';
import { concernsInterfaces } from './plan-interfaces.ts';
import { concernsMemory, concernsVcpus } from './plan-sizes.ts';
import { concernsVolumes } from './plan-volumes.ts';
import { SizeSync, type SizeSyncDeps } from './size-sync.ts';
import type { GuestNow, InstanceChange, SyncResult } from './sync-result.ts';
import { VolumeSync, type VolumeSyncDeps } from './volume-sync.ts';

export interface DeviceSyncDeps
  extends Omit<VolumeSyncDeps, 'nowMs' | 'plugged'>,
    Omit<InterfaceSyncDeps, 'nowMs' | 'plugged'>,
    Omit<SizeSyncDeps, 'nowMs'>,
    Pick<DiskMovesDeps, 'copyBandwidth'> {
  readonly clock: TimerClock;
  readonly random: () => number;
  readonly log: Logger;
  readonly instance: () => VirtualMachineInstance;
  readonly update: (change: (vmi: VirtualMachineInstance) => VirtualMachineInstance, signal: AbortSignal) => Promise<void>;
  readonly libvirt: () => Promise<LibvirtConnection>;
  readonly domain: () => Promise<DomainRef>;
  /** The guest is on its way to another node, or there: it takes its devices along as they are. */
  readonly isLeaving: (vmi: VirtualMachineInstance) => boolean;
}

/** One kind of device. */
interface Part {
  /** Whether there is anything to do; cheap, because it is asked at every change of the VMI. */
  readonly concerns: (vmi: VirtualMachineInstance) => boolean;
  readonly sync: (guest: GuestNow, signal: AbortSignal) => Promise<SyncResult>;
}

const RETRY = { baseMs: 500, maxMs: 15_000, jitter: 0.2 };

/** Keeps the devices of one running guest as its VMI asks, from `start` until aborted. One pass at a time. */
export class DeviceSync {
  private readonly deps: DeviceSyncDeps;
  private readonly volumes: VolumeSync;
  private readonly interfaces: InterfaceSync;
  private readonly parts: readonly Part[];
  private wake: () => void = () => {};
  private isDirty = true;

  constructor(deps: DeviceSyncDeps) {
    this.deps = deps;
    const nowMs = (): number => deps.clock.now();
    const check = new GuestCheck({ ...deps, nowMs });
    const plugged = (device: PluggedDevice): void => check.expect(device);
    this.volumes = new VolumeSync({ ...deps, nowMs, plugged });
    this.interfaces = new InterfaceSync({ ...deps, nowMs, plugged });
    const sizes = new SizeSync({ ...deps, nowMs });
    const moves = new DiskMoves({ ...deps, nowMs });
    this.parts = [
      { concerns: concernsVolumes, sync: (guest, signal) => this.volumes.sync(guest, signal) },
      {
        concerns: (vmi) => concernsInterfaces(vmi, attachedNetworks(deps.pod())),
        sync: (guest, signal) => this.interfaces.sync(guest, signal),
      },
      { concerns: concernsVcpus, sync: (guest, signal) => sizes.syncVcpus(guest, signal) },
      { concerns: concernsMemory, sync: (guest, signal) => sizes.syncMemory(guest, signal) },
      { concerns: (vmi) => moves.concerns(vmi), sync: (guest, signal) => moves.sync(guest, signal) },
      { concerns: () => check.concerns(), sync: (guest) => check.sync(guest) },
    ];
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
    if (event.type === 'device-removal-failed') {
      this.volumes.refused(event.alias);
      this.interfaces.refused(event.alias);
    }
    if (event.type !== 'device-added') this.notify();
  }

  private async pass(signal: AbortSignal): Promise<number | undefined> {
    const vmi = this.deps.instance();
    // a disk that is plugged while its guest leaves would be let go here, and its content with it
    if (vmi.status?.phase !== VmiPhase.running || this.deps.isLeaving(vmi)) return undefined;
    const parts = this.parts.filter(({ concerns }) => concerns(vmi)).map(({ sync }) => sync);
    const hadProblems = conditionOf(vmi)?.reason === HotplugReason.failedHotplugSync;
    if (parts.length === 0 && !hadProblems) return undefined;
    const [libvirt, domain] = [await this.deps.libvirt(), await this.deps.domain()];
    const guest = { vmi, libvirt, domain, live: liveDomain(await libvirt.xml(domain)) };
    const results: SyncResult[] = [];
    for (const sync of parts) results.push(await sync(guest, signal));
    const changes = results.flatMap((result) => result.changes);
    const problems = results.flatMap((result) => result.problems);
    if (changes.length > 0 || problems.length > 0 || hadProblems)
      await this.deps.update((now) => withOutcome(now, changes, problems, this.deps.clock.now()), signal);
    // a device that the guest let go at once sends its event before the call returns
    if (results.some(({ hasChanged }) => hasChanged)) this.isDirty = true;
    const retries = results.flatMap(({ retryInMs }) => retryInMs ?? []);
    return retries.length === 0 ? undefined : Math.min(...retries);
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

const conditionOf = ({ status }: VirtualMachineInstance) =>
  status?.conditions?.find(({ type }) => type === VmiCondition.synchronized);

/** The VMI with every change applied, and with what keeps it from being as its spec asks. Pure. */
export function withOutcome(
  vmi: VirtualMachineInstance,
  changes: readonly InstanceChange[],
  problems: readonly string[],
  nowMs: number,
): VirtualMachineInstance {
  const changed = changes.reduce((now, change) => change(now), vmi);
  const { synchronized } = VmiCondition;
  const conditions = changed.status?.conditions ?? [];
  const before = conditionOf(changed);
  const isOurs = before?.reason === HotplugReason.failedHotplugSync;
  const message = problems.join('; ');
  if (problems.length === 0 ? !isOurs : before?.message === message) return changed;
  const others = conditions.filter(({ type }) => type !== synchronized);
  const lastTransitionTime = isOurs ? before.lastTransitionTime : formatTime(nowMs);
  const condition = { type: synchronized, status: 'False', reason: HotplugReason.failedHotplugSync, message, lastTransitionTime };
  const next = problems.length === 0 ? others : [...others, { ...condition, lastProbeTime: null }];
  // null times are how KubeVirt writes them
  return { ...changed, status: { ...changed.status, conditions: next as NonNullable<typeof conditions> } };
}
