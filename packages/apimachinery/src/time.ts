const MILLIS: Readonly<Record<string, number>> = { ns: 1e-6, us: 1e-3, µs: 1e-3, ms: 1, s: 1000, m: 60_000, h: 3_600_000 };

/** `metav1.Time`: whole seconds, UTC. */
export function formatTime(epochMs: number): string {
  const second = Math.floor(epochMs / 1000);
  // asked for several times for each write, and thousands of writes share a second
  if (second !== lastTime.second) lastTime = { second, text: `${new Date(epochMs).toISOString().slice(0, 19)}Z` };
  return lastTime.text;
}

let lastTime: { readonly second: number; readonly text: string } = { second: Number.NaN, text: '' };

/** `metav1.MicroTime`: exactly six digits. */
export function formatMicroTime(epochMs: number): string {
  const micros = Math.floor((epochMs % 1000) * 1000);
  return `${new Date(Math.floor(epochMs)).toISOString().slice(0, 19)}.${String(micros).padStart(6, '0')}Z`;
}

/** Milliseconds since the epoch of an RFC 3339 time, or undefined. */
export function parseTime(text: unknown): number | undefined {
  if (typeof text !== 'string' || !/^\d{4}-\d\d-\d\d[Tt]\d\d:\d\d:\d\d(\.\d+)?([Zz]|[+-]\d\d:\d\d)$/.test(text)) return undefined;
  const epochMs = Date.parse(text.toUpperCase());
  return Number.isNaN(epochMs) ? undefined : epochMs;
}

/** Milliseconds of a Go duration such as `1h30m`, `300ms`, `0`; undefined when it is not one. */
export function parseDuration(text: string): number | undefined {
  const match = /^([-+]?)((?:\d+(?:\.\d*)?|\.\d+)(?:ns|us|µs|ms|s|m|h))+$/.exec(text);
  if (text === '0') return 0;
  if (match === null) return undefined;
  let total = 0;
  for (const [, amount, unit = ''] of text.matchAll(/(\d+(?:\.\d*)?|\.\d+)(ns|us|µs|ms|s|m|h)/g)) {
    total += Number(amount) * (MILLIS[unit] ?? 0);
  }
  return match[1] === '-' ? -total : total;
}

/** Go's text of a duration: `1h30m0s`, `1.5s`, `300ms`, `0s`. */
export function formatDuration(ms: number): string {
  if (ms === 0) return '0s';
  const sign = ms < 0 ? '-' : '';
  const magnitude = Math.abs(ms);
  if (magnitude < 1000) return `${sign}${formatSubSecond(magnitude)}`;
  const hours = Math.floor(magnitude / 3_600_000);
  const minutes = Math.floor((magnitude % 3_600_000) / 60_000);
  const seconds = trimNumber((magnitude % 60_000) / 1000);
  const prefix = hours > 0 ? `${hours}h${minutes}m` : minutes > 0 ? `${minutes}m` : '';
  return `${sign}${prefix}${seconds}s`;
}

function formatSubSecond(ms: number): string {
  if (ms >= 1) return `${trimNumber(ms)}ms`;
  return ms >= 0.001 ? `${trimNumber(ms * 1000)}µs` : `${Math.round(ms * 1e6)}ns`;
}

const trimNumber = (value: number): string => String(Math.round(value * 1e6) / 1e6);

/** Age as kubectl shows it: two units at most, coarser the older it is. */
export function humanDuration(ms: number): string {
  const seconds = Math.trunc(ms / 1000);
  if (seconds < -1) return '<invalid>';
  if (seconds < 0) return '0s';
  if (seconds < 120) return `${seconds}s`;
  const minutes = Math.floor(seconds / 60);
  if (minutes < 10) return pair(minutes, 'm', seconds % 60, 's');
  if (minutes < 180) return `${minutes}m`;
  const hours = Math.floor(minutes / 60);
  if (hours < 8) return pair(hours, 'h', minutes % 60, 'm');
  if (hours < 48) return `${hours}h`;
  if (hours < 192) return pair(Math.floor(hours / 24), 'd', hours % 24, 'h');
  if (hours < 24 * 365 * 2) return `${Math.floor(hours / 24)}d`;
  const years = Math.floor(hours / 24 / 365);
  return hours < 24 * 365 * 8 ? pair(years, 'y', Math.floor(hours / 24) % 365, 'd') : `${years}y`;
}

const pair = (major: number, majorUnit: string, minor: number, minorUnit: string): string =>
  minor === 0 ? `${major}${majorUnit}` : `${major}${majorUnit}${minor}${minorUnit}`;

/** The Age cell of a table: time since a timestamp, `<unknown>` without one. */
export function ageOf(timestamp: string | null | undefined, nowMs: number): string {
  const then = parseTime(timestamp);
  return then === undefined ? '<unknown>' : humanDuration(nowMs - then);
}
