import { define, FunctionError, type FunctionTable } from '../template/functions.ts';
import { formatDuration } from '../template/format.ts';
import { type GoFunction, type GoObject, Int, int, int64, isObject, typeName, type Value } from '../template/values.ts';
import { type FunctionSources, toBigInt } from './context.ts';
import { formatLayout, offsetOf, parseLayout, zoneName } from './layout.ts';

/** A time of Go; the zone only matters when it is printed. */
export class GoTime implements GoObject {
  readonly goType = 'time.Time';
  readonly milliseconds: number;
  readonly zone: string;

  constructor(milliseconds: number, zone = 'UTC') {
    this.milliseconds = milliseconds;
    this.zone = zone;
  }

  member(name: string): Value | GoFunction {
    return timeMember(this, name);
  }

  toText(): string {
    return formatLayout(
      this.milliseconds,
      `2006-01-02 15:04:05.999999999 -0700 ${zoneName(this.milliseconds, this.zone)}`,
      this.zone,
    );
  }

  toJson(): string {
    return formatLayout(this.milliseconds, '2006-01-02T15:04:05.999999999Z07:00', this.zone);
  }
}

function timeMember(time: GoTime, name: string): Value | GoFunction {
  const { milliseconds, zone } = time;
  const local = new Date(milliseconds + offsetOf(milliseconds, zone) * 1000);
  const seconds = Math.floor(milliseconds / 1000);
  switch (name) {
    case 'Year':
      return define('', () => int(local.getUTCFullYear()));
    case 'Month':
      return define('', () => new Int(local.getUTCMonth() + 1, 'time.Month'));
    case 'Day':
      return define('', () => int(local.getUTCDate()));
    case 'Hour':
      return define('', () => int(local.getUTCHours()));
    case 'Minute':
      return define('', () => int(local.getUTCMinutes()));
    case 'Second':
      return define('', () => int(local.getUTCSeconds()));
    case 'Unix':
      return define('', () => int64(seconds));
    case 'UTC':
      return define('', () => new GoTime(milliseconds));
    case 'Format':
      return define('string', (layout: string) => formatLayout(milliseconds, layout, zone));
    case 'AddDate':
      return define('int int int', (years: Int, months: Int, days: Int) => addDate(time, years, months, days));
    default:
      return undefined;
  }
}

function addDate({ milliseconds, zone }: GoTime, years: Int, months: Int, days: Int): GoTime {
  const date = new Date(milliseconds);
  const result = Date.UTC(
    date.getUTCFullYear() + Number(years.value),
    date.getUTCMonth() + Number(months.value),
    date.getUTCDate() + Number(days.value),
  );
  return new GoTime(result + (milliseconds % 86_400_000), zone);
}

const DURATION = /^([-+]?)((?:(?:\d+\.?\d*|\.\d+)(?:ns|us|µs|\u03bcs|ms|s|m|h))+|0)$/;
const NANOSECONDS: Readonly<Record<string, number>> = { ns: 1, us: 1e3, µs: 1e3, μs: 1e3, ms: 1e6, s: 1e9, m: 60e9, h: 3600e9 };

/** `time.ParseDuration`, in nanoseconds. */
export function parseDuration(text: string): bigint | undefined {
  const match = DURATION.exec(text);
  if (match === null) return undefined;
  let sum = 0;
  for (const [, amount = '0', unit = 's'] of (match[2] ?? '').matchAll(/([\d.]+)([a-zµ\u03bc]+)/g))
    sum += Number(amount) * (NANOSECONDS[unit] ?? 0);
  return BigInt(Math.round(sum)) * (match[1] === '-' ? -1n : 1n);
}

/** The date in an argument: a time, or seconds since the epoch; anything else is now. */
function timeOf(value: Value, now: () => number): GoTime {
  if (value instanceof GoTime) return value;
  if (value instanceof Int) return new GoTime(Number(value.value) * 1000);
  return new GoTime(now());
}

const elapsed = (milliseconds: number): Int => new Int(BigInt(Math.round(milliseconds)) * 1_000_000n, 'time.Duration');

/** Sprig's functions on dates and durations. */
export function dateFunctions({ now }: FunctionSources): FunctionTable {
  const inZone = define('string any string', (layout: string, value: Value, zone: string) =>
    formatLayout(timeOf(value, now).milliseconds, layout, knownZone(zone)),
  );
  const modify = (isStrict: boolean): GoFunction =>
    define('string object', (text: string, value: Value) => {
      const duration = parseDuration(text);
      if (duration === undefined && isStrict) throw new FunctionError(`time: invalid duration "${text}"`);
      const time = timeOf(value, now);
      return new GoTime(time.milliseconds + Number((duration ?? 0n) / 1_000_000n), time.zone);
    });
  const [dateModify, mustDateModify] = [modify(false), modify(true)];
  return {
    now: define('', () => new GoTime(now())),
    date: define('string any', (layout: string, value: Value) => formatLayout(timeOf(value, now).milliseconds, layout, 'UTC')),
    dateInZone: inZone,
    date_in_zone: inZone,
    dateModify,
    date_modify: dateModify,
    mustDateModify,
    must_date_modify: mustDateModify,
    htmlDate: define('any', (value: Value) => formatLayout(timeOf(value, now).milliseconds, '2006-01-02', 'UTC')),
    htmlDateInZone: define('any string', (value: Value, zone: string) =>
      formatLayout(timeOf(value, now).milliseconds, '2006-01-02', knownZone(zone)),
    ),
    ago: define('any', (value: Value) => {
      const seconds = Math.round((now() - timeOf(value, now).milliseconds) / 1000);
      return formatDuration(BigInt(seconds) * 1_000_000_000n);
    }),
    unixEpoch: define('object', (value: Value) => String(Math.floor(timeOf(value, now).milliseconds / 1000))),
    ...parsing(),
    ...durations(now),
  };
}

function knownZone(zone: string): string {
  try {
    return zone === 'Local' || zone === ''
      ? 'UTC'
      : new Intl.DateTimeFormat('en', { timeZone: zone }).resolvedOptions().timeZone && zone;
  } catch {
    return 'UTC';
  }
}

function parsing(): FunctionTable {
  return {
    toDate: define('string string', (layout: string, text: string) => new GoTime(parseLayout(layout, text) ?? Date.UTC(1, 0, 1))),
    mustToDate: define('string string', (layout: string, text: string) => {
      const milliseconds = parseLayout(layout, text);
      if (milliseconds === undefined)
        throw new FunctionError(`parsing time "${text}" as "${layout}": cannot parse "${text}" as "${layout}"`);
      return new GoTime(milliseconds);
    }),
  };
}

function durations(now: () => number): FunctionTable {
  const spanOf = (value: Value): bigint => {
    if (value instanceof GoTime) return elapsed(now() - value.milliseconds).value;
    return typeof value === 'string' ? (parseDuration(value) ?? 0n) : toBigInt(value);
  };
  const nanoseconds = (value: Value): number => {
    if (value instanceof Int && value.kind === 'time.Duration') return Number(value.value);
    if (value instanceof Int) return Number(value.value) * 1e9;
    if (typeof value === 'number') return value * 1e9;
    return Number(spanOf(value));
  };
  const measured = (unit: number) => define('any', (value: Value) => nanoseconds(value) / unit);
  return {
    duration: define('any', (value: Value) => formatDuration(toBigInt(value) * 1_000_000_000n)),
    durationRound: define('any', (value: Value) => roundDuration(spanOf(value))),
    mustToDuration: define('any', (value: Value) => {
      if (isObject(value) || typeof value === 'boolean') throw new FunctionError(`unsupported duration type ${typeName(value)}`);
      if (typeof value === 'string' && parseDuration(value) === undefined)
        throw new FunctionError(`time: invalid duration "${value}"`);
      return new Int(BigInt(Math.round(nanoseconds(value))), 'time.Duration');
    }),
    durationNanoseconds: define('any', (value: Value) => int64(Math.round(nanoseconds(value)))),
    durationMicroseconds: define('any', (value: Value) => int64(Math.trunc(nanoseconds(value) / 1e3))),
    durationMilliseconds: define('any', (value: Value) => int64(Math.trunc(nanoseconds(value) / 1e6))),
    durationSeconds: measured(1e9),
    durationMinutes: measured(60e9),
    durationHours: measured(3600e9),
    durationDays: measured(86_400e9),
    durationWeeks: measured(604_800e9),
    durationRoundTo: define('any any', (value: Value, unit: Value) =>
      toMultiple(nanoseconds(value), nanoseconds(unit), Math.round),
    ),
    durationTruncateTo: define('any any', (value: Value, unit: Value) =>
      toMultiple(nanoseconds(value), nanoseconds(unit), Math.trunc),
    ),
  };
}

const toMultiple = (value: number, unit: number, shorten: (value: number) => number): Int =>
  new Int(BigInt(unit <= 0 ? value : shorten(value / unit) * unit), 'time.Duration');

/** The largest unit only, such as 2h or 3mo. */
function roundDuration(nanoseconds: bigint): string {
  const seconds = (nanoseconds < 0n ? -nanoseconds : nanoseconds) / 1_000_000_000n;
  const units: readonly (readonly [bigint, string])[] = [
    [365n * 86_400n, 'y'],
    [30n * 86_400n, 'mo'],
    [86_400n, 'd'],
    [3600n, 'h'],
    [60n, 'm'],
    [1n, 's'],
  ];
  const unit = units.find(([size]) => seconds > size || (size === 1n && seconds >= size));
  return unit ? `${seconds / unit[0]}${unit[1]}` : '0s';
}
