import { define, type FunctionTable } from '../template/functions.ts';
import { kindName, typeName, type Value } from '../template/values.ts';
import { deepEqual, type FunctionSources } from './context.ts';

/** Sprig's functions on types. */
export function typeFunctions({ budget }: FunctionSources): FunctionTable {
  return {
    typeOf: define('any', typeName),
    typeIs: define('string any', (type: string, value: Value) => typeName(value) === type),
    typeIsLike: define('string any', (type: string, value: Value) => [type, `*${type}`].includes(typeName(value))),
    kindOf: define('any', kindName),
    kindIs: define('string any', (kind: string, value: Value) => kindName(value) === kind),
    deepEqual: define('any any', (a: Value, b: Value) => deepEqual(a, b, budget)),
  };
}
