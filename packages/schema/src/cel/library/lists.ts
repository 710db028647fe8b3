import { Duration } from '@marcbachmann/cel-js/evaluator';
import { replacement } from '../environment-names.ts';
import { celEquals } from './equality.ts';
import type { Registrar } from './register.ts';

type Ordered = bigint | number | string | boolean;

/** `sum`, `min`, `max`, `isSorted`, `indexOf`, `lastIndexOf`, and those of `sets`. */
export function registerLists({ on, namespace }: Registrar): void {
  on('list.isSorted(): bool', (list: Ordered[]) =>
    list.every((item, index) => index === 0 || compare(list[index - 1], item) <= 0),
  );
  on('list.sum(): dyn', sum);
  on('list.min(): dyn', (list: Ordered[]) => extreme(list, 'min', -1));
  on('list.max(): dyn', (list: Ordered[]) => extreme(list, 'max', 1));
  on(`list.${replacement('indexOf')}(dyn): int`, (list: unknown[], item: unknown) =>
    BigInt(list.findIndex((candidate) => celEquals(candidate, item))),
  );
  on(`list.${replacement('lastIndexOf')}(dyn): int`, (list: unknown[], item: unknown) =>
    BigInt(list.findLastIndex((candidate) => celEquals(candidate, item))),
  );
  const sets = namespace('sets');
  const contains = (list: unknown[], part: unknown[]): boolean => part.every((item) => includes(list, item));
  on(`${sets}.contains(list, list): bool`, (_sets: unknown, list: unknown[], part: unknown[]) => contains(list, part));
  on(`${sets}.equivalent(list, list): bool`, (_sets: unknown, a: unknown[], b: unknown[]) => contains(a, b) && contains(b, a));
  on(`${sets}.intersects(list, list): bool`, (_sets: unknown, a: unknown[], b: unknown[]) => a.some((item) => includes(b, item)));
}

const includes = (list: readonly unknown[], item: unknown): boolean => list.some((candidate) => celEquals(candidate, item));

/** Negative, zero or positive; numbers, texts, truth values, times and durations have an order. */
function compare(a: unknown, b: unknown): number {
  const [left, right] = [a, b] as [Ordered, Ordered]; // the checker lets other types through as dyn
  return left < right ? -1 : left > right ? 1 : 0;
}

function sum(list: (bigint | number | Duration)[]): unknown {
  const [first] = list;
  if (first instanceof Duration) return (list as Duration[]).reduce((total, item) => total.addDuration(item)); // of one type
  return (list as (bigint | number)[]).reduce<bigint | number>(
    (total, item) => (typeof total === 'bigint' && typeof item === 'bigint' ? total + item : Number(total) + Number(item)),
    0n,
  );
}

function extreme(list: readonly Ordered[], name: string, sign: number): Ordered {
  const [first, ...rest] = list;
  if (first === undefined) throw new Error(`${name} called on empty list`);
  return rest.reduce((best, item) => (compare(item, best) * sign > 0 ? item : best), first);
}
