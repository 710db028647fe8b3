import { setMaxListeners } from 'node:events';
import { closeSync, writeSync } from 'node:fs';

/** The pipe on which a supervised process says that it is ready, see hostapi's startSupervised. */
const READY_FD = 3;

/** Tells whoever waits; after a restart by the supervisor nobody does. */
export function announceReady(): void {
  try {
    writeSync(READY_FD, 'ready\n');
    closeSync(READY_FD);
  } catch {
    // no pipe, or its reader has gone
  }
}

/** Aborted by SIGTERM or SIGINT. */
export function terminationSignal(): AbortSignal {
  const controller = new AbortController();
  setMaxListeners(0, controller.signal); // all that the process does listens to it
  for (const name of ['SIGTERM', 'SIGINT'] as const) process.once(name, () => controller.abort(new Error(`Stopped by ${name}`)));
  return controller.signal;
}
