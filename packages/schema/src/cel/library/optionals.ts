import { Optional } from '@marcbachmann/cel-js';
import { celEquals } from './equality.ts';
import type { Registrar } from './register.ts';
import { type LoopNode, bindMacro } from './macro.ts';

/** Nothing, zero, or empty. */
function isZero(value: unknown): boolean {
  if (value === null || value === undefined || value === false || value === '' || value === 0 || value === 0n) return true;
  if (Array.isArray(value)) return value.length === 0;
  return typeof value === 'object' && Object.getPrototypeOf(value) === Object.prototype && Object.keys(value).length === 0;
}

/** What optional values can do beyond the engine: `ofNonZeroValue`, `optMap`, `optFlatMap`. */
export function registerOptionals({ on, env }: Registrar): void {
  env.registerOperator('optional<V> == optional<V>', celEquals);
  on('OptionalNamespace.ofNonZeroValue(dyn): optional<dyn>', (_optional: unknown, value: unknown) =>
    isZero(value) ? Optional.none() : Optional.of(value),
  );
  const map = (name: string, wrap: (value: unknown) => unknown): void => {
    env.registerFunction(
      `optional.${name}(ast, ast): optional<dyn>`,
      bindMacro((target, run) => {
        if (!(target instanceof Optional)) throw new Error(`no such overload: ${name}`);
        return target.hasValue() ? wrap(run(target.value())) : Optional.none();
      }) as unknown as (...args: LoopNode[]) => unknown, // the engine knows macros by their parameters of type ast
      { async: false },
    );
  };
  map('optMap', (value) => Optional.of(value));
  map('optFlatMap', (value) => value);
}
