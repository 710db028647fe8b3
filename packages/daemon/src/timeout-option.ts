import { parseDuration } from '@slipway/apimachinery';
import { UserError } from './report-failure.ts';

/** Milliseconds of `--timeout`. As kubectl's, 0 is for ever: undefined, as when it is not given. Throws UserError. */
export function timeoutOption(text: string | undefined): number | undefined {
  if (text === undefined) return undefined;
  const ms = parseDuration(text);
  if (ms === undefined || ms < 0) throw new UserError(`--timeout: not a time: ${text}; for example 90s or 5m`, 2);
  return ms === 0 ? undefined : ms;
}
