import { setTimeout as sleep } from 'node:timers/promises';
import type { Client } from '@slipway/client';
import { type Application, ApplicationKind } from '@slipway/gitops';
import { UserError } from '../report-failure.ts';

export const REFRESH = 'normal';
export const EXIT_TIMEOUT = 3;
const EXIT_INTERRUPTED = 130;
const POLL_MS = 500;
const REFRESH_ANNOTATION = 'argocd.argoproj.io/refresh';
const REFRESH_MS = 180_000;

const keyOf = ({ metadata }: Application) => ({ namespace: metadata.namespace ?? '', name: metadata.name ?? '' });

export interface Waiting {
  readonly client: Client;
  readonly app: Application;
  /** Undefined: as long as it takes. */
  readonly timeoutMs: number | undefined;
  /** What is waited for, once each time that it is something else. */
  readonly say: (line: string) => void;
  /** What the user may do when the waiting ends early. */
  readonly onEnd: string;
}

/** Looks again and again until nothing is left to wait for. Throws UserError at the deadline and on Ctrl+C. */
export async function waitForApp(
  { client, app, timeoutMs, say, onEnd }: Waiting,
  waitsFor: (app: Application) => string | undefined,
): Promise<Application> {
  const interrupted = new AbortController();
  const interrupt = (): void => interrupted.abort();
  process.once('SIGINT', interrupt);
  process.once('SIGTERM', interrupt);
  const signal = AbortSignal.any([interrupted.signal, ...(timeoutMs === undefined ? [] : [AbortSignal.timeout(timeoutMs)])]);
  let last = '';
  try {
    for (;;) {
      const now = await client.get(ApplicationKind, keyOf(app), { signal });
      const text = waitsFor(now);
      if (text === undefined) return now;
      if (text !== last) say(text);
      last = text;
      await sleep(POLL_MS, undefined, { signal });
    }
  } catch (error) {
    if (!signal.aborted) throw error;
    const isInterrupt = interrupted.signal.aborted;
    throw new UserError(
      `${isInterrupt ? 'Interrupted' : 'Not there in time'}${last === '' ? '' : `, ${last}`}; ${onEnd}`,
      isInterrupt ? EXIT_INTERRUPTED : EXIT_TIMEOUT,
    );
  } finally {
    process.off('SIGINT', interrupt);
    process.off('SIGTERM', interrupt);
  }
}

/** The Application after it has been compared anew. */
export async function refreshed(client: Client, app: Application, how: string): Promise<Application> {
  const patch = { metadata: { annotations: { [REFRESH_ANNOTATION]: how } } };
  await client.patch(ApplicationKind, keyOf(app), patch, { type: 'merge' });
  const onEnd = 'does an Argo CD or Slipway reconcile it?';
  return waitForApp({ client, app, timeoutMs: REFRESH_MS, say: () => {}, onEnd }, ({ metadata }) =>
    metadata.annotations?.[REFRESH_ANNOTATION] === undefined ? undefined : 'being compared',
  );
}
