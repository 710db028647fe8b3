import { parseDuration } from '@slipway/apimachinery';
import { Cron } from 'croner';

/** When a CronJob runs. */
export interface Schedule {
  /** The first time after `ms`; undefined when there is none. */
  next(ms: number): number | undefined;
}

const MAX_MISSED = 100;

/** Reads a schedule of five fields, `@hourly` and the like, `@every 5m`, with `TZ=` in front or a time zone beside. */
export function parseSchedule(text: string, timeZone: string | undefined): Schedule {
  const prefixed = /^(?:CRON_)?TZ=(\S+)\s+(.*)$/.exec(text);
  const [zone, pattern] = prefixed ? [prefixed[1], prefixed[2] ?? ''] : [timeZone, text];
  const every = /^@every\s+(\S+)$/.exec(pattern)?.[1];
  if (every !== undefined) {
    const stepMs = Math.max(1000, parseDuration(every) ?? 0);
    return { next: (ms) => ms + stepMs };
  }
  // without a function croner only answers questions: it sets no timers
  const cron = new Cron(pattern.replace(/^@midnight$/, '@daily'), {
    timezone: zone ?? 'UTC',
    sloppyRanges: true, // Kubernetes reads `3/12` as `3-23/12`
  });
  return { next: (ms) => cron.nextRun(new Date(ms))?.getTime() };
}

/** The latest time that is due since `afterMs`, and how many there were, counted up to a bound. */
export function latestDue(schedule: Schedule, afterMs: number, nowMs: number): { dueMs: number | undefined; missed: number } {
  let dueMs: number | undefined;
  let missed = 0;
  for (let next = schedule.next(afterMs); next !== undefined && next <= nowMs; next = schedule.next(next)) {
    dueMs = next;
    missed++;
    // after a long absence the ones in between do not matter: go near the end at once
    if (missed === MAX_MISSED) return { dueMs: lastBefore(schedule, next, nowMs), missed };
  }
  return { dueMs, missed };
}

function lastBefore(schedule: Schedule, fromMs: number, nowMs: number): number {
  const step = Math.max(1, (schedule.next(fromMs) ?? nowMs) - fromMs);
  for (let backMs = step; backMs < nowMs - fromMs; backMs *= 2) {
    let due = schedule.next(nowMs - backMs);
    if (due === undefined || due > nowMs) continue;
    for (let next = schedule.next(due); next !== undefined && next <= nowMs; next = schedule.next(due)) due = next;
    return due;
  }
  return fromMs;
}
