import { describe, type Operand } from './nodes.ts';
import { unquote } from './unquote.ts';
import { Int, int, int64, isBytes, isList, isObject, mapOf, type ParameterType, typeName, type Value } from './values.ts';

const GO_TYPE: Readonly<Record<ParameterType, string>> = {
  any: 'interface {}',
  string: 'string',
  int: 'int',
  int64: 'int64',
  float64: 'float64',
  bool: 'bool',
  map: 'map[string]interface {}',
  list: '[]interface {}',
  strings: '[]string',
  bytes: '[]uint8',
  object: 'interface {}',
};

/** Either a value that fits the parameter, or the complaint of Go. */
export type Checked = { readonly value: Value } | { readonly complaint: string };

/** A value that a pipeline, field or function gave, for a parameter of this type. */
export function checkType(value: Value, type: ParameterType): Checked {
  if (type === 'any' || type === 'object') return { value: value ?? null };
  if (value === undefined) {
    if (type === 'map') return { value: new Map() };
    if (type === 'list' || type === 'strings' || type === 'bytes') return { value: [] };
    return { complaint: `invalid value; expected ${GO_TYPE[type]}` };
  }
  if (value !== null && fits(value, type)) return { value: type === 'map' ? (mapOf(value) ?? value) : value };
  const got = value === null ? 'interface {}' : typeName(value);
  return { complaint: `wrong type for value; expected ${GO_TYPE[type]}; got ${got}` };
}

/** Named types of Helm may stand for the plain one. */
const MAPS = new Set(['map[string]interface {}', 'chartutil.Values']);

function fits(value: Value, type: ParameterType): boolean {
  switch (type) {
    case 'string':
      return typeof value === 'string';
    case 'bool':
      return typeof value === 'boolean';
    case 'float64':
      return typeof value === 'number';
    case 'int':
    case 'int64':
      return value instanceof Int && value.kind === type;
    case 'map':
      return isObject(value) ? value.entries !== undefined : MAPS.has(typeName(value));
    case 'list':
    case 'strings':
      return isList(value) && typeName(value) === GO_TYPE[type];
    case 'bytes':
      return isBytes(value);
    default:
      return true;
  }
}

/** A constant written in the template, for a parameter of this type. */
export function constantArgument(node: Operand, type: ParameterType): Checked {
  switch (type) {
    case 'string':
      return node.type === 'string' ? { value: node.text } : { complaint: `expected string; found ${describe(node)}` };
    case 'bool':
      return node.type === 'bool' ? { value: node.value } : { complaint: `expected bool; found ${describe(node)}` };
    case 'int':
    case 'int64':
      return integerArgument(node, type);
    case 'float64': {
      const value = node.type === 'number' ? numberOf(node.text) : undefined;
      if (value === undefined) return { complaint: `expected float; found ${describe(node)}` };
      return { value: value instanceof Int ? Number(value.value) : value };
    }
    case 'any':
    case 'object':
      return constant(node);
    default:
      return { complaint: `can't handle ${describe(node)} for arg of type ${GO_TYPE[type]}` };
  }
}

function integerArgument(node: Operand, type: 'int' | 'int64'): Checked {
  const value = node.type === 'number' ? numberOf(node.text) : undefined;
  const whole = value instanceof Int ? value.value : value !== undefined && Number.isInteger(value) ? BigInt(value) : undefined;
  if (whole === undefined) return { complaint: `expected integer; found ${describe(node)}` };
  return { value: type === 'int' ? int(whole) : int64(whole) };
}

/** The value of a constant as Go types it by itself. */
export function constant(node: Operand): Checked {
  if (node.type === 'string') return { value: node.text };
  if (node.type === 'bool') return { value: node.value };
  if (node.type !== 'number') return { complaint: `can't handle assignment of ${describe(node)} to empty interface argument` };
  const value = numberOf(node.text);
  if (value instanceof Int && BigInt.asIntN(64, value.value) !== value.value) return { complaint: `${node.text} overflows int` };
  return { value };
}

function numberOf(text: string): Int | number {
  if (text.startsWith("'")) return int(unquote(text)?.codePointAt(0) ?? 0);
  const bare = text.replaceAll('_', '').replace(/^\+/, '');
  const sign = bare.startsWith('-') ? -1n : 1n;
  const digits = bare.replace(/^-/, '');
  if (/^0[xXbBoO]/.test(digits)) return int(sign * BigInt(digits));
  if (/^0[0-7]+$/.test(digits)) return int(sign * BigInt(`0o${digits.slice(1)}`));
  return /^\d+$/.test(digits) ? int(sign * BigInt(digits)) : Number(bare);
}

/** The element that a map of this type gives for a key that it has not. */
export const zeroElement = (map: Value): Value => (typeName(map) === 'map[string]string' ? '' : null);
