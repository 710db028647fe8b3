import { type StructuralSchema, fieldSchema, isObject, parseDuration, parseTime } from '@slipway/apimachinery';

const RESERVED = new Set([
  'true',
  'false',
  'null',
  'in',
  'as',
  'break',
  'const',
  'continue',
  'else',
  'for',
  'function',
  'if',
  'import',
  'let',
  'loop',
  'package',
  'namespace',
  'return',
  'var',
  'void',
  'while',
]);

/** True for names that an expression can use for something of its own. */
export const isDeclarableName = (name: string): boolean => /^[_a-zA-Z][_a-zA-Z0-9]*$/.test(name) && !RESERVED.has(name);

/** A property name as rules have to spell it. */
export function escapeField(name: string): string {
  if (RESERVED.has(name)) return `__${name}__`;
  if (/^[A-Za-z_][A-Za-z0-9_]*$/.test(name) && !name.includes('__')) return name;
  return name
    .replaceAll('__', '__underscores__')
    .replaceAll('.', '__dot__')
    .replaceAll('-', '__dash__')
    .replaceAll('/', '__slash__');
}

/** A JSON value as rules see it: integers by schema, times and durations as such, property names escaped. */
export function celValue(value: unknown, schema: StructuralSchema | undefined): unknown {
  if (typeof value === 'number') return isIntegral(value, schema) ? BigInt(value) : value;
  if (typeof value === 'string') return celString(value, schema);
  if (Array.isArray(value)) return value.map((item) => celValue(item, schema?.items));
  if (!isObject(value)) return value;
  const result: Record<string, unknown> = {};
  for (const key of Object.keys(value)) {
    const isProperty = schema?.properties !== undefined && Object.hasOwn(schema.properties, key);
    result[isProperty ? escapeField(key) : key] = celValue(value[key], fieldSchema(schema, key));
  }
  return result;
}

function isIntegral(value: number, schema: StructuralSchema | undefined): boolean {
  return schema?.type !== 'number' && Number.isSafeInteger(value);
}

function celString(value: string, schema: StructuralSchema | undefined): unknown {
  if (schema?.format === 'date-time') {
    const epochMs = parseTime(value);
    return epochMs === undefined ? value : new Date(epochMs);
  }
  if (schema?.format === 'duration' && parseDuration(value) !== undefined) return value;
  return value;
}

/** The type name under which a value of the schema is declared to the type checker. */
export function celType(schema: StructuralSchema): string {
  if (schema['x-kubernetes-int-or-string'] === true) return 'dyn';
  switch (schema.type) {
    case 'integer':
      return 'int';
    case 'boolean':
      return 'bool';
    case 'string':
      return schema.format === 'date-time' ? 'dyn' : 'string';
    case 'array':
      return 'list<dyn>';
    default:
      return 'dyn'; // numbers may be written without a fraction; objects are checked by `undefinedField`
  }
}
