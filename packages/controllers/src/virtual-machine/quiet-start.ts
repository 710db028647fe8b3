import type { VirtualMachine } from '@slipway/api';
import type { Clock } from '@slipway/runtime';

/**
 * Leaves new VMs alone for a moment: a client that creates one and at once sends an update of what it got back shall not
 * run into a conflict with a status that says nothing new.
 */
export class QuietStart {
  private readonly clock: Clock;
  private readonly periodMs: number;
  /** When VMs that are still left alone were first seen, by uid. */
  private readonly firstSeen = new Map<string, number>();

  constructor(clock: Clock, periodMs: number) {
    this.clock = clock;
    this.periodMs = periodMs;
  }

  /** How much longer this VM, which has nothing to do, is left alone. */
  leftMs({ metadata }: VirtualMachine): number {
    const uid = metadata.uid ?? '';
    const nowMs = this.clock.now();
    const sinceMs = this.firstSeen.get(uid) ?? nowMs;
    const leftMs = sinceMs + this.periodMs - nowMs;
    if (leftMs > 0) this.firstSeen.set(uid, sinceMs);
    else this.firstSeen.delete(uid);
    return leftMs;
  }

  forget({ metadata }: VirtualMachine): void {
    this.firstSeen.delete(metadata.uid ?? '');
  }
}
