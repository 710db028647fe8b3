import { withFileLock } from '@slipway/hostapi';

/** Ends with this process, and so does the lock: an action on a volume is never broken off midway. */
const never = new AbortController();

/** Runs an action while no other node has the lock of the file; at once when there is no file. */
export const runExclusively = <T>(path: string | undefined, action: () => Promise<T>): Promise<T> =>
  path === undefined ? action() : withFileLock(path, action, never.signal);
