import type { StructuralSchema } from '@slipway/apimachinery';
import { describe, expect, it } from 'vitest';
import {
  applyDefaults,
  dropNulls,
  prune,
  ratchetErrors,
  validateListTypes,
  validateRuleSources,
  validateRules,
  validateStructuralSchema,
  validateValue,
} from './index.ts';

const spec = (properties: Record<string, StructuralSchema>, extra: StructuralSchema = {}): StructuralSchema => ({
  type: 'object',
  properties: { spec: { type: 'object', properties, ...extra } },
});
const texts = (errors: readonly { type: string; path: string; detail: string }[]): string[] =>
  errors.map(({ type, path, detail }) => `${type} ${path}: ${detail}`);

describe('validateValue', () => {
  it.each<[string, StructuralSchema, unknown, string[]]>([
    [
      'type',
      { type: 'integer' },
      'x',
      ['TypeInvalid spec.f: Invalid value: "string": spec.f in body must be of type integer: "string"'],
    ],
    [
      'fraction',
      { type: 'integer' },
      1.5,
      ['TypeInvalid spec.f: Invalid value: "number": spec.f in body must be of type integer: "number"'],
    ],
    [
      'list item',
      { type: 'array', items: { type: 'string' } },
      [1],
      ['TypeInvalid spec.f[0]: Invalid value: "integer": spec.f[0] in body must be of type string: "integer"'],
    ],
    ['enum', { type: 'integer', enum: [1, 2] }, 3, ['NotSupported spec.f: Unsupported value: 3: supported values: "1", "2"']],
    [
      'minimum',
      { type: 'integer', minimum: 1 },
      0,
      ['Invalid spec.f: Invalid value: 0: spec.f in body should be greater than or equal to 1'],
    ],
    [
      'exclusive',
      { type: 'number', minimum: 0, exclusiveMinimum: true },
      0,
      ['Invalid spec.f: Invalid value: 0: spec.f in body should be greater than 0'],
    ],
    [
      'multiple',
      { type: 'integer', multipleOf: 5 },
      7,
      ['Invalid spec.f: Invalid value: 7: spec.f in body should be a multiple of 5'],
    ],
    [
      'pattern',
      { type: 'string', pattern: '^[a-z]+$' },
      'ABC',
      ['Invalid spec.f: Invalid value: "ABC": spec.f in body should match \'^[a-z]+$\''],
    ],
    ['length', { type: 'string', maxLength: 4 }, 'xxxxx', ['TooLong spec.f: Too long: may not be longer than 4']],
    [
      'short',
      { type: 'string', minLength: 2 },
      'x',
      ['Invalid spec.f: Invalid value: "x": spec.f in body should be at least 2 chars long'],
    ],
    [
      'required',
      { type: 'object', required: ['b'], properties: { b: { type: 'string' } } },
      {},
      ['Required spec.f.b: Required value'],
    ],
    [
      'int-or-string',
      { 'x-kubernetes-int-or-string': true },
      true,
      ['TypeInvalid spec.f: Invalid value: "boolean": spec.f in body must be of type integer,string: "boolean"'],
    ],
    ['nullable', { type: 'string', nullable: true }, null, []],
    [
      'items',
      { type: 'array', maxItems: 1, items: { type: 'string' } },
      ['a', 'b'],
      ['TooMany spec.f: Too many: 2: must have at most 1 items'],
    ],
  ])('%s', (_name, field, value, expected) => {
    expect(texts(validateValue({ spec: { f: value } }, spec({ f: field })))).toEqual(expected);
  });

  it('needs type and kind in embedded resources', () => {
    const schema = spec({
      r: { type: 'object', 'x-kubernetes-embedded-resource': true, 'x-kubernetes-preserve-unknown-fields': true },
    });
    expect(texts(validateValue({ spec: { r: { a: 1 } } }, schema))).toEqual([
      'Required spec.r.apiVersion: Required value: must not be empty',
      'Required spec.r.kind: Required value: must not be empty',
    ]);
  });
});

describe('lists', () => {
  const list: StructuralSchema = {
    type: 'array',
    'x-kubernetes-list-type': 'map',
    'x-kubernetes-list-map-keys': ['k'],
    items: { type: 'object', properties: { k: { type: 'string' } } },
  };
  it('reports duplicates of sets and maps', () => {
    const set: StructuralSchema = { type: 'array', 'x-kubernetes-list-type': 'set', items: { type: 'string' } };
    expect(texts(validateListTypes({ spec: { s: ['a', 'b', 'a'] } }, spec({ s: set })))).toEqual([
      'Duplicate spec.s[2]: Duplicate value: "a"',
    ]);
    expect(validateListTypes({ spec: { m: [{ k: 'a' }, { k: 'a' }] } }, spec({ m: list }))).toMatchObject([
      { type: 'Duplicate', path: 'spec.m[1]' },
    ]);
    expect(validateListTypes({ spec: { m: [{ k: 'a' }, { k: 'b' }] } }, spec({ m: list }))).toEqual([]);
  });
});

describe('prune', () => {
  const schema = spec({
    closed: { type: 'object', properties: { a: { type: 'string' } } },
    open: {
      type: 'object',
      'x-kubernetes-preserve-unknown-fields': true,
      properties: { known: { type: 'object', properties: {} } },
    },
    list: { type: 'array', items: { type: 'object', properties: { n: { type: 'string' } } } },
  });
  it('drops and names unknown fields, sorted', () => {
    const object = {
      apiVersion: 'v1',
      kind: 'W',
      metadata: { name: 'w', bogus: 1 },
      top: 1,
      spec: { closed: { a: 'x', b: 1 }, open: { x: 1, known: { u: 1 } }, list: [{ n: 'a', z: 1 }] },
    };
    const { value, unknownFields } = prune(object, schema, { isRoot: true });
    expect(unknownFields).toEqual(['metadata.bogus', 'spec.closed.b', 'spec.list[0].z', 'spec.open.known.u', 'top']);
    expect(value).toEqual({
      apiVersion: 'v1',
      kind: 'W',
      metadata: { name: 'w' },
      spec: { closed: { a: 'x' }, open: { x: 1, known: {} }, list: [{ n: 'a' }] },
    });
    expect(object.spec.closed).toHaveProperty('b'); // the input is not touched
  });
  it('returns the same object when everything is known', () => {
    const object = { spec: { closed: { a: 'x' } } };
    expect(prune(object, schema).value).toBe(object);
  });
});

describe('applyDefaults', () => {
  const schema = spec({
    n: { type: 'integer', default: 5 },
    p: { type: 'integer', nullable: true, default: 6 },
    q: { type: 'string' },
    sub: { type: 'object', properties: { deep: { type: 'string', default: 'd' } } },
    obj: { type: 'object', default: {}, properties: { in: { type: 'integer', default: 1 } } },
    list: { type: 'array', items: { type: 'object', properties: { p: { type: 'integer', default: 80 } } } },
  });
  it.each([
    [{}, {}],
    [{ spec: {} }, { spec: { n: 5, p: 6, obj: { in: 1 } } }],
    [{ spec: { n: null, p: null, q: null } }, { spec: { n: 5, p: null, obj: { in: 1 } } }],
    [{ spec: { sub: {}, list: [{}] } }, { spec: { n: 5, p: 6, obj: { in: 1 }, sub: { deep: 'd' }, list: [{ p: 80 }] } }],
  ])('%j becomes %j', (value, expected) => {
    expect(dropNulls(applyDefaults(value, schema), schema)).toEqual(expected);
  });
});

describe('ratchetErrors', () => {
  it('keeps findings at changed places only', () => {
    const errors = validateValue(
      { spec: { a: 50, b: 50 } },
      spec({ a: { type: 'integer', maximum: 10 }, b: { type: 'integer', maximum: 10 } }),
    );
    expect(ratchetErrors(errors, { spec: { a: 50, b: 50 } }, { spec: { a: 50, b: 1 } }).map(({ path }) => path)).toEqual([
      'spec.b',
    ]);
  });
});

describe('validateStructuralSchema', () => {
  it.each<[StructuralSchema | Record<string, unknown>, string]>([
    [{}, 'Required s.properties[f].type: Required value: must not be empty for specified object fields'],
    [
      { type: 'strange' },
      'NotSupported s.properties[f].type: Unsupported value: "strange": supported values: "array", "boolean", "integer", "number", "object", "string"',
    ],
    [{ type: 'array' }, 'Required s.properties[f].items: Required value: must be specified'],
    [
      { type: 'array', items: { type: 'string' }, 'x-kubernetes-list-type': 'bag' },
      'NotSupported s.properties[f].x-kubernetes-list-type: Unsupported value: "bag": supported values: "atomic", "set", "map"',
    ],
  ])('%j', (field, expected) => {
    const schema = { type: 'object', properties: { f: field } } as StructuralSchema; // wrong on purpose
    expect(texts(validateStructuralSchema(schema, 's'))).toEqual([expected]);
  });
});

describe('validateRules', () => {
  const rule = (
    properties: Record<string, StructuralSchema>,
    ...rules: { rule: string; message?: string; messageExpression?: string }[]
  ) => spec(properties, { 'x-kubernetes-validations': rules });
  const range = rule(
    { min: { type: 'integer' }, max: { type: 'integer' } },
    { rule: 'self.min <= self.max', message: 'min must not be above max' },
    { rule: '!has(self.min) || self.min >= 0' },
  );

  it.each([
    [{ min: 3, max: 1 }, ['Invalid spec: Invalid value: "object": min must not be above max']],
    [{ min: -1, max: 1 }, ['Invalid spec: Invalid value: "object": failed rule: !has(self.min) || self.min >= 0']],
    [{ min: 1 }, ['Invalid spec: Invalid value: "object": no such key: max evaluating rule: min must not be above max']],
    [{ min: 1, max: 2 }, []],
  ])('%j', (value, expected) => {
    expect(texts(validateRules({ spec: value }, undefined, range))).toEqual(expected);
  });

  it('runs rules with oldSelf on updates only, at values that can be matched', () => {
    const schema = spec({
      name: { type: 'string', 'x-kubernetes-validations': [{ rule: 'self == oldSelf', message: 'name is immutable' }] },
    });
    expect(validateRules({ spec: { name: 'y' } }, undefined, schema)).toEqual([]);
    expect(texts(validateRules({ spec: { name: 'y' } }, { spec: { name: 'x' } }, schema))).toEqual([
      'Invalid spec.name: Invalid value: "string": name is immutable',
    ]);
  });

  it('has the library of Kubernetes, message expressions and escaped names', () => {
    const schema = rule(
      { cpu: { type: 'string' }, items: { type: 'array', items: { type: 'integer' } }, 'a-b': { type: 'integer' } },
      { rule: "quantity(self.cpu).isLessThan(quantity('2'))", messageExpression: "'got ' + self.cpu" },
      { rule: 'self.items.isSorted() && self.items.sum() < 10 && self.items.max() < 9', message: 'items' },
      { rule: 'self.a__dash__b == 1', message: 'dash' },
    );
    expect(texts(validateRules({ spec: { cpu: '1500m', items: [1, 2, 3], 'a-b': 1 } }, undefined, schema))).toEqual([]);
    expect(texts(validateRules({ spec: { cpu: '3', items: [3, 1], 'a-b': 2 } }, undefined, schema))).toEqual([
      'Invalid spec: Invalid value: "object": got 3',
      'Invalid spec: Invalid value: "object": items',
      'Invalid spec: Invalid value: "object": dash',
    ]);
  });

  it('refuses work beyond the budget before doing it', () => {
    const schema = rule(
      { l: { type: 'array', items: { type: 'integer' } } },
      { rule: 'self.l.all(a, self.l.all(b, self.l.all(c, a + b + c >= 0)))' },
    );
    const [error] = validateRules({ spec: { l: Array.from({ length: 500 }, (_, i) => i) } }, undefined, schema);
    expect(error?.detail).toContain('call cost exceeds limit');
  });

  it('refuses rules that do not compile, with the place', () => {
    const bad = (field: StructuralSchema) => texts(validateRuleSources({ type: 'object', properties: { spec: field } }, 's'));
    expect(
      bad({ type: 'object', properties: { a: { type: 'integer' } }, 'x-kubernetes-validations': [{ rule: 'self.nope > 1' }] })[0],
    ).toMatch(/compilation failed: ERROR: <input>:1:5: undefined field 'nope'\n \| self\.nope > 1\n \| \.\.\.\.\^$/);
    expect(bad({ type: 'integer', 'x-kubernetes-validations': [{ rule: 'self + 1' }] })[0]).toMatch(
      /cel expression must evaluate to a bool$/,
    );
    expect(bad({ type: 'object', 'x-kubernetes-validations': [{ rule: '' }] })).toEqual([
      'Required s.properties[spec].x-kubernetes-validations[0].rule: Required value: rule is not specified',
    ]);
    expect(bad({ type: 'string', 'x-kubernetes-validations': [{ rule: "self.matches('(a)\\\\1')" }] })[0]).toContain(
      'error parsing regexp: invalid escape sequence',
    );
  });
});
