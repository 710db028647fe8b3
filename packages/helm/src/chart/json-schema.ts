import { deepEqual, isObject } from '@slipway/apimachinery';
import { patternOf } from '@slipway/schema';

type Schema = Readonly<Record<string, unknown>>;

interface Walk {
  readonly root: unknown;
  steps: number;
}

/** Schemas come from people who are not trusted. */
const MAX_STEPS = 500_000;

/** Checks JSON data against a JSON Schema (drafts 4 to 2020-12, references within the document); one line per complaint. */
export function validateJsonSchema(schema: unknown, data: unknown): string[] {
  return check({ root: schema, steps: 0 }, schema, data, '', 0);
}

function check(walk: Walk, schema: unknown, data: unknown, path: string, depth: number): string[] {
  if (++walk.steps > MAX_STEPS || depth > 200) return [`at '${path}': the schema is too deep`];
  if (schema === false) return [`at '${path}': false schema`];
  if (!isObject(schema)) return [];
  const here = (message: string): string => `at '${path}': ${message}`;
  const complaints = [
    ...reference(walk, schema, data, path, depth),
    ...scalars(schema, data).map(here),
    ...combined(walk, schema, data, path, depth),
  ];
  if (Array.isArray(data)) complaints.push(...list(walk, schema, data, path, depth));
  if (isObject(data)) complaints.push(...properties(walk, schema, data, path, depth));
  return complaints;
}

function reference(walk: Walk, schema: Schema, data: unknown, path: string, depth: number): string[] {
  const target = schema['$ref'];
  if (typeof target !== 'string') return [];
  if (!target.startsWith('#'))
    return [`at '${path}': cannot load ${JSON.stringify(target)}: only references within the schema are followed`];
  let found: unknown = walk.root;
  for (const part of target.slice(1).split('/').slice(1)) {
    const key = decodeURIComponent(part).replaceAll('~1', '/').replaceAll('~0', '~');
    found =
      isObject(found) || Array.isArray(found)
        ? Object.hasOwn(found, key)
          ? (found as Record<string, unknown>)[key]
          : undefined
        : undefined;
  }
  return found === undefined ? [`at '${path}': ${target} not found`] : check(walk, found, data, path, depth + 1);
}

function typeOf(data: unknown): string {
  if (data === null) return 'null';
  if (Array.isArray(data)) return 'array';
  return typeof data === 'bigint' ? 'number' : typeof data;
}

const isInteger = (data: unknown): boolean => typeof data === 'bigint' || (typeof data === 'number' && Number.isInteger(data));

function hasType(data: unknown, type: unknown): boolean {
  return type === 'integer' ? isInteger(data) : typeOf(data) === type;
}

const shown = (value: unknown): string => (typeof value === 'string' ? `'${value}'` : JSON.stringify(value));

function scalars(schema: Schema, data: unknown): string[] {
  const complaints: string[] = [];
  const { type, enum: options } = schema;
  const types = Array.isArray(type) ? type : type === undefined ? [] : [type];
  if (types.length > 0 && !types.some((one) => hasType(data, one))) return [`got ${typeOf(data)}, want ${types.join(' or ')}`];
  if (Array.isArray(options) && !options.some((option) => deepEqual(option, data)))
    complaints.push(
      options.length === 1 ? `value must be ${shown(options[0])}` : `value must be one of ${options.map(shown).join(', ')}`,
    );
  if ('const' in schema && !deepEqual(schema['const'], data)) complaints.push(`value must be ${shown(schema['const'])}`);
  if (typeof data === 'number') complaints.push(...numbers(schema, data));
  if (typeof data === 'string') complaints.push(...texts(schema, data));
  return complaints;
}

function numbers(schema: Schema, data: number): string[] {
  const complaints: string[] = [];
  const limit = (key: string, isGood: (limit: number) => boolean): void => {
    const value = schema[key];
    if (typeof value === 'number' && !isGood(value)) complaints.push(`${key}: got ${data}, want ${value}`);
  };
  limit('minimum', (value) => (schema['exclusiveMinimum'] === true ? data > value : data >= value));
  limit('maximum', (value) => (schema['exclusiveMaximum'] === true ? data < value : data <= value));
  limit('exclusiveMinimum', (value) => data > value);
  limit('exclusiveMaximum', (value) => data < value);
  limit('multipleOf', (value) => value <= 0 || Math.abs(data / value - Math.round(data / value)) < 1e-9);
  return complaints;
}

const FORMATS: Readonly<Record<string, RegExp>> = {
  ipv4: /^(?:(?:25[0-5]|2[0-4]\d|1?\d?\d)(?:\.(?!$)|$)){4}$/,
  date: /^\d{4}-(?:0[1-9]|1[0-2])-(?:0[1-9]|[12]\d|3[01])$/,
  'date-time': /^\d{4}-\d\d-\d\d[Tt]\d\d:\d\d:\d\d(?:\.\d+)?(?:[Zz]|[-+]\d\d:\d\d)$/,
  email: /^[^@\s]+@[^@\s]+$/,
  uuid: /^[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i,
  uri: /^[A-Za-z][A-Za-z0-9+.-]*:\S*$/,
};

function texts(schema: Schema, data: string): string[] {
  const complaints: string[] = [];
  const { minLength, maxLength, pattern, format } = schema;
  const length = Array.from(data).length;
  if (typeof minLength === 'number' && length < minLength) complaints.push(`minLength: got ${length}, want ${minLength}`);
  if (typeof maxLength === 'number' && length > maxLength) complaints.push(`maxLength: got ${length}, want ${maxLength}`);
  if (typeof pattern === 'string' && !matches(pattern, data)) complaints.push(`'${data}' does not match pattern '${pattern}'`);
  const known = typeof format === 'string' && Object.hasOwn(FORMATS, format) ? FORMATS[format] : undefined;
  if (known && !known.test(data)) complaints.push(`'${data}' is not valid ${String(format)}`);
  return complaints;
}

function matches(pattern: string, data: string): boolean {
  try {
    return patternOf(pattern).test(data);
  } catch {
    return false;
  }
}

function combined(walk: Walk, schema: Schema, data: unknown, path: string, depth: number): string[] {
  const complaints: string[] = [];
  const of = (key: string): unknown[] => (Array.isArray(schema[key]) ? schema[key] : []);
  const test = (part: unknown): string[] => check(walk, part, data, path, depth + 1);
  for (const part of of('allOf')) complaints.push(...test(part));
  const any = of('anyOf').map(test);
  if (any.length > 0 && any.every((result) => result.length > 0)) complaints.push(`at '${path}': anyOf failed`, ...any.flat());
  const one = of('oneOf').map(test);
  const fitting = one.filter((result) => result.length === 0).length;
  if (one.length > 0 && fitting === 0) complaints.push(`at '${path}': oneOf failed, none matched`, ...one.flat());
  if (fitting > 1)
    complaints.push(
      `at '${path}': oneOf failed, subschemas ${one
        .flatMap((result, index) => (result.length === 0 ? [index] : []))
        .slice(0, 2)
        .join(', ')} matched`,
    );
  if ('not' in schema && test(schema['not']).length === 0) complaints.push(`at '${path}': not failed`);
  if ('if' in schema) {
    const branch = test(schema['if']).length === 0 ? 'then' : 'else';
    if (branch in schema) complaints.push(...test(schema[branch]));
  }
  return complaints;
}

function list(walk: Walk, schema: Schema, data: readonly unknown[], path: string, depth: number): string[] {
  const complaints: string[] = [];
  const { minItems, maxItems, uniqueItems, items, prefixItems, contains, additionalItems } = schema;
  if (typeof minItems === 'number' && data.length < minItems)
    complaints.push(`at '${path}': minItems: got ${data.length}, want ${minItems}`);
  if (typeof maxItems === 'number' && data.length > maxItems)
    complaints.push(`at '${path}': maxItems: got ${data.length}, want ${maxItems}`);
  if (uniqueItems === true && data.length <= 1000) {
    const twin = data.findIndex((item, index) => data.slice(0, index).some((other) => deepEqual(item, other)));
    if (twin !== -1)
      complaints.push(`at '${path}': items at ${data.findIndex((item) => deepEqual(item, data[twin]))} and ${twin} are equal`);
  }
  const first = Array.isArray(prefixItems) ? prefixItems : Array.isArray(items) ? items : [];
  const rest = Array.isArray(items) ? additionalItems : items;
  data.forEach((item, index) =>
    complaints.push(...check(walk, index < first.length ? first[index] : rest, item, `${path}/${index}`, depth + 1)),
  );
  if (contains !== undefined && !data.some((item) => check(walk, contains, item, path, depth + 1).length === 0))
    complaints.push(`at '${path}': no items match contains schema`);
  return complaints;
}

function properties(walk: Walk, schema: Schema, data: Readonly<Record<string, unknown>>, path: string, depth: number): string[] {
  const complaints = counts(schema, data).map((message) => `at '${path}': ${message}`);
  const known = isObject(schema['properties']) ? schema['properties'] : {};
  const patterns = Object.entries(isObject(schema['patternProperties']) ? schema['patternProperties'] : {});
  const extra: string[] = [];
  for (const [key, value] of Object.entries(data)) {
    const inner = `${path}/${key.replaceAll('~', '~0').replaceAll('/', '~1')}`;
    const fitting = patterns.filter(([pattern]) => matches(pattern, key));
    if (Object.hasOwn(known, key)) complaints.push(...check(walk, known[key], value, inner, depth + 1));
    for (const [, part] of fitting) complaints.push(...check(walk, part, value, inner, depth + 1));
    if (!Object.hasOwn(known, key) && fitting.length === 0) {
      if (schema['additionalProperties'] === false) extra.push(key);
      else complaints.push(...check(walk, schema['additionalProperties'], value, inner, depth + 1));
    }
    if (schema['propertyNames'] !== undefined) complaints.push(...check(walk, schema['propertyNames'], key, inner, depth + 1));
  }
  if (extra.length > 0)
    complaints.push(`at '${path}': additional properties ${extra.map((key) => `'${key}'`).join(', ')} not allowed`);
  return complaints;
}

function counts(schema: Schema, data: Readonly<Record<string, unknown>>): string[] {
  const complaints: string[] = [];
  const { required, minProperties, maxProperties, dependentRequired } = schema;
  const missing = (Array.isArray(required) ? required : []).filter((key) => !Object.hasOwn(data, String(key)));
  if (missing.length > 0)
    complaints.push(
      `missing propert${missing.length === 1 ? 'y' : 'ies'} ${missing.map((key) => `'${String(key)}'`).join(', ')}`,
    );
  const count = Object.keys(data).length;
  if (typeof minProperties === 'number' && count < minProperties)
    complaints.push(`minProperties: got ${count}, want ${minProperties}`);
  if (typeof maxProperties === 'number' && count > maxProperties)
    complaints.push(`maxProperties: got ${count}, want ${maxProperties}`);
  for (const [key, others] of Object.entries(isObject(dependentRequired) ? dependentRequired : {}))
    for (const other of Array.isArray(others) && Object.hasOwn(data, key) ? others : [])
      if (!Object.hasOwn(data, String(other))) complaints.push(`properties '${String(other)}' required, if '${key}' exists`);
  return complaints;
}
