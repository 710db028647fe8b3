import type { DataImportCron } from '@slipway/api';
import { parseTime } from '@slipway/apimachinery';
import { parseSchedule } from '@slipway/runtime';
import { Annotation } from '../constants.ts';

/** Whether the source is to be asked now, and when next; an empty schedule asks once. */
export function pollPlan(cron: DataImportCron, nowMs: number): { readonly isDue: boolean; readonly nextMs?: number } {
  const last = parseTime(cron.metadata.annotations?.[Annotation.lastCronTime]);
  if (last === undefined) return { isDue: true };
  if (cron.spec.schedule === '') return { isDue: false };
  const nextMs = parseSchedule(cron.spec.schedule, undefined).next(last);
  if (nextMs === undefined) return { isDue: false };
  return nextMs <= nowMs ? { isDue: true } : { isDue: false, nextMs };
}

/** True for the five fields that CDI takes. */
export function isSchedule(text: string): boolean {
  if (text === '') return true;
  try {
    if (text.trim().split(/\s+/).length !== 5) return false;
    parseSchedule(text, undefined);
    return true;
  } catch {
    return false;
  }
}
