import { type Random, fuzz, mutateJson, randomJson, randomText } from '@slipway/testkit';
import { expect, it } from 'vitest';
import {
  type StructuralSchema,
  applyDefaults,
  compileExpression,
  dropNulls,
  prune,
  toCel,
  validateListTypes,
  validateRuleSources,
  validateRules,
  validateStructuralSchema,
  validateValue,
} from './index.ts';

const WORDS = ['type', 'object', 'array', 'string', 'integer', 'number', 'boolean', 'properties', 'items', 'required', 'default'];
const MORE = [
  'additionalProperties',
  'enum',
  'pattern',
  'minLength',
  'maximum',
  'format',
  'date-time',
  'nullable',
  'allOf',
  'not',
];
const EXTENSIONS = ['x-kubernetes-int-or-string', 'x-kubernetes-list-type', 'map', 'set', 'x-kubernetes-list-map-keys', 'a', 'b'];
const ALL_WORDS = [...WORDS, ...MORE, ...EXTENSIONS, 'x-kubernetes-preserve-unknown-fields', 'x-kubernetes-validations'];

const SCHEMA: StructuralSchema = {
  type: 'object',
  required: ['a'],
  properties: {
    a: { type: 'string', pattern: '^[a-z]+$', maxLength: 10, default: 'x' },
    b: {
      type: 'array',
      maxItems: 10,
      'x-kubernetes-list-type': 'map',
      'x-kubernetes-list-map-keys': ['name'],
      items: {
        type: 'object',
        required: ['name'],
        properties: { name: { type: 'string' }, port: { 'x-kubernetes-int-or-string': true } },
      },
    },
    c: { type: 'object', additionalProperties: { type: 'integer', minimum: 1 } },
    d: { type: 'string', format: 'date-time', nullable: true },
  },
  'x-kubernetes-validations': [{ rule: 'self.a.size() < 5', message: 'too long' }],
};
const VALUE = { a: 'abc', b: [{ name: 'x', port: 80 }], c: { y: 2 }, d: '2026-01-01T00:00:00Z' };

const SCHEMA_WORDS = ['type', 'properties', 'items', 'additionalProperties', 'not', 'allOf', 'enum', 'required', 'default'];

/** A schema whose members have the types they should have, as the API server makes sure of; anything else may be wrong with it. */
function bentSchema(random: Random, schema: StructuralSchema): StructuralSchema {
  const bent: Record<string, unknown> = { ...schema };
  for (let round = random.below(3); round >= 0; round--) {
    switch (random.below(8)) {
      case 0:
        delete bent[random.pick(SCHEMA_WORDS)];
        break;
      case 1:
        bent['type'] = random.pick(['object', 'array', 'string', 'integer', 'number', 'boolean', 'odd', '']);
        break;
      case 2:
        bent['pattern'] = randomText(random, ['(', 'a', '+', '*', ')', '[', ']', '^', '$', '{9}', '|', '\\'], 8);
        break;
      case 3:
        bent['default'] = randomJson(random, ALL_WORDS, 2);
        break;
      case 4:
        bent['x-kubernetes-list-type'] = random.pick(['map', 'set', 'atomic', 'odd']);
        break;
      case 5:
        bent['x-kubernetes-validations'] = [
          { rule: randomText(random, ['self', '.a', ' == ', '1', 'oldSelf', '(', ')', '.size()'], 8) },
        ];
        break;
      case 6:
        bent[random.pick(['allOf', 'anyOf', 'oneOf'])] = [bentSchema(random, {})];
        break;
      default:
        bent[random.pick(['x-kubernetes-int-or-string', 'nullable', 'x-kubernetes-preserve-unknown-fields'])] = true;
    }
  }
  if (schema.properties !== undefined && bent['properties'] !== undefined) {
    bent['properties'] = Object.fromEntries(
      Object.entries(schema.properties).map(([name, child]) => [name, random.chance(0.4) ? bentSchema(random, child) : child]),
    );
  }
  return bent;
}

function use(value: unknown, old: unknown, schema: StructuralSchema): void {
  const { value: pruned } = prune(structuredClone(value), schema, {});
  const defaulted = applyDefaults(dropNulls(pruned, schema), schema);
  const errors = [...validateValue(defaulted, schema), ...validateListTypes(defaulted, schema)];
  if (errors.length === 0) validateRules(defaulted, old, schema);
}

it('finds fault with any schema, or works with it', async () => {
  await fuzz({
    name: 'CRD schemas',
    inputs: 2000,
    make: (random) => ({ schema: bentSchema(random, SCHEMA), value: mutateJson(random, VALUE, ALL_WORDS) }),
    run({ schema, value }) {
      const findings = [...validateStructuralSchema(schema, 'schema')];
      if (findings.length === 0) findings.push(...validateRuleSources(schema, 'schema'));
      if (findings.length === 0) use(value, VALUE, schema);
    },
  });
});

it('validates any value', async () => {
  await fuzz({
    name: 'values',
    inputs: 3000,
    make: (random) =>
      random.chance(0.2) ? randomJson(random, ALL_WORDS) : mutateJson(random, mutateJson(random, VALUE), ALL_WORDS),
    run: (value) => use(value, VALUE, SCHEMA),
  });
});

it('compiles any CEL expression or says what is wrong, and bounds what it costs', async () => {
  const pieces = [
    ...[
      'self',
      'oldSelf',
      '.a',
      '.b',
      '.c',
      '[0]',
      '(',
      ')',
      '[',
      ']',
      '{',
      '}',
      ',',
      ':',
      '?',
      '&&',
      '||',
      '!',
      '==',
      '<',
      '+',
      '-',
    ],
    ...[
      '*',
      '/',
      '%',
      ' in ',
      'has(',
      'size(',
      '.all(x, ',
      '.exists(y, ',
      '.map(z, ',
      '.filter(w, ',
      'x',
      'y',
      'z',
      '1',
      '0',
      '"s"',
    ],
    ...[
      ".matches('(a+)+$')",
      'duration("1h")',
      'timestamp("2026-01-01T00:00:00Z")',
      '9223372036854775807',
      '1.5',
      'null',
      'true',
    ],
    ...[
      '.startsWith("a")',
      '.split(",")',
      'url("http://a")',
      'quantity("1Gi")',
      'cel.bind(v, 1, v)',
      'optional.of(1)',
      'r"\\d"',
      'b"x"',
    ],
  ];
  const self = toCel({ ...VALUE, a: 'a'.repeat(200), b: Array.from({ length: 50 }, (_, index) => ({ name: `n${index}` })) });
  await fuzz({
    name: 'CEL',
    inputs: 3000,
    make: (random) => randomText(random, pieces, 16),
    run(source) {
      const result = compileExpression(source, ['self', 'oldSelf'], 'any');
      if ('error' in result) {
        expect(result.error).toContain('');
        return;
      }
      try {
        result.expression.run({ self, oldSelf: self }, { left: 10_000_000 });
      } catch (error) {
        // an evaluation may fail, but not for want of memory or stack
        expect(error).not.toBeInstanceOf(RangeError);
      }
    },
  });
});
