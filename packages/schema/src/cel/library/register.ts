import type { Environment } from '@marcbachmann/cel-js';

/** Adds functions to the language; handlers never wait for anything. */
export interface Registrar {
  readonly env: Environment;
  /** A function or method by its signature. */
  readonly on: (signature: string, handler: (...args: never[]) => unknown) => void;
  /** A type with the equality of its values. */
  readonly type: <T>(name: string, ctor: abstract new (...args: never[]) => T, equals?: (a: T, b: T) => boolean) => void;
  /** A name before the dot of functions: `sets` of `sets.contains()`. Yields the receiver type. */
  readonly namespace: (name: string) => string;
}

const SYNC = { async: false };

export function registrar(env: Environment): Registrar {
  return {
    env,
    on: (signature, handler) => void env.registerFunction(signature, handler, SYNC),
    type(name, ctor, equals) {
      env.registerType(name, ctor as new (...args: unknown[]) => unknown); // never called by the engine
      if (equals !== undefined) env.registerOperator(`${name} == ${name}`, equals);
    },
    namespace(name) {
      const type = `${name.charAt(0).toUpperCase()}${name.slice(1)}Namespace`;
      class Namespace {}
      env.registerType(type, Namespace);
      env.registerConstant(name, type, new Namespace());
      return type;
    },
  };
}
