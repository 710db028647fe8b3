import { CommandFailure } from './io.ts';

const UNITS: Readonly<Record<string, number>> = { ns: 1e-6, us: 1e-3, µs: 1e-3, ms: 1, s: 1_000, m: 60_000, h: 3_600_000 };

/** Milliseconds of a duration as Go writes it (`1h30m`, `90s`). Throws CommandFailure naming the flag. */
export function parseDuration(flag: string, text: string): number {
  const parts = [...text.matchAll(/(\d+(?:\.\d+)?)(ns|us|µs|ms|s|m|h)/g)];
  if (text === '0') return 0;
  if (parts.length === 0 || parts.map(([part]) => part).join('') !== text)
    throw new CommandFailure(`invalid argument "${text}" for "--${flag}" flag: write a duration such as 90s, 10m or 1h30m`);
  return parts.reduce((sum, [, amount = '', unit = '']) => sum + Number(amount) * (UNITS[unit] ?? 0), 0);
}

/** `1h0m0s`: how the API stores durations. */
export function formatDuration(milliseconds: number): string {
  const seconds = milliseconds / 1_000;
  const [hours, minutes] = [Math.floor(seconds / 3_600), Math.floor((seconds % 3_600) / 60)];
  const rest = `${Number((seconds % 60).toFixed(9))}s`;
  if (hours > 0) return `${hours}h${minutes}m${rest}`;
  return minutes > 0 ? `${minutes}m${rest}` : rest;
}
