import type { PoolSet } from './pools/pool-set.ts';

/** Who may change a volume now: one after another in this agent, and one node at a time where nodes share it. */
export class VolumeTurns {
  private readonly pools: PoolSet;
  /** Writes of one volume's record and files happen one after another. */
  private readonly locks = new Map<string, Promise<unknown>>();
  /** Who has or waits for the lock of a volume, and the work that makes way for them. */
  private readonly waiting = new Map<string, number>();
  private readonly yielding = new Map<string, AbortController>();

  constructor(pools: PoolSet) {
    this.pools = pools;
  }

  /** Nobody else changes the volume meanwhile, on any node. */
  exclusively<T>(volumeUid: string, action: () => Promise<T>): Promise<T> {
    return this.inTurn(volumeUid, () => this.amongNodes(volumeUid, action));
  }

  /** Nobody else of this agent changes the volume meanwhile. */
  async inTurn<T>(volumeUid: string, action: () => Promise<T>): Promise<T> {
    this.yielding.get(volumeUid)?.abort(new Error('The volume is wanted'));
    this.waiting.set(volumeUid, (this.waiting.get(volumeUid) ?? 0) + 1);
    const before = this.locks.get(volumeUid) ?? Promise.resolve();
    const checked = async (): Promise<T> => {
      await this.pools.check(this.pools.poolOf(volumeUid));
      return action();
    };
    const run = before.then(checked, checked);
    const settled = run.catch(() => {});
    this.locks.set(volumeUid, settled);
    try {
      return await run;
    } finally {
      if (this.locks.get(volumeUid) === settled) this.locks.delete(volumeUid);
      const left = (this.waiting.get(volumeUid) ?? 1) - 1;
      if (left > 0) this.waiting.set(volumeUid, left);
      else this.waiting.delete(volumeUid);
    }
  }

  /** For whoever has the turn of this agent: no other node changes the volume meanwhile. */
  amongNodes<T>(volumeUid: string, action: () => Promise<T>): Promise<T> {
    return this.pools.amongNodes(volumeUid, action);
  }

  /**
   * For whoever has the turn: work that is not begun, or is broken off, when somebody else asks for the volume. Undefined
   * then.
   */
  async untilWanted<T>(
    volumeUid: string,
    work: (signal: AbortSignal) => Promise<T>,
    signal: AbortSignal,
  ): Promise<T | undefined> {
    if ((this.waiting.get(volumeUid) ?? 0) > 1) return undefined;
    const stop = new AbortController();
    this.yielding.set(volumeUid, stop);
    try {
      return await work(AbortSignal.any([signal, stop.signal]));
    } catch (error) {
      if (stop.signal.aborted) return undefined;
      throw error;
    } finally {
      this.yielding.delete(volumeUid);
    }
  }
}
