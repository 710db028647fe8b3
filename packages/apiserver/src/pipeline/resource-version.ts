import { StatusError, badRequest } from '@slipway/apimachinery';
import { CompactedError } from '@slipway/store';
import type { WatchCache } from '../watch-cache/watch-cache.ts';

const FUTURE_WAIT_MS = 3_000;

/** A resourceVersion parameter as number; undefined when absent. Throws 400 for anything but a whole number. */
export function parseResourceVersion(text: string | null): number | undefined {
  if (text === null || text === '') return undefined;
  if (!/^[0-9]{1,15}$/.test(text))
    throw badRequest(`resourceVersion: Invalid value: "${text}": strconv.ParseUint: parsing "${text}": invalid syntax`);
  return Number(text);
}

/** Waits until the cache knows `revision`; throws 504 when it does not come about. */
export async function waitForRevision(cache: WatchCache, revision: number): Promise<void> {
  if (await cache.waitFor(revision, FUTURE_WAIT_MS)) return;
  const message = `Too large resource version: ${revision}, current: ${cache.revision}`;
  throw new StatusError({
    code: 504,
    reason: 'Timeout',
    message: `Timeout: ${message}`,
    details: { causes: [{ reason: 'ResourceVersionTooLarge', message: 'Too large resource version' }], retryAfterSeconds: 1 },
  });
}

/** 410 for a version before the history. */
export const tooOld = (requested: number, oldest: number): StatusError =>
  new StatusError({ code: 410, reason: 'Expired', message: `too old resource version: ${requested} (${oldest})` });

/** 410 for history that is gone. */
export function expiredError(error: CompactedError, requested: number): StatusError {
  return new StatusError(
    { code: 410, reason: 'Expired', message: `too old resource version: ${requested} (${error.oldestRevision})` },
    error,
  );
}

/** Runs a read of the past, turning lost history into 410. */
export function readPast<T>(revision: number, read: () => T): T {
  try {
    return read();
  } catch (error) {
    if (error instanceof CompactedError) throw expiredError(error, revision);
    throw error;
  }
}
