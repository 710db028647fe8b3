import type { GuestShell } from './guest-shell.ts';

const TICK_MICROSECONDS = 20_000;
/** So many ticks show how far the clocks are apart: the quickest of them counts. */
const TICKS = 60;
const PATIENCE_MS = 240_000;

const SCRIPT = `cat > /www/cgi-bin/clock <<'END'
#!/bin/sh
printf 'Content-Type: text/plain\\r\\n\\r\\n'
while :; do read uptime rest < /proc/uptime; echo $uptime; usleep ${TICK_MICROSECONDS}; done
END
chmod 755 /www/cgi-bin/clock`;

/** A connection over which nothing comes for so long is given up, and another one opened. */
const SILENCE_MS = 15_000;
const REDIAL_MS = 200;

/**
 * The guest's own clock, next to this machine's. A guest that does not run has no time: its clock is behind afterwards by
 * exactly as long as it stood still, whatever the network did meanwhile.
 */
export interface GuestClock {
  /** How far the guest's clock is behind, in milliseconds, from a zero of its own; to some 3 ms. */
  lag(): Promise<number>;
  /** Returns how many connections broke off meanwhile. */
  stop(): Promise<number>;
}

/** Lets the guest tell its time every 20 ms. */
export async function watchGuestClock(shell: GuestShell): Promise<GuestClock> {
  await shell.run(SCRIPT);
  const over = new AbortController();
  let lags: number[] = [];
  let wake: () => void = () => {};
  let broken = 0;
  const take = (lag: number): void => {
    lags.push(lag);
    if (lags.length >= TICKS) wake();
  };
  const reading = (async () => {
    while (!over.signal.aborted) {
      await readTicks(shell, over.signal, take).catch(() => {});
      if (over.signal.aborted) return;
      broken++;
      await new Promise((resolve) => setTimeout(resolve, REDIAL_MS));
    }
  })();
  return {
    async lag() {
      lags = [];
      const enough = new Promise<void>((resolve) => {
        wake = resolve;
      });
      let timer: NodeJS.Timeout | undefined;
      const late = new Promise<never>((_, reject) => {
        timer = setTimeout(() => reject(new Error('The guest does not tell its time any more')), PATIENCE_MS);
      });
      await Promise.race([enough, late]).finally(() => clearTimeout(timer));
      return Math.min(...lags);
    },
    async stop() {
      over.abort();
      await reading;
      return broken;
    },
  };
}

/** Ends, by throwing, when the connection does. */
async function readTicks(shell: GuestShell, signal: AbortSignal, take: (lag: number) => void): Promise<void> {
  const silent = new AbortController();
  let timer = setTimeout(() => silent.abort(), SILENCE_MS);
  try {
    const { body } = await fetch(`${shell.url}/cgi-bin/clock`, { signal: AbortSignal.any([signal, silent.signal]) });
    if (body === null) throw new Error('The guest has no clock');
    const decoder = new TextDecoder();
    let rest = '';
    for await (const chunk of body) {
      const now = performance.now();
      clearTimeout(timer);
      timer = setTimeout(() => silent.abort(), SILENCE_MS);
      const lines = (rest + decoder.decode(chunk, { stream: true })).split('\n');
      rest = lines.pop() ?? '';
      for (const line of lines) take(now - Number(line) * 1000);
    }
  } finally {
    clearTimeout(timer);
  }
}
