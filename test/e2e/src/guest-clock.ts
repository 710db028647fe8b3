import type { GuestShell } from './guest-shell.ts';

const TICK_MICROSECONDS = 20_000;
/** So many ticks show how far the clocks are apart: the quickest of them counts. */
const TICKS = 60;

const SCRIPT = `cat > /www/cgi-bin/clock <<'END'
#!/bin/sh
printf 'Content-Type: text/plain\\r\\n\\r\\n'
while :; do read uptime rest < /proc/uptime; echo $uptime; usleep ${TICK_MICROSECONDS}; done
END
chmod 755 /www/cgi-bin/clock`;

/**
 * The guest's own clock, next to this machine's. A guest that does not run has no time: its clock is behind afterwards by
 * exactly as long as it stood still, whatever the network did meanwhile.
 */
export interface GuestClock {
  /** How far the guest's clock is behind, in milliseconds, from a zero of its own; to some 3 ms. */
  lag(): Promise<number>;
  stop(): Promise<void>;
}

/** Lets the guest tell its time every 20 ms, over one connection. */
export async function watchGuestClock(shell: GuestShell): Promise<GuestClock> {
  await shell.run(SCRIPT);
  const over = new AbortController();
  let lags: number[] = [];
  let failure: unknown;
  let wake: () => void = () => {};
  const reading = readTicks(shell, over.signal, (lag) => {
    lags.push(lag);
    if (lags.length >= TICKS) wake();
  }).catch((error: unknown) => {
    failure = error;
    wake();
  });
  return {
    async lag() {
      lags = [];
      await new Promise<void>((resolve) => {
        wake = resolve;
        if (failure !== undefined) resolve();
      });
      if (failure !== undefined) throw new Error('The guest does not tell its time any more', { cause: failure });
      return Math.min(...lags);
    },
    async stop() {
      over.abort();
      await reading;
    },
  };
}

async function readTicks(shell: GuestShell, signal: AbortSignal, take: (lag: number) => void): Promise<void> {
  const { body } = await fetch(`${shell.url}/cgi-bin/clock`, { signal });
  if (body === null) throw new Error('The guest has no clock');
  const decoder = new TextDecoder();
  let rest = '';
  for await (const chunk of body) {
    const now = performance.now();
    const lines = (rest + decoder.decode(chunk, { stream: true })).split('\n');
    rest = lines.pop() ?? '';
    for (const line of lines) take(now - Number(line) * 1000);
  }
  throw new Error('The guest ended the connection');
}
