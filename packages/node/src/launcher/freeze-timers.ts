import type { VirtualMachineInstance } from '@slipway/api';
import type { TimerClock } from '@slipway/runtime';

/** What of a launch freezing needs. */
export interface FreezableGuest {
  /** Unique among the guests of this node. */
  readonly name: string;
  freeze(): Promise<unknown>;
  thaw(): Promise<unknown>;
  /** Applies a pure change to the VMI. */
  update(change: (vmi: VirtualMachineInstance) => VirtualMachineInstance): Promise<void>;
}

/** KubeVirt's own default: nobody remembers after a restart what was asked for. */
const ADOPTED_THAW_SECONDS = 300;

/** The VMI with its file systems frozen or not. Pure; the same object when it says so already. */
export function frozenInstance(vmi: VirtualMachineInstance, isFrozen: boolean): VirtualMachineInstance {
  const { fsFreezeStatus, ...status } = vmi.status ?? {};
  if (isFrozen === (fsFreezeStatus === 'frozen')) return vmi;
  return { ...vmi, status: isFrozen ? { ...status, fsFreezeStatus: 'frozen' } : status };
}

/** Freezes guests' file systems and thaws them when the time is over, whoever froze them. */
export class FreezeTimers {
  private readonly clock: TimerClock;
  private readonly cancels = new Map<string, () => void>();

  constructor(clock: TimerClock) {
    this.clock = clock;
  }

  /** `seconds` 0: until somebody thaws it. */
  async freeze(guest: FreezableGuest, seconds: number): Promise<void> {
    await guest.freeze();
    this.thawAfter(guest, seconds);
    await guest.update((vmi) => frozenInstance(vmi, true));
  }

  async thaw(guest: FreezableGuest): Promise<void> {
    this.cancel(guest.name);
    await guest.thaw();
    await guest.update((vmi) => frozenInstance(vmi, false));
  }

  /** A guest that was frozen when the agent went down does not stay so for ever. */
  adopt(guest: FreezableGuest, vmi: VirtualMachineInstance): void {
    if (vmi.status?.fsFreezeStatus === 'frozen' && !this.cancels.has(guest.name)) this.thawAfter(guest, ADOPTED_THAW_SECONDS);
  }

  private thawAfter(guest: FreezableGuest, seconds: number): void {
    this.cancel(guest.name);
    if (seconds <= 0) return;
    const thaw = (): void => {
      this.thaw(guest).catch(() => {}); // the guest has ended meanwhile, or its agent has
    };
    this.cancels.set(guest.name, this.clock.setTimer(seconds * 1000, thaw));
  }

  private cancel(name: string): void {
    this.cancels.get(name)?.();
    this.cancels.delete(name);
  }
}
