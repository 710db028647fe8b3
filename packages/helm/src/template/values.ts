/** Kinds of Go integers that templates can meet. */
export type IntKind = 'int' | 'int64' | 'int32' | 'uint8' | 'uint32' | 'uint64' | 'time.Duration' | 'time.Month';

/** An integer of Go with its type; a plain number of JavaScript is a float64. */
export class Int {
  readonly value: bigint;
  readonly kind: IntKind;

  constructor(value: bigint | number, kind: IntKind = 'int') {
    this.value = typeof value === 'bigint' ? value : BigInt(Math.trunc(value));
    this.kind = kind;
  }
}

export const int = (value: bigint | number): Int => new Int(value, 'int');
export const int64 = (value: bigint | number): Int => new Int(BigInt.asIntN(64, BigInt(value)), 'int64');

/**
 * A value of a template. `null` is a nil interface (a missing key), `undefined` no value at all: Go tells them apart when
 * a field is asked for. Maps are Maps, so that no key can reach a prototype.
 */
export type Value = null | undefined | boolean | number | string | Int | Uint8Array | GoMap | GoList | GoObject | GoFunction;
export type GoMap = Map<string, Value>;
export type GoList = Value[];

/** A Go struct or a named type with methods. */
export interface GoObject {
  /** As `%T` prints it. */
  readonly goType: string;
  /** A field, or a method bound to this object; undefined when there is neither. */
  member(name: string): Value | GoFunction;
  /** As `%v` prints it. */
  toText(): string;
  /** For toYaml and toJson. */
  toJson?(): unknown;
  /** For a type that is a map with methods. */
  readonly entries?: GoMap;
  /** An empty one is false in conditions; structs are always true. */
  readonly isEmpty?: boolean;
}

export type ParameterType =
  | 'any'
  | 'string'
  | 'int'
  | 'int64'
  | 'float64'
  | 'bool'
  | 'map'
  | 'list'
  | 'strings'
  | 'bytes'
  | 'object';

/** A function of a template with the types that Go checks before it calls. */
export interface GoFunction {
  readonly isFunction: true;
  readonly parameters: readonly ParameterType[];
  /** Type of every further argument. */
  readonly rest?: ParameterType;
  readonly call: (args: Value[]) => Value;
}

const listTypes = new WeakMap<GoList, string>();
const mapTypes = new WeakMap<GoMap, string>();

/** Marks a list or map as one of another Go type than []interface {} or map[string]interface {}. */
export function typed<T extends GoList | GoMap>(value: T, type: string): T {
  if (value instanceof Map) mapTypes.set(value, type);
  else listTypes.set(value, type);
  return value;
}

export const strings = (items: readonly string[]): GoList => typed([...items], '[]string');

export const isMap = (value: Value): value is GoMap => value instanceof Map;
export const isList = (value: Value): value is GoList => Array.isArray(value);
export const isBytes = (value: Value): value is Uint8Array => value instanceof Uint8Array;
export const isNil = (value: Value): value is null | undefined => value === null || value === undefined;
export const isFunction = (value: Value | GoFunction): value is GoFunction =>
  typeof value === 'object' && value !== null && 'isFunction' in value;
export const isObject = (value: Value): value is GoObject => typeof value === 'object' && value !== null && 'goType' in value;

/** The map in a value: itself, or that of a named map type. */
export function mapOf(value: Value): GoMap | undefined {
  if (isMap(value)) return value;
  return isObject(value) ? value.entries : undefined;
}

/** The type as `%T` prints it. */
export function typeName(value: Value): string {
  if (isNil(value)) return '<nil>';
  if (typeof value === 'boolean') return 'bool';
  if (typeof value === 'string') return 'string';
  if (typeof value === 'number') return 'float64';
  if (value instanceof Int) return value.kind;
  if (isList(value)) return listTypes.get(value) ?? '[]interface {}';
  if (isMap(value)) return mapTypes.get(value) ?? 'map[string]interface {}';
  if (isBytes(value)) return '[]uint8';
  return isFunction(value) ? 'func()' : value.goType;
}

/** The kind as Go's reflect package names it. */
export function kindName(value: Value): string {
  if (isNil(value)) return 'invalid';
  if (value instanceof Int) return value.kind === 'time.Duration' ? 'int64' : value.kind === 'time.Month' ? 'int' : value.kind;
  if (isList(value) || isBytes(value)) return 'slice';
  if (isMap(value)) return 'map';
  if (isFunction(value)) return 'func';
  if (isObject(value)) return value.entries ? 'map' : value.goType.startsWith('*') ? 'ptr' : 'struct';
  return typeName(value);
}

/** Whether a condition takes the value for true. */
export function isTrue(value: Value): boolean {
  if (isNil(value)) return false;
  if (typeof value === 'boolean') return value;
  if (typeof value === 'string') return value !== '';
  if (typeof value === 'number') return value !== 0;
  if (value instanceof Int) return value.value !== 0n;
  if (isList(value) || isBytes(value)) return value.length > 0;
  if (isMap(value)) return value.size > 0;
  if (isFunction(value)) return true;
  return value.entries ? value.entries.size > 0 : value.isEmpty !== true;
}

/** Keys in the order in which Go ranges over a map: by code point. */
export const sortedKeys = (map: GoMap): string[] => [...map.keys()].sort(compareText);

/** Orders texts as Go does: by the bytes of UTF-8, which is by code point. */
export function compareText(a: string, b: string): number {
  if (a === b) return 0;
  const length = Math.min(a.length, b.length);
  for (let i = 0; i < length; i++) {
    const x = a.charCodeAt(i);
    const y = b.charCodeAt(i);
    // surrogates stand for code points above all others
    if (x !== y) return rank(x) - rank(y);
  }
  return a.length - b.length;
}

const rank = (unit: number): number => (unit >= 0xd800 && unit <= 0xdfff ? unit + 0x10000 : unit);

/** JSON or YAML data as values of a template: every number is a float64, as Helm reads values. */
export function fromData(data: unknown): Value {
  if (data === null || data === undefined) return null;
  if (Array.isArray(data)) return data.map(fromData);
  if (typeof data === 'bigint') return Number(data);
  if (typeof data === 'object') {
    return new Map(Object.entries(data).map(([key, value]) => [key, fromData(value)]));
  }
  // what is left are scalars
  return data as boolean | number | string;
}
