/** Writes why somebody was not let in. */
export type RefusalLog = (fields: Readonly<Record<string, unknown>>, reason: string) => void;

const QUIET_MS = 10_000;
/** Reasons are ours or a library's, but may name an issuer's words. */
const MAX_REASONS = 100;

/** The same reason again is only counted for a while: a client that repeats a bad token must not fill the log. */
export function quietly(write: RefusalLog, nowMs: () => number): RefusalLog {
  const seen = new Map<string, { lastMs: number; suppressed: number }>();
  return (fields, reason) => {
    const key = `${JSON.stringify(fields)} ${reason}`;
    const entry = seen.get(key);
    const now = nowMs();
    if (entry !== undefined && now - entry.lastMs < QUIET_MS) {
      entry.suppressed += 1;
      return;
    }
    if (seen.size >= MAX_REASONS) seen.clear();
    seen.set(key, { lastMs: now, suppressed: 0 });
    const repeated = entry?.suppressed ?? 0;
    write(repeated > 0 ? { ...fields, repeated } : fields, reason);
  };
}
