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

const CEL_OPERATORS = ['(', ')', '[', ']', '{', '}', ',', ':', '?', '&&', '||', '!', '==', '<', '+', '-', '*', '/', '%', ' in '];
const CEL_VALUES = [
  'self',
  'oldSelf',
  '.a',
  '.b',
  '.c',
  '[0]',
  'x',
  'y',
  'z',
  '1',
  '0',
  '"s"',
  '1.5',
  'null',
  'true',
  '9223372036854775807',
];
const CEL_LITERALS = ['duration("1h")', 'timestamp("2026-01-01T00:00:00Z")', 'r"\\d"', 'b"x"', '1u', '0x1F', '.?a', '[?0]'];
const CEL_LOOPS = ['has(', 'size(', '.all(x, ', '.exists(y, ', '.map(z, ', '.filter(w, ', '.all(x, y, ', '.exists(y, z, '];
const CEL_MORE_LOOPS = ['.transformList(x, y, ', '.transformMap(x, y, ', '.transformMapEntry(x, y, {x: y})', '.existsOne(x, y, '];
const CEL_TEXTS = [
  ".matches('(a+)+$')",
  '.startsWith("a")',
  '.split(",")',
  '.split("")',
  '.find("a*")',
  '.findAll("")',
  '.replace("a", "b")',
];
const CEL_MORE_TEXTS = [
  '.format([self])',
  '"%s %d %x".format([',
  '.charAt(0)',
  '.substring(1)',
  '.indexOf("a")',
  '.reverse()',
  '.join()',
];
const CEL_OBJECTS = [
  'url("http://a")',
  'quantity("1Gi")',
  'ip("1.2.3.4")',
  'cidr("10.0.0.0/8")',
  'semver("1.2.3")',
  'format.dns1123Label()',
];
const CEL_METHODS = [
  '.getQuery()',
  '.add(1)',
  '.family()',
  '.containsIP("10.0.0.1")',
  '.major()',
  '.validate(self.a)',
  '.isSorted()',
  '.sum()',
];
const CEL_NAMESPACES = [
  'sets.contains(',
  'sets.equivalent(',
  'math.greatest(',
  'math.abs(',
  'format.named(',
  'strings.quote(',
  'ip.isCanonical(',
];
const CEL_OPTIONALS = [
  'cel.bind(v, 1, v)',
  'optional.of(1)',
  'optional.none()',
  '.orValue(1)',
  '.optMap(o, ',
  '.optFlatMap(o, ',
  '.value()',
];
const CEL_PIECES = [
  ...[...CEL_OPERATORS, ...CEL_VALUES, ...CEL_OPERATORS, ...CEL_VALUES],
  ...[...CEL_LITERALS, ...CEL_LOOPS, ...CEL_MORE_LOOPS, ...CEL_TEXTS, ...CEL_MORE_TEXTS],
  ...[...CEL_OBJECTS, ...CEL_METHODS, ...CEL_NAMESPACES, ...CEL_OPTIONALS],
];

/** An expression that is likely to be one: a value with methods, compared or looped over, parentheses closed. */
function celLike(random: Random): string {
  const value = (depth: number): string => {
    const typed = random.pick([
      ...CEL_VALUES.slice(0, 2),
      ...CEL_OBJECTS,
      ...CEL_OPTIONALS.slice(0, 3),
      '[1, 2]',
      '"a,b"',
      'self.a',
      'self.b',
    ]);
    // what the checker would refuse is more interesting at run time
    const base = random.chance(0.7) ? `dyn(${typed})` : typed;
    const methods = Array.from({ length: random.below(3) }, () => random.pick([...CEL_TEXTS, ...CEL_MORE_TEXTS, ...CEL_METHODS]));
    const called = `${base}${methods.join('')}`;
    const own = random.chance(0.7) ? `dyn(${called})` : called;
    if (depth === 0) return own;
    switch (random.below(5)) {
      case 0:
        return `${own} ${random.pick(['==', '!=', '<', '+', '&&', '||', 'in'])} ${value(depth - 1)}`;
      case 1:
        return `${own}${random.pick([...CEL_LOOPS.slice(2), ...CEL_MORE_LOOPS])}${value(depth - 1)})`;
      case 2:
        return `${random.pick(CEL_NAMESPACES)}${value(depth - 1)}, ${value(depth - 1)})`;
      case 3:
        return `(${value(depth - 1)} ? ${own} : ${value(depth - 1)})`;
      default:
        return own;
    }
  };
  return value(3);
}

const CEL_SELF = toCel({ ...VALUE, a: 'a'.repeat(200), b: Array.from({ length: 50 }, (_, index) => ({ name: `n${index}` })) });

/** How often an expression was refused, failed, and had a value: inputs that are all refused alike would test nothing. */
const celOutcomes = { refused: 0, failed: 0, evaluated: 0 };

function evaluateAny(source: string): void {
  const result = compileExpression(source, ['self', 'oldSelf'], 'any');
  if ('error' in result) {
    celOutcomes.refused++;
    return;
  }
  try {
    result.expression.run({ self: CEL_SELF, oldSelf: CEL_SELF }, { left: 10_000_000 });
    celOutcomes.evaluated++;
  } catch (error) {
    // an evaluation may fail, but not for want of memory or stack, nor by a fault of the library
    const isOwnFault = error instanceof RangeError || error instanceof TypeError || error instanceof ReferenceError;
    if (isOwnFault) throw error;
    celOutcomes.failed++;
  }
}

it('compiles any CEL expression or says what is wrong, and bounds what it costs', async () => {
  await fuzz({ name: 'CEL', inputs: 3000, make: (random) => randomText(random, CEL_PIECES, 16), run: evaluateAny });
});

it('evaluates CEL expressions of any functions on any values', async () => {
  await fuzz({ name: 'CEL functions', inputs: 3000, make: celLike, run: evaluateAny });
  const isShort = process.env['SLIPWAY_FUZZ_INPUTS'] === undefined;
  if (isShort) for (const count of Object.values(celOutcomes)) expect(count, JSON.stringify(celOutcomes)).toBeGreaterThan(100);
});
