import { type KubeObject, keyOf, keyString, type ObjectKey } from '@slipway/apimachinery';
import type { Clock } from '@slipway/runtime';

/** For how long a new VM is left alone. */
export const QUIET_START_MS = 300;
/** Nobody waits for the first status of a pool or replica set: its members are made meanwhile. */
export const GROUP_QUIET_START_MS = 1_000;

/**
 * Leaves new objects alone for a moment: a client that creates one and at once sends an update of what it got back shall
 * not run into a conflict with a status that says nothing new.
 */
export class QuietStart {
  private readonly clock: Clock;
  private readonly periodMs: number;
  /** When objects that are still left alone were first seen. */
  private readonly firstSeen = new Map<string, { readonly uid: string; readonly sinceMs: number }>();

  constructor(clock: Clock, periodMs: number) {
    this.clock = clock;
    this.periodMs = periodMs;
  }

  /** How much longer this object is left alone, of which there is nothing new to say. */
  leftMs(object: KubeObject): number {
    const key = keyString(keyOf(object));
    const { uid = '' } = object.metadata;
    const nowMs = this.clock.now();
    const known = this.firstSeen.get(key);
    const sinceMs = known?.uid === uid ? known.sinceMs : nowMs;
    const leftMs = sinceMs + this.periodMs - nowMs;
    if (leftMs > 0) this.firstSeen.set(key, { uid, sinceMs });
    else this.firstSeen.delete(key);
    return leftMs;
  }

  forget(key: ObjectKey): void {
    this.firstSeen.delete(keyString(key));
  }
}
