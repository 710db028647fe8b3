import type { WireAnswer, WireConnection } from './api-wire.ts';

/** Makes the n-th request of a load. */
export type Shot = (connection: WireConnection, n: number) => Promise<WireAnswer>;

export interface LoadLimits {
  /** The load stops when the time or the count is reached, whichever is first. */
  readonly ms: number;
  readonly count: number;
}

export interface LoadResult {
  readonly done: number;
  readonly perSecond: number;
  readonly latenciesMs: readonly number[];
}

/** Every connection sends its next request when it has the answer to the last. Throws when an answer is not 2xx. */
export async function runLoad(
  connections: readonly WireConnection[],
  { ms, count }: LoadLimits,
  shot: Shot,
): Promise<LoadResult> {
  const latenciesMs: number[] = [];
  const startedAt = performance.now();
  let next = 0;
  const worker = async (connection: WireConnection): Promise<void> => {
    while (next < count && performance.now() - startedAt < ms) {
      const n = next++;
      const sentAt = performance.now();
      const answer = await shot(connection, n);
      if (answer.status >= 300) throw new Error(`Request ${n} was answered ${answer.status}: ${answer.body.toString()}`);
      latenciesMs.push(performance.now() - sentAt);
    }
  };
  await Promise.all(connections.map(worker));
  const seconds = (performance.now() - startedAt) / 1000;
  return { done: latenciesMs.length, perSecond: latenciesMs.length / seconds, latenciesMs };
}

/** The value below which `share` of the values lie. */
export function percentile(values: readonly number[], share: number): number {
  const sorted = [...values].sort((a, b) => a - b);
  const value = sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))];
  if (value === undefined) throw new Error('A percentile needs at least one value');
  return value;
}
