import type { Budget } from './budget.ts';
import { formatE, formatF, formatG } from './numbers.ts';
import { goQuote } from './quote.ts';
import { Int, isBytes, isFunction, isList, isMap, isNil, isObject, mapOf, sortedKeys, typeName, type Value } from './values.ts';

interface Verb {
  readonly letter: string;
  readonly flags: string;
  readonly width: number | undefined;
  readonly precision: number | undefined;
}

/** Wider fields are refused, as by Go. */
const MAX_WIDTH = 1_000_000;
const DIRECTIVE = /%([-+# 0]*)(?:\[(\d+)\])?(\*|\d+)?(?:\.(?:\[(\d+)\])?(\*|\d+)?)?(?:\[(\d+)\])?([^]?)/gu;

/** The value as `%v` prints it. */
export function formatValue(value: Value, budget: Budget, depth = 0): string {
  budget.step();
  if (depth > 200) return '…';
  if (isNil(value)) return '<nil>';
  if (typeof value === 'string') return value;
  if (typeof value === 'boolean') return String(value);
  if (typeof value === 'number') return formatG(value);
  if (value instanceof Int) return value.kind === 'time.Duration' ? formatDuration(value.value) : String(value.value);
  if (isBytes(value)) return `[${[...value].join(' ')}]`;
  if (isList(value)) return charged(budget, `[${value.map((item) => formatValue(item, budget, depth + 1)).join(' ')}]`);
  if (isMap(value)) {
    const items = sortedKeys(value).map((key) => `${key}:${formatValue(value.get(key), budget, depth + 1)}`);
    return charged(budget, `map[${items.join(' ')}]`);
  }
  return isFunction(value) ? '0x0' : value.toText();
}

function charged(budget: Budget, text: string): string {
  budget.grow(text.length);
  return text;
}

/** A Go duration in nanoseconds as Go prints it, such as 1h5m0.5s. */
export function formatDuration(nanoseconds: bigint): string {
  if (nanoseconds === 0n) return '0s';
  const sign = nanoseconds < 0n ? '-' : '';
  const size = nanoseconds < 0n ? -nanoseconds : nanoseconds;
  const fraction = (unit: bigint): string => {
    const rest = String(size % unit)
      .padStart(String(unit).length - 1, '0')
      .replace(/0+$/, '');
    return rest === '' ? '' : `.${rest}`;
  };
  if (size < 1_000n) return `${sign}${size}ns`;
  if (size < 1_000_000n) return `${sign}${size / 1_000n}${fraction(1_000n)}µs`;
  if (size < 1_000_000_000n) return `${sign}${size / 1_000_000n}${fraction(1_000_000n)}ms`;
  const seconds = size / 1_000_000_000n;
  const tail = `${seconds % 60n}${fraction(1_000_000_000n)}s`;
  if (seconds < 60n) return sign + tail;
  const minutes = (seconds / 60n) % 60n;
  return seconds < 3600n ? `${sign}${minutes}m${tail}` : `${sign}${seconds / 3600n}h${minutes}m${tail}`;
}

/** `fmt.Sprint`: spaces between operands when neither is a string. */
export function sprint(values: readonly Value[], budget: Budget): string {
  let text = '';
  values.forEach((value, index) => {
    if (index > 0 && typeof value !== 'string' && typeof values[index - 1] !== 'string') text += ' ';
    text += formatValue(value, budget);
  });
  return text;
}

/** `fmt.Sprintln`. */
export const sprintln = (values: readonly Value[], budget: Budget): string =>
  `${values.map((value) => formatValue(value, budget)).join(' ')}\n`;

/** `fmt.Sprintf`. */
export function sprintf(format: string, values: readonly Value[], budget: Budget): string {
  let next = 0;
  let wasIndexed = false;
  const star = (text: string | undefined): number | undefined => {
    if (text !== '*') return text === undefined ? undefined : Number(text);
    const value = values[next++];
    return value instanceof Int ? Number(value.value) : undefined;
  };
  const text = format.replace(DIRECTIVE, (...groups: (string | undefined)[]) => {
    const [all, flags = '', first, width, second, precision, last, letter = ''] = groups;
    const index = last ?? second ?? first;
    if (letter === '%') return '%';
    if (letter === '') return '%!(NOVERB)';
    if (first !== undefined) next = Number(first) - 1;
    const size = star(width);
    const places = star(precision) ?? ((all ?? '').includes('.') ? 0 : undefined);
    if (index !== undefined) {
      next = Number(index) - 1;
      wasIndexed = true;
    }
    if (next < 0 || next >= values.length) return index === undefined ? `%!${letter}(MISSING)` : `%!${letter}(BADINDEX)`;
    return formatVerb({ letter, flags, width: size, precision: places }, values[next++], budget);
  });
  const extra = wasIndexed ? [] : values.slice(next);
  const tail = extra.map((value) => (isNil(value) ? '<nil>' : `${typeName(value)}=${formatValue(value, budget)}`));
  return tail.length === 0 ? text : `${text}%!(EXTRA ${tail.join(', ')})`;
}

function formatVerb(verb: Verb, value: Value, budget: Budget): string {
  const width = Math.min(Math.abs(verb.width ?? 0), MAX_WIDTH);
  budget.grow(width);
  const adjusted = verb.width !== undefined && verb.width < 0 ? { ...verb, flags: `${verb.flags}-` } : verb;
  return formatOne({ ...adjusted, width: verb.width === undefined ? undefined : width }, value, budget, 0);
}

const bad = (verb: Verb, value: Value, budget: Budget): string =>
  isNil(value) ? `%!${verb.letter}(<nil>)` : `%!${verb.letter}(${typeName(value)}=${formatValue(value, budget)})`;

function formatOne(verb: Verb, value: Value, budget: Budget, depth: number): string {
  budget.step();
  if (depth > 200) return '…';
  if (verb.letter === 'T') return pad(verb, typeName(value));
  if (isNil(value)) return verb.letter === 'v' ? pad(verb, '<nil>') : bad(verb, value, budget);
  if (typeof value === 'string') return formatString(verb, value, budget);
  if (typeof value === 'boolean') return 'vt'.includes(verb.letter) ? pad(verb, String(value)) : bad(verb, value, budget);
  if (typeof value === 'number') return formatFloat(verb, value, budget);
  if (value instanceof Int) return formatInteger(verb, value, budget);
  if (isBytes(value)) return formatBytes(verb, value, budget);
  if (isList(value) || mapOf(value)) return formatCollection(verb, value, budget, depth);
  if (isObject(value)) return 'vs'.includes(verb.letter) ? pad(verb, value.toText()) : formatString(verb, value.toText(), budget);
  return bad(verb, value, budget);
}

function formatBytes(verb: Verb, value: Uint8Array, budget: Budget): string {
  if ('sqxX'.includes(verb.letter)) return formatString(verb, Buffer.from(value).toString('utf8'), budget);
  return formatValue(value, budget);
}

function formatCollection(verb: Verb, value: Value, budget: Budget, depth: number): string {
  const map = mapOf(value);
  const isGo = verb.letter === 'v' && verb.flags.includes('#');
  const each = (item: Value): string => formatOne(verb, item, budget, depth + 1);
  const separator = isGo ? ', ' : ' ';
  const items = map
    ? sortedKeys(map).map((key) => `${isGo ? goQuote(key) : formatOne(verb, key, budget, depth + 1)}:${each(map.get(key))}`)
    : isList(value)
      ? value.map(each)
      : [];
  const body = items.join(separator);
  budget.grow(body.length);
  if (isGo) return `${typeName(value)}{${body}}`;
  return map ? `map[${body}]` : `[${body}]`;
}

function formatString(verb: Verb, value: string, budget: Budget): string {
  const { letter, flags, precision } = verb;
  const cut = precision === undefined ? value : Array.from(value).slice(0, precision).join('');
  budget.grow(cut.length);
  if (letter === 'v' && flags.includes('#')) return pad(verb, goQuote(cut));
  if (letter === 'v' || letter === 's') return pad(verb, cut);
  if (letter === 'q') {
    if (flags.includes('#') && !cut.includes('`') && !/[^\P{Cc}\t]/u.test(cut)) return pad(verb, `\`${cut}\``);
    return pad(verb, goQuote(cut, '"', flags.includes('+')));
  }
  if (letter === 'x' || letter === 'X') {
    const hex = Buffer.from(value, 'utf8').toString('hex');
    return pad(verb, letter === 'X' ? hex.toUpperCase() : hex);
  }
  return bad(verb, value, budget);
}

function formatFloat(verb: Verb, value: number, budget: Budget): string {
  const { letter, flags, precision } = verb;
  let text: string;
  if (letter === 'v') text = formatG(value, precision);
  else if (letter === 'g' || letter === 'G') text = formatG(value, precision, letter === 'G' ? 'E' : 'e');
  else if (letter === 'e' || letter === 'E') text = formatE(value, precision ?? 6, letter);
  else if (letter === 'f' || letter === 'F') text = formatF(value, precision ?? 6);
  else return bad(verb, value, budget);
  return padNumber(verb, signed(flags, text));
}

const RADIX: Readonly<Record<string, number>> = { v: 10, d: 10, b: 2, o: 8, O: 8, x: 16, X: 16 };
const PREFIX: Readonly<Record<string, string>> = { b: '0b', o: '0', x: '0x', X: '0X' };

function formatInteger(verb: Verb, value: Int, budget: Budget): string {
  const { letter, flags, precision } = verb;
  if (value.kind === 'time.Duration' && 'vs'.includes(letter)) return pad(verb, formatDuration(value.value));
  if ('cqU'.includes(letter)) return formatRune(verb, value);
  const radix = RADIX[letter];
  if (radix === undefined) return bad(verb, value, budget);
  const size = value.value < 0n ? -value.value : value.value;
  let digits = letter === 'X' ? size.toString(radix).toUpperCase() : size.toString(radix);
  if (precision !== undefined)
    digits = precision === 0 && size === 0n ? '' : digits.padStart(Math.min(precision, MAX_WIDTH), '0');
  const prefix = prefixOf(letter, flags);
  const text = signed(flags, `${value.value < 0n ? '-' : ''}${prefix}${digits}`);
  return precision === undefined ? padNumber(verb, text) : pad(verb, text);
}

function prefixOf(letter: string, flags: string): string {
  if (letter === 'O') return '0o';
  return flags.includes('#') ? (PREFIX[letter] ?? '') : '';
}

function formatRune(verb: Verb, { value }: Int): string {
  const code = value >= 0n && value <= 0x10ffffn ? Number(value) : 0xfffd;
  const char = String.fromCodePoint(code);
  if (verb.letter === 'c') return pad(verb, char);
  if (verb.letter === 'q') return pad(verb, goQuote(char, "'"));
  const hex = `U+${value.toString(16).toUpperCase().padStart(4, '0')}`;
  return pad(verb, verb.flags.includes('#') ? `${hex} '${char}'` : hex);
}

function signed(flags: string, text: string): string {
  if (/^[-+]/.test(text)) return text.startsWith('+') && !flags.includes('+') && text !== '+Inf' ? text.slice(1) : text;
  return flags.includes('+') ? `+${text}` : flags.includes(' ') ? ` ${text}` : text;
}

function padNumber(verb: Verb, text: string): string {
  const { flags, width } = verb;
  if (!flags.includes('0') || flags.includes('-') || width === undefined || /Inf|NaN/.test(text)) return pad(verb, text);
  const sign = /^[-+ ]/.test(text) ? text.charAt(0) : '';
  return sign + text.slice(sign.length).padStart(width - sign.length, '0');
}

function pad({ flags, width }: Verb, text: string): string {
  if (width === undefined) return text;
  const missing = width - Array.from(text).length;
  if (missing <= 0) return text;
  if (flags.includes('-')) return text + ' '.repeat(missing);
  // Go pads texts with zeros too when it is asked to
  return (flags.includes('0') ? '0' : ' ').repeat(missing) + text;
}
