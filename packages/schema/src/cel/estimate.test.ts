import type { StructuralSchema } from '@slipway/apimachinery';
import { bundledCustomResourceDefinitions } from '@slipway/api';
import { expect, it } from 'vitest';
import { validateRuleSources } from './validate-rule-sources.ts';

const text: StructuralSchema = { type: 'string' };
const list = (items: StructuralSchema, more: StructuralSchema = {}): StructuralSchema => ({ type: 'array', items, ...more });
const object = (properties: Record<string, StructuralSchema>, more: StructuralSchema = {}): StructuralSchema => ({
  type: 'object',
  properties,
  ...more,
});

function complaint(schema: StructuralSchema, rule: string): string | undefined {
  const spec = { ...schema, 'x-kubernetes-validations': [{ rule }] };
  return validateRuleSources(object({ spec }), 's')[0]?.detail;
}

it.each<readonly [string, StructuralSchema]>([
  ["self.all(x, x != 'a')", list(text)],
  ["self.all(x, x.contains('a'))", list(text, { maxItems: 10 })],
  ['self.all(x, self.exists_one(y, x == y))', list({ ...text, maxLength: 20 }, { maxItems: 100 })],
  ["self.a.matches('^[a-z]+$') && self.b.size() < 9", object({ a: text, b: list(text) })],
  ['self.all(x, x.all(y, y > 0))', list(list({ type: 'integer' }, { maxItems: 100 }), { maxItems: 100 })],
  ["self.all(k, k != 'a') && self.size() < 9", { type: 'object', additionalProperties: text }],
  ['self.min <= self.max', object({ min: { type: 'integer' }, max: { type: 'integer' } })],
  ['has(self.a) ? self.a.startsWith(self.b) : true', object({ a: text, b: { ...text, maxLength: 10 } })],
])('%s is cheap enough', (rule, schema) => {
  expect(complaint(schema, rule)).toBeUndefined();
});

it.each<readonly [string, StructuralSchema]>([
  ['self.all(x, self.exists_one(y, x == y))', list(text)],
  ["self.all(x, x.contains('a'))", list(text)],
  ['self.all(x, x.all(y, y > 0))', list(list({ type: 'integer' }))],
  ["self.all(i, x, self.all(j, y, i == j || x.replace('a', 'b') != y))", list(text)],
])('%s is refused: more than 100x', (rule, schema) => {
  expect(complaint(schema, rule)).toMatch(/^Forbidden: estimated rule cost exceeds budget by factor of more than 100x \(try /);
});

it('counts how often a rule runs, and all rules together', () => {
  const item = { ...object({ a: text }), 'x-kubernetes-validations': [{ rule: "self.a.matches('^[a-z]+$')" }] };
  const find = (schema: StructuralSchema): string[] => validateRuleSources(object({ l: schema }), 's').map(({ path }) => path);
  expect(find(list(item, { maxItems: 2 }))).toEqual([]);
  expect(find(list(item))).toEqual(['s.properties[l].items.x-kubernetes-validations[0].rule']);
  const many = Object.fromEntries(Array.from({ length: 60 }, (_, index) => [`f${index}`, list(item, { maxItems: 3 })]));
  const [error] = validateRuleSources(object(many), 's');
  expect(error?.path).toBe('s');
  expect(error?.detail).toContain('estimated rule cost total for entire OpenAPIv3 schema exceeds budget by factor of');
});

it('accepts the rules that come with the platform', () => {
  for (const { spec } of bundledCustomResourceDefinitions()) {
    for (const { schema } of spec.versions) {
      const root = schema?.openAPIV3Schema as StructuralSchema | undefined; // our own documents
      if (root !== undefined) expect(validateRuleSources(root, spec.names.kind)).toEqual([]);
    }
  }
});
