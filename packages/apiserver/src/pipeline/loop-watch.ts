import { createHistogram, type RecordableHistogram } from 'node:perf_hooks';

/** How often the event loop is looked at: often enough for stalls that hurt. */
export const RESOLUTION_MS = 20;
/** How long it is looked at after the last request: an idle server must sleep. */
const AWAKE_MS = 500;

/** How late the event loop comes back, as long as somebody asks the server for something. */
export interface LoopWatch {
  /** Delays in nanoseconds; a stall may have been `RESOLUTION_MS` longer. */
  readonly delays: RecordableHistogram;
  /** There is work: starts to look, or goes on. */
  note(): void;
  close(): void;
}

export interface LoopClock {
  now(): number;
  every(ms: number, tick: () => void): () => void;
}

const systemClock: LoopClock = {
  now: () => performance.now(),
  every: (ms, tick) => {
    const timer = setInterval(tick, ms).unref();
    return () => clearInterval(timer);
  },
};

export function loopWatch(clock: LoopClock = systemClock): LoopWatch {
  const delays = createHistogram();
  let stop: (() => void) | undefined;
  let lookedAt = 0;
  let busyAt = 0;
  const sleep = (): void => {
    stop?.();
    stop = undefined;
  };
  const look = (): void => {
    const now = clock.now();
    const lateMs = now - lookedAt - RESOLUTION_MS;
    lookedAt = now;
    delays.record(Math.max(1, Math.round(lateMs * 1e6))); // a histogram takes whole numbers above zero
    if (now - busyAt > AWAKE_MS) sleep();
  };
  return {
    delays,
    note() {
      busyAt = clock.now();
      if (stop !== undefined) return;
      lookedAt = busyAt;
      stop = clock.every(RESOLUTION_MS, look);
    },
    close: sleep,
  };
}
