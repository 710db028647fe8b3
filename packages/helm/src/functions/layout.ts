const MONTHS = [
  'January',
  'February',
  'March',
  'April',
  'May',
  'June',
  'July',
  'August',
  'September',
  'October',
  'November',
  'December',
];
const DAYS = ['Sunday', 'Monday', 'Tuesday', 'Wednesday', 'Thursday', 'Friday', 'Saturday'];
const ELEMENTS =
  /January|Jan|Monday|Mon|MST|2006|Z07:00:00|Z070000|Z07:00|Z0700|Z07|-07:00:00|-070000|-07:00|-0700|-07|[.,](?:0+|9+)(?!\d)|002|__2|_2006|_2|01|02|03|04|05|06|15|PM|pm|1|2|3|4|5/g;

/** Seconds east of UTC of a zone at that time. */
export function offsetOf(milliseconds: number, zone: string): number {
  if (zone === 'UTC') return 0;
  const parts = new Intl.DateTimeFormat('en-US', {
    timeZone: zone,
    hourCycle: 'h23',
    year: 'numeric',
    month: 'numeric',
    day: 'numeric',
    hour: 'numeric',
    minute: 'numeric',
    second: 'numeric',
  }).formatToParts(milliseconds);
  const part = (type: string): number => Number(parts.find((entry) => entry.type === type)?.value ?? 0);
  const local = Date.UTC(part('year'), part('month') - 1, part('day'), part('hour'), part('minute'), part('second'));
  return Math.round((local - Math.floor(milliseconds / 1000) * 1000) / 1000);
}

/** Abbreviation of a zone at that time. */
export function zoneName(milliseconds: number, zone: string): string {
  if (zone === 'UTC') return 'UTC';
  const parts = new Intl.DateTimeFormat('en-US', { timeZone: zone, timeZoneName: 'short' }).formatToParts(milliseconds);
  const name = parts.find(({ type }) => type === 'timeZoneName')?.value ?? 'UTC';
  // what has no abbreviation of its own is named by its offset
  return name.replace(
    /^GMT([-+])(\d+)(?::?(\d+))?$/,
    (_all, sign: string, hours: string, rest?: string) => sign + hours.padStart(2, '0') + (rest ?? ''),
  );
}

const two = (value: number): string => String(value).padStart(2, '0');

function offsetText(seconds: number, element: string): string {
  if (element.startsWith('Z') && seconds === 0) return 'Z';
  const size = Math.abs(seconds);
  const [hours, minutes] = [two(Math.floor(size / 3600)), two(Math.floor(size / 60) % 60)];
  const sign = seconds < 0 ? '-' : '+';
  if (/^[-Z]07$/.test(element)) return sign + hours;
  const colon = element.includes(':') ? ':' : '';
  const tail = /00:00$|0000$/.test(element) && !/^[-Z]07:?00$/.test(element) ? colon + two(size % 60) : '';
  return sign + hours + colon + minutes + tail;
}

/** A time in a layout of Go. */
export function formatLayout(milliseconds: number, layout: string, zone: string): string {
  const offset = offsetOf(milliseconds, zone);
  const local = new Date(milliseconds + offset * 1000);
  return layout.replace(ELEMENTS, (element) => {
    if (/^[.,]/.test(element)) return fraction(element, ((milliseconds % 1000) + 1000) % 1000);
    if (/^[-Z]07/.test(element)) return offsetText(offset, element);
    return element === 'MST' ? zoneName(milliseconds, zone) : dateElement(element, local);
  });
}

function fraction(element: string, millisecond: number): string {
  const digits = String(millisecond)
    .padStart(3, '0')
    .padEnd(9, '0')
    .slice(0, element.length - 1);
  if (element[1] === '0') return element.charAt(0) + digits;
  const short = digits.replace(/0+$/, '');
  return short === '' ? '' : element.charAt(0) + short;
}

function dateElement(element: string, local: Date): string {
  const day = local.getUTCDate();
  const hour = local.getUTCHours();
  const table: Readonly<Record<string, () => string>> = {
    January: () => MONTHS[local.getUTCMonth()] ?? '',
    Jan: () => (MONTHS[local.getUTCMonth()] ?? '').slice(0, 3),
    Monday: () => DAYS[local.getUTCDay()] ?? '',
    Mon: () => (DAYS[local.getUTCDay()] ?? '').slice(0, 3),
    2006: () => String(local.getUTCFullYear()).padStart(4, '0'),
    _2006: () => `_${String(local.getUTCFullYear()).padStart(4, '0')}`,
    '06': () => two(local.getUTCFullYear() % 100),
    '01': () => two(local.getUTCMonth() + 1),
    1: () => String(local.getUTCMonth() + 1),
    '02': () => two(day),
    _2: () => String(day).padStart(2, ' '),
    2: () => String(day),
    '002': () => dayOfYear(local, '0'),
    __2: () => dayOfYear(local, ' '),
    15: () => two(hour),
    '03': () => two(hour % 12 || 12),
    3: () => String(hour % 12 || 12),
    '04': () => two(local.getUTCMinutes()),
    4: () => String(local.getUTCMinutes()),
    '05': () => two(local.getUTCSeconds()),
    5: () => String(local.getUTCSeconds()),
    PM: () => (hour < 12 ? 'AM' : 'PM'),
    pm: () => (hour < 12 ? 'am' : 'pm'),
  };
  return table[element]?.() ?? element;
}

const dayOfYear = (local: Date, fill: string): string =>
  String(Math.floor((local.getTime() - Date.UTC(local.getUTCFullYear(), 0, 1)) / 86_400_000) + 1).padStart(3, fill);

const NUMBER_FIELDS: Readonly<Record<string, string>> = {
  2006: 'year',
  '06': 'shortYear',
  '01': 'month',
  1: 'month',
  '02': 'day',
  _2: 'day',
  2: 'day',
  15: 'hour',
  '03': 'hour12',
  3: 'hour12',
  '04': 'minute',
  4: 'minute',
  '05': 'second',
  5: 'second',
};

/** Milliseconds of a text in a layout of Go; undefined when it does not fit. */
export function parseLayout(layout: string, text: string): number | undefined {
  const names: string[] = [];
  let source = '';
  let at = 0;
  for (const match of layout.matchAll(ELEMENTS)) {
    source += quoted(layout.slice(at, match.index)) + groupOf(match[0], names);
    at = match.index + match[0].length;
  }
  // Go accepts a fraction after the seconds even when the layout has none
  const found = new RegExp(`^${source}${quoted(layout.slice(at))}$`, 'i').exec(text);
  if (found === null) return undefined;
  return assemble(new Map(names.map((name, index) => [name, found[index + 1] ?? ''])));
}

const quoted = (text: string): string => text.replace(/[\\.+*?()|[\]{}^$]/g, '\\$&');

function groupOf(element: string, names: string[]): string {
  const field = NUMBER_FIELDS[element];
  const isSecond = field === 'second';
  if (field !== undefined) {
    names.push(field);
    if (isSecond) names.push('fraction');
    return (
      (field === 'year'
        ? '(\\d{4})'
        : / ?_/.test(element)
          ? '\\s?(\\d{1,2})'
          : element.length === 2
            ? '(\\d{2})'
            : '(\\d{1,2})') + (isSecond ? '(?:[.,](\\d+))?' : '')
    );
  }
  if (element === 'January' || element === 'Jan') {
    names.push('monthName');
    return '([A-Za-z]+)';
  }
  if (/^[.,]/.test(element)) return '';
  if (/^[-Z]07/.test(element)) {
    names.push('offset');
    return element.startsWith('Z') ? '(Z|[-+]\\d{2}(?::?\\d{2})?)' : '([-+]\\d{2}(?::?\\d{2})?)';
  }
  if (/^pm$/i.test(element)) {
    names.push('half');
    return '([AP]M)';
  }
  return '[A-Za-z]+';
}

function assemble(fields: ReadonlyMap<string, string>): number | undefined {
  const number = (name: string, otherwise: number): number => (fields.has(name) ? Number(fields.get(name)) : otherwise);
  const named = fields.get('monthName');
  const month =
    named === undefined
      ? number('month', 1)
      : MONTHS.findIndex((name) => name.slice(0, 3).toLowerCase() === named.slice(0, 3).toLowerCase()) + 1;
  const short = number('shortYear', 0);
  const year = fields.has('shortYear') ? short + (short >= 69 ? 1900 : 2000) : number('year', 0);
  const half = fields.get('half')?.toUpperCase();
  const hour = fields.has('hour12') ? (number('hour12', 0) % 12) + (half === 'PM' ? 12 : 0) : number('hour', 0);
  const day = number('day', 1);
  const fraction = Number(`0.${fields.get('fraction') ?? ''}0`) * 1000;
  const date = new Date(0);
  date.setUTCFullYear(year, month - 1, day);
  if (month < 1 || month > 12 || date.getUTCDate() !== day || hour > 23) return undefined;
  date.setUTCHours(hour, number('minute', 0), number('second', 0), Math.floor(fraction));
  return date.getTime() - offsetSeconds(fields.get('offset')) * 1000;
}

function offsetSeconds(text: string | undefined): number {
  const match = /^([-+])(\d{2}):?(\d{2})?$/.exec(text ?? '');
  if (match === null) return 0;
  return (Number(match[2]) * 3600 + Number(match[3] ?? 0) * 60) * (match[1] === '-' ? -1 : 1);
}
