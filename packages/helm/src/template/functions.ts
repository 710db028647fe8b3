import { type Budget } from './budget.ts';
import type { GoFunction, ParameterType, Value } from './values.ts';

/** What functions may use besides their arguments. */
export interface FunctionContext {
  readonly budget: Budget;
}

export type FunctionTable = Readonly<Record<string, GoFunction>>;

/** A function failed; the message has no prefix yet. */
export class FunctionError extends Error {}

/** Declares a function: its parameter types separated by spaces, a last one with dots for any number. */
export function define(signature: string, call: (...args: never[]) => Value): GoFunction {
  const types = signature === '' ? [] : signature.split(' ');
  const last = types.at(-1);
  const rest = last?.startsWith('...') ? last.slice(3) : undefined;
  const fixed = rest === undefined ? types : types.slice(0, -1);
  return {
    isFunction: true,
    // signatures are written in this package
    parameters: fixed as ParameterType[],
    ...(rest !== undefined && { rest: rest as ParameterType }),
    // the caller has checked the arguments against the signature
    call: (args) => call(...(args as never[])),
  };
}
