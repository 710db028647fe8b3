/** How many connections a download uses, and whether that may still change. */
export interface Pace {
  readonly connections: number;
  readonly isSettled: boolean;
  /** Bytes per millisecond with half as many connections. */
  readonly rateBefore?: number;
}

/** What was seen since the last decision. */
export interface PaceSample {
  readonly bytes: number;
  readonly elapsedMs: number;
  /** Of these, waiting for bytes from the network; the rest went into hashing, unpacking and writing. */
  readonly waitedMs: number;
  readonly leftBytes: number;
}

export const MAX_CONNECTIONS = 4;
/** A decision needs this much time to be about the network and not about its start. */
export const SAMPLE_MS = 2000;
/** Bytes per millisecond beyond which one connection is no bottleneck worth a second one. */
const FAST = 200_000;
const MIN_LEFT = 64 * 1024 * 1024;
const MIN_WAITING = 0.6;
const MIN_GAIN = 1.2;

/** More connections while the network is what a download waits for and each doubling pays; a server keeps its peace else. */
export function nextPace(pace: Pace, { bytes, elapsedMs, waitedMs, leftBytes }: PaceSample): Pace {
  const { connections, isSettled, rateBefore } = pace;
  if (isSettled || elapsedMs < SAMPLE_MS) return pace;
  const rate = bytes / elapsedMs;
  if (rateBefore !== undefined && rate < rateBefore * MIN_GAIN)
    return { connections: Math.max(1, connections / 2), isSettled: true };
  const isWorthIt = leftBytes >= MIN_LEFT && rate < FAST && waitedMs >= elapsedMs * MIN_WAITING;
  if (!isWorthIt || connections >= MAX_CONNECTIONS) return { connections, isSettled: connections >= MAX_CONNECTIONS };
  return { connections: connections * 2, isSettled: false, rateBefore: rate };
}
