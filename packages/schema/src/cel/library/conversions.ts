import type { Duration } from '@marcbachmann/cel-js/evaluator';
import { durationText, timeText } from './format-text.ts';
import type { Registrar } from './register.ts';

const TIME = 'google.protobuf.Timestamp';
const DURATION = 'google.protobuf.Duration';

/** Conversions that the engine lacks. */
export function registerConversions({ on }: Registrar): void {
  on(`string(${TIME}): string`, (time: Date) => timeText(time));
  on(`string(${DURATION}): string`, (duration: Duration) => durationText(duration));
  on(`int(${TIME}): int`, (time: Date) => BigInt(Math.floor(time.getTime() / 1000)));
  on(`timestamp(${TIME}): ${TIME}`, (time: Date) => time);
  on(`duration(${DURATION}): ${DURATION}`, (duration: Duration) => duration);
}
