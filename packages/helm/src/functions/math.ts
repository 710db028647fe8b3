import type { Budget } from '../template/budget.ts';
import { define, FunctionError, type FunctionTable } from '../template/functions.ts';
import { type GoList, Int, int, int64, typed, type Value } from '../template/values.ts';
import { type FunctionSources, textOf, toBigInt, toFloat } from './context.ts';

/** Sprig's functions on numbers. */
export function mathFunctions({ budget, randomBytes }: FunctionSources): FunctionTable {
  return {
    ...integers(),
    ...floats(),
    ...conversions(budget),
    until: define('int', (count: Int) => untilStep(budget, 0n, count.value, count.value < 0n ? -1n : 1n)),
    untilStep: define('int int int', (start: Int, stop: Int, step: Int) =>
      untilStep(budget, start.value, stop.value, step.value),
    ),
    seq: define('...int', (...params: Int[]) =>
      seq(
        budget,
        params.map(({ value }) => value),
      ),
    ),
    randInt: define('int int', (low: Int, high: Int) => {
      if (high.value <= low.value) throw new FunctionError('invalid argument to Intn');
      return int(low.value + randomBelow(randomBytes, high.value - low.value));
    }),
  };
}

/** A number below the limit from random bytes. */
export function randomBelow(randomBytes: (count: number) => Uint8Array, limit: bigint): bigint {
  return BigInt(`0x${Buffer.from(randomBytes(16)).toString('hex')}`) % limit;
}

function nonZero(value: bigint): bigint {
  if (value === 0n) throw new FunctionError('runtime error: integer divide by zero');
  return value;
}

function integers(): FunctionTable {
  const fold = (values: readonly Value[], combine: (a: bigint, b: bigint) => bigint): Value =>
    int64(values.map(toBigInt).reduce((a, b) => BigInt.asIntN(64, combine(a, b))));
  const max = define('any ...any', (...values: Value[]) => fold(values, (a, b) => (b > a ? b : a)));
  return {
    add: define('...any', (...values: Value[]) => int64(values.map(toBigInt).reduce((a, b) => a + b, 0n))),
    add1: define('any', (value: Value) => int64(toBigInt(value) + 1n)),
    sub: define('any any', (a: Value, b: Value) => int64(toBigInt(a) - toBigInt(b))),
    div: define('any any', (a: Value, b: Value) => int64(toBigInt(a) / nonZero(toBigInt(b)))),
    mod: define('any any', (a: Value, b: Value) => int64(toBigInt(a) % nonZero(toBigInt(b)))),
    mul: define('any ...any', (...values: Value[]) => fold(values, (a, b) => a * b)),
    max,
    biggest: max,
    min: define('any ...any', (...values: Value[]) => fold(values, (a, b) => (b < a ? b : a))),
  };
}

function floats(): FunctionTable {
  const chain = (operation: (a: Decimal, b: Decimal) => Decimal) =>
    define('any ...any', (...values: Value[]) => number(values.map((value) => decimal(toFloat(value))).reduce(operation)));
  return {
    addf: define('...any', (...values: Value[]) =>
      number(values.map((value) => decimal(toFloat(value))).reduce(addDecimals, { units: 0n, places: 0 })),
    ),
    add1f: define('any', (value: Value) => number(addDecimals(decimal(toFloat(value)), { units: 1n, places: 0 }))),
    subf: chain((a, b) => addDecimals(a, { units: -b.units, places: b.places })),
    mulf: chain((a, b) => ({ units: a.units * b.units, places: a.places + b.places })),
    divf: chain(divideDecimals),
    maxf: define('any ...any', (...values: Value[]) => Math.max(...values.map(toFloat))),
    minf: define('any ...any', (...values: Value[]) => Math.min(...values.map(toFloat))),
    ceil: define('any', (value: Value) => Math.ceil(toFloat(value))),
    floor: define('any', (value: Value) => Math.floor(toFloat(value))),
    round: define('any int ...float64', (value: Value, places: Int, ...[on = 0.5]: number[]) => {
      const power = 10 ** Number(places.value);
      const digits = toFloat(value) * power;
      const fraction = digits - Math.trunc(digits);
      return (fraction >= on ? Math.ceil(digits) : Math.floor(digits)) / power;
    }),
  };
}

function conversions(budget: Budget): FunctionTable {
  return {
    int: define('any', (value: Value) => int(toBigInt(value))),
    int64: define('any', (value: Value) => int64(toBigInt(value))),
    float64: define('any', toFloat),
    atoi: define('string', (text: string) => int(/^[-+]?\d+$/.test(text) ? BigInt(text.replace(/^\+/, '')) : 0n)),
    toDecimal: define('any', (value: Value) => {
      const text = textOf(value, budget);
      return int64(/^-?[0-7]+$/.test(text) ? BigInt(`0o${text.replace('-', '')}`) * (text.startsWith('-') ? -1n : 1n) : 0n);
    }),
  };
}

/** `units / 10^places`: Sprig counts floats in decimals, so that 0.1 + 0.2 is 0.3. */
interface Decimal {
  readonly units: bigint;
  readonly places: number;
}

/** Beyond this many places a number is as good as none. */
const MAX_PLACES = 400;

function decimal(value: number): Decimal {
  if (!Number.isFinite(value)) throw new FunctionError(`Cannot create a Decimal from ${value}`);
  const [mantissa = '0', power = '0'] = value.toExponential().split('e');
  const [whole = '0', fraction = ''] = mantissa.split('.');
  const units = BigInt(whole + fraction);
  const places = fraction.length - Number(power);
  return places >= 0 ? { units, places } : { units: units * 10n ** BigInt(-places), places: 0 };
}

function addDecimals(a: Decimal, b: Decimal): Decimal {
  const places = Math.max(a.places, b.places);
  const scale = (value: Decimal): bigint => value.units * 10n ** BigInt(places - value.places);
  return { units: scale(a) + scale(b), places };
}

function divideDecimals(a: Decimal, b: Decimal): Decimal {
  if (b.units === 0n) throw new FunctionError('decimal division by 0');
  const PLACES = 16;
  const top = a.units * 10n ** BigInt(b.places + PLACES + 1);
  const quotient = top / (b.units * 10n ** BigInt(a.places));
  const rounded = (quotient + (quotient < 0n ? -5n : 5n)) / 10n;
  return { units: rounded, places: PLACES };
}

function number({ units, places }: Decimal): number {
  if (places > MAX_PLACES) return Number(units / 10n ** BigInt(places - MAX_PLACES)) / 10 ** MAX_PLACES;
  const digits = String(units < 0n ? -units : units).padStart(places + 1, '0');
  const text = `${digits.slice(0, digits.length - places)}.${digits.slice(digits.length - places)}0`;
  return Number(units < 0n ? `-${text}` : text);
}

function untilStep(budget: Budget, start: bigint, stop: bigint, step: bigint): GoList {
  const list: GoList = [];
  if (stop < start ? step >= 0n : step <= 0n) return typed(list, '[]int');
  const size = (stop - start) / step;
  budget.step(Number(size));
  for (let at = start; stop < start ? at > stop : at < stop; at += step) list.push(int(at));
  return typed(list, '[]int');
}

function seq(budget: Budget, params: readonly bigint[]): string {
  const [first = 0n, second = 0n, third = 0n] = params;
  const span = (start: bigint, end: bigint, step: bigint): string =>
    untilStep(budget, start, end + (step > 0n ? 1n : -1n), step)
      .map((item) => textOf(item, budget))
      .join(' ');
  if (params.length === 1) return span(1n, first, first < 1n ? -1n : 1n);
  if (params.length === 2) return span(first, second, second < first ? -1n : 1n);
  if (params.length !== 3) return '';
  const [start, step, end] = [first, second, third];
  if (step === 0n || (end < start ? step > 0n : step < 0n)) return '';
  return span(start, end, step);
}
