import { LibvirtError } from '../libvirt/index.ts';

interface Trouble {
  /** First request of a detach. */
  readonly sinceMs: number;
  failures: number;
  nextMs: number;
  alias: string | undefined;
  isRefused: boolean;
  told: string | undefined;
}

const FIRST_DELAY_MS = 5_000;
/** A guest that has come up or has unmounted a disk meanwhile is not kept waiting, nor is the claim that its pod holds. */
const MAX_DELAY_MS = 60_000;
/** A guest that works lets a device go within this time. */
const DETACH_PATIENCE_MS = 20_000;

const delayOf = (failures: number): number => Math.min(MAX_DELAY_MS, FIRST_DELAY_MS * 2 ** Math.min(failures, 10));

/** Remembers what did not work, so that it is tried again ever more seldom, and told after a while. */
export class Patience {
  private readonly nowMs: () => number;
  private readonly troubles = new Map<string, Trouble>();

  private readonly limitMs: number;

  /** `limitMs`: how long the guest may take before it is told. */
  constructor(nowMs: () => number, limitMs = DETACH_PATIENCE_MS) {
    this.nowMs = nowMs;
    this.limitMs = limitMs;
  }

  /** Forgets what is wanted no more. */
  keep(keys: readonly string[]): void {
    for (const key of this.troubles.keys()) if (!keys.includes(key)) this.troubles.delete(key);
  }

  isDue(key: string): boolean {
    return (this.troubles.get(key)?.nextMs ?? 0) <= this.nowMs();
  }

  /** A step failed at once. */
  failed(key: string): void {
    this.asked(key, undefined);
  }

  /** The guest was asked for something that it does in its own time. */
  asked(key: string, alias: string | undefined): void {
    const nowMs = this.nowMs();
    const trouble = this.troubles.get(key) ?? {
      sinceMs: nowMs,
      failures: 0,
      nextMs: 0,
      alias,
      isRefused: false,
      told: undefined,
    };
    trouble.nextMs = nowMs + delayOf(trouble.failures);
    trouble.failures++;
    this.troubles.set(key, trouble);
  }

  /** The guest said no. */
  refused(alias: string): void {
    for (const trouble of this.troubles.values()) if (trouble.alias === alias) trouble.isRefused = true;
  }

  /** How often a step has not worked. */
  failures(key: string): number {
    return this.troubles.get(key)?.failures ?? 0;
  }

  /** Keeps what people are told about a step until it works. */
  tell(key: string, message: string): void {
    const trouble = this.troubles.get(key);
    if (trouble) trouble.told = message;
  }

  told(key: string): string | undefined {
    return this.troubles.get(key)?.told;
  }

  forget(key: string): void {
    this.troubles.delete(key);
  }

  /** What to tell about a request that the guest has not followed; undefined: wait a little more. */
  verdict(key: string): 'refused' | 'timed-out' | undefined {
    const trouble = this.troubles.get(key);
    if (trouble === undefined) return undefined;
    if (trouble.isRefused) return 'refused';
    return this.nowMs() - trouble.sinceMs >= this.limitMs ? 'timed-out' : undefined;
  }

  /** When the next retry or verdict is due; undefined: never. */
  nextInMs(): number | undefined {
    const nowMs = this.nowMs();
    const times = [...this.troubles.values()].flatMap(({ nextMs, sinceMs, alias }) => {
      const toldMs = sinceMs + this.limitMs;
      return alias !== undefined && toldMs > nowMs ? [nextMs, toldMs] : [nextMs];
    });
    return times.length === 0 ? undefined : Math.max(0, Math.min(...times) - nowMs);
  }
}

/** The guest was asked already and has not answered; not a failure. */
export function isPendingUnplug(error: unknown): boolean {
  return error instanceof LibvirtError && /already in the process of unplug/i.test(error.message);
}
