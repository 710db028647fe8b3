import { UnsignedInt } from '@marcbachmann/cel-js/evaluator';
import type { Registrar } from './register.ts';

type Num = bigint | number | UnsignedInt;
const valueOf = (value: Num): bigint | number => (value instanceof UnsignedInt ? value.valueOf() : value);
const MAX_INT = 9_223_372_036_854_775_807n;
const BITS = 64;

function checkNumber(value: unknown, name: string): Num {
  if (typeof value === 'bigint' || typeof value === 'number' || value instanceof UnsignedInt) return value;
  throw new Error(`no such overload: math.@${name}`);
}

function extreme(values: readonly unknown[], name: 'max' | 'min'): Num {
  const [first, ...rest] = values.map((value) => checkNumber(value, name));
  if (first === undefined) throw new Error(`math.@${name}(list) argument must not be empty`);
  const isBetter = (a: Num, b: Num): boolean => (name === 'max' ? valueOf(a) > valueOf(b) : valueOf(a) < valueOf(b));
  return rest.reduce((best, value) => (isBetter(value, best) ? value : best), first);
}

/** Halves are rounded away from zero. */
const round = (value: number): number => Math.sign(value) * Math.round(Math.abs(value));

function shift(value: bigint, by: bigint, toLeft: boolean): bigint {
  if (by < 0n) throw new Error(`math.${toLeft ? 'bitShiftLeft' : 'bitShiftRight'}() negative offset: ${by}`);
  if (by >= BigInt(BITS)) return 0n;
  return toLeft ? BigInt.asIntN(BITS, value << by) : BigInt.asIntN(BITS, BigInt.asUintN(BITS, value) >> by);
}

function absolute(value: bigint): bigint {
  const result = value < 0n ? -value : value;
  if (result > MAX_INT) throw new Error('integer overflow');
  return result;
}

/** The functions of `math`. */
export function registerMath({ on, namespace }: Registrar): void {
  const math = namespace('math');
  for (const [name, kind] of [
    ['greatest', 'max'],
    ['least', 'min'],
  ] as const) {
    on(`${math}.${name}(dyn): dyn`, (_math: unknown, only: unknown) => extreme(Array.isArray(only) ? only : [only], kind));
    for (let count = 2; count <= 6; count++) {
      const signature = `${math}.${name}(${new Array<string>(count).fill('dyn').join(', ')}): dyn`;
      on(signature, (_math: unknown, ...values: unknown[]) => extreme(values, kind));
    }
  }
  for (const [name, of] of Object.entries({ ceil: Math.ceil, floor: Math.floor, round, trunc: Math.trunc })) {
    on(`${math}.${name}(double): double`, (_math: unknown, value: number) => of(value));
  }
  on(`${math}.abs(int): int`, (_math: unknown, value: bigint) => absolute(value));
  on(`${math}.abs(double): double`, (_math: unknown, value: number) => Math.abs(value));
  on(`${math}.sign(int): int`, (_math: unknown, value: bigint) => (value > 0n ? 1n : value < 0n ? -1n : 0n));
  on(`${math}.sign(double): double`, (_math: unknown, value: number) => Math.sign(value));
  on(`${math}.sqrt(double): double`, (_math: unknown, value: number) => Math.sqrt(value));
  on(`${math}.sqrt(int): double`, (_math: unknown, value: bigint) => Math.sqrt(Number(value)));
  on(`${math}.isNaN(double): bool`, (_math: unknown, value: number) => Number.isNaN(value));
  on(`${math}.isInf(double): bool`, (_math: unknown, value: number) => Math.abs(value) === Number.POSITIVE_INFINITY);
  on(`${math}.isFinite(double): bool`, (_math: unknown, value: number) => Number.isFinite(value));
  on(`${math}.bitAnd(int, int): int`, (_math: unknown, a: bigint, b: bigint) => a & b);
  on(`${math}.bitOr(int, int): int`, (_math: unknown, a: bigint, b: bigint) => a | b);
  on(`${math}.bitXor(int, int): int`, (_math: unknown, a: bigint, b: bigint) => a ^ b);
  on(`${math}.bitNot(int): int`, (_math: unknown, value: bigint) => ~value);
  on(`${math}.bitShiftLeft(int, int): int`, (_math: unknown, value: bigint, by: bigint) => shift(value, by, true));
  on(`${math}.bitShiftRight(int, int): int`, (_math: unknown, value: bigint, by: bigint) => shift(value, by, false));
}
