import { StatusError } from '@slipway/apimachinery';
import { backOffDelay, sleep } from '@slipway/runtime';
import { unsynchronizedInstance } from './instance-status.ts';
import { VolumeError } from '../volumes/index.ts';
import type { LaunchDeps, LaunchView } from './launch-view.ts';

const RETRY = { baseMs: 500, maxMs: 15_000, jitter: 0.2 };

/**
 * Repeats a step of a launch with growing delays until it works; the VMI and an event say meanwhile what is wrong. Rejects
 * when the launch is over or its guest has ended.
 */
export async function retried<T>(launch: LaunchView, what: string, step: () => Promise<T>): Promise<T> {
  const { deps, writer, pod, signal } = launch;
  const { clock, random, log, events } = deps;
  for (let failures = 1; ; failures++) {
    signal.throwIfAborted();
    try {
      return await step();
    } catch (error) {
      signal.throwIfAborted();
      if (launch.hasEnded()) throw error;
      const message = `Cannot ${what}: ${error instanceof Error ? error.message : String(error)}`;
      log.warn({ pod: pod.key, failures, error: message }, 'launch step failed');
      launch.troubled();
      events.warning(writer.current, 'SyncFailed', message);
      if (isInUse(error)) events.warning(pod.current, 'FailedAttachVolume', error.message);
      await writer.update((vmi) => unsynchronizedInstance(vmi, message, clock.now()), signal).catch(() => {});
      await Promise.race([sleep(clock, backOffDelay(failures, RETRY, random), signal), launch.ended]);
    }
  }
}

/** Kubernetes tells the pod, and not only the instance, that another one has a volume. */
const isInUse = (error: unknown): error is VolumeError => error instanceof VolumeError && error.reason === 'VolumeInUse';

/** Answers that stay the same however often one asks. Others come from a server that is away, busy or not quite there. */
const REFUSALS: readonly number[] = [400, 404, 409, 410, 413, 422];

/**
 * Repeats a write that must not be lost because the server is away just then. Rejects when the server refuses it or the
 * signal is aborted.
 */
export async function untilWritten(
  { clock, random }: Pick<LaunchDeps, 'clock' | 'random'>,
  write: () => Promise<void>,
  signal: AbortSignal,
): Promise<void> {
  for (let failures = 1; ; failures++) {
    try {
      await write();
      return;
    } catch (error) {
      signal.throwIfAborted();
      if (error instanceof StatusError && REFUSALS.includes(error.code)) throw error;
      await sleep(clock, backOffDelay(failures, RETRY, random), signal);
    }
  }
}
