import { fuzz, mutateJson, randomJson, randomText } from '@slipway/testkit';
import { expect, it } from 'vitest';
import { StatusError } from '../errors.ts';
import type { StructuralSchema } from '../structural-schema.ts';
import { findAll, parseJsonPath } from '../jsonpath.ts';
import { parseQuantity, tryParseQuantity } from '../quantity.ts';
import { matchesFields, parseFieldSelector } from '../selectors/field-selector.ts';
import { matchesLabels, parseLabelSelector } from '../selectors/label-selector.ts';
import { applyJsonPatch } from './json-patch.ts';
import { applyMergePatch } from './merge-patch.ts';
import { applyStrategicMergePatch } from './strategic-merge-patch.ts';

const WORDS = ['metadata', 'spec', 'containers', 'name', 'env', 'a', '0', '$patch', 'delete', 'replace', '$retainKeys'];
const DIRECTIVES = ['$setElementOrder/containers', '$deleteFromPrimitiveList/args', 'args', 'merge'];
const ALL_WORDS = [...WORDS, ...DIRECTIVES];
const DOCUMENT = {
  metadata: { name: 'web', labels: { a: 'b' } },
  spec: {
    containers: [
      { name: 'a', image: 'x', args: ['1', '2'], env: [{ name: 'E', value: '1' }] },
      { name: 'b', image: 'y' },
    ],
  },
};
const SCHEMA: StructuralSchema = {
  type: 'object',
  properties: {
    spec: {
      type: 'object',
      properties: {
        containers: {
          type: 'array',
          'x-kubernetes-patch-strategy': 'merge',
          'x-kubernetes-patch-merge-key': 'name',
          'x-kubernetes-list-type': 'map',
          'x-kubernetes-list-map-keys': ['name'],
          items: { type: 'object', properties: { args: { type: 'array', items: { type: 'string' } } } },
        },
      },
    },
  },
};
const OPERATIONS = ['add', 'remove', 'replace', 'move', 'copy', 'test', 'other'];
const POINTERS = ['/', '', '/spec', '/spec/containers', '/-', '/0', '/1', '/99', '/name', '/~1', '/~0', '/~2', '/__proto__', 'x'];

/** A patch may be refused, with a message for the client, and in no other way. */
function refusable<T>(apply: () => T): T | undefined {
  try {
    return apply();
  } catch (error) {
    if (!(error instanceof StatusError) || error.code >= 500) throw error;
    return undefined;
  }
}

const isClean = (): void => {
  expect(({} as Record<string, unknown>)['polluted']).toBeUndefined();
  expect(Object.keys(Object.prototype)).toEqual([]);
};

it('applies or refuses any JSON patch', async () => {
  const before = JSON.stringify(DOCUMENT);
  await fuzz({
    name: 'JSON patches',
    inputs: 3000,
    make: (random) =>
      random.chance(0.1)
        ? randomJson(random, ALL_WORDS)
        : Array.from({ length: 1 + random.below(5) }, () => ({
            op: random.pick(OPERATIONS),
            ...(random.chance(0.95) && { path: randomText(random, POINTERS, 4) }),
            ...(random.chance(0.4) && { from: randomText(random, POINTERS, 4) }),
            ...(random.chance(0.8) && { value: randomJson(random, ALL_WORDS, 2) }),
          })),
    run(patch) {
      refusable(() => applyJsonPatch(DOCUMENT, patch));
      expect(JSON.stringify(DOCUMENT)).toBe(before);
      isClean();
    },
  });
});

it('applies or refuses any merge patch, and twice the same is the same', async () => {
  await fuzz({
    name: 'merge patches',
    inputs: 3000,
    make: (random) => (random.chance(0.3) ? randomJson(random, ALL_WORDS) : mutateJson(random, DOCUMENT, ALL_WORDS)),
    run(patch) {
      const once = refusable(() => applyMergePatch(DOCUMENT, patch));
      if (once !== undefined) expect(applyMergePatch(once, patch)).toEqual(once);
      isClean();
    },
  });
});

it('applies or refuses any strategic merge patch', async () => {
  await fuzz({
    name: 'strategic merge patches',
    inputs: 3000,
    make: (random) => mutateJson(random, mutateJson(random, DOCUMENT, ALL_WORDS), ALL_WORDS),
    run(patch) {
      refusable(() => applyStrategicMergePatch(DOCUMENT, patch, SCHEMA));
      isClean();
    },
  });
});

it('parses or refuses any selector', async () => {
  const pieces = [
    'a',
    'b.c/d',
    ' in ',
    ' notin ',
    '(',
    ')',
    ',',
    '=',
    '==',
    '!=',
    '!',
    '>',
    '<',
    '1',
    ' ',
    '\\',
    'metadata.name',
  ];
  await fuzz({
    name: 'selectors',
    inputs: 4000,
    make: (random) => randomText(random, pieces, 20),
    run(text) {
      const labels = refusable(() => parseLabelSelector(text));
      if (labels !== undefined) matchesLabels(labels, { a: '1', 'b.c/d': '2' });
      const fields = refusable(() => parseFieldSelector(text));
      if (fields !== undefined) matchesFields(fields, (name) => name);
    },
  });
});

it('reads any quantity and any JSONPath or says that it is none', async () => {
  const pieces = ['1', '0', '.', '-', '+', 'e', 'E', 'Ki', 'Mi', 'Ei', 'm', 'n', 'k', '9'.repeat(30), '000'];
  await fuzz({
    name: 'quantities',
    inputs: 3000,
    make: (random) => randomText(random, pieces, 8),
    run(text) {
      const quantity = tryParseQuantity(text);
      if (quantity !== undefined) expect(parseQuantity(text)).toEqual(quantity);
    },
  });
  const steps = ['.', '[', ']', '*', '..', 'a', '0', ':', '-1', "'b'", '?(@.a==1)', '{', '}', '$', '@', '"', '\\.'];
  await fuzz({
    name: 'JSONPaths',
    inputs: 3000,
    make: (random) => randomText(random, steps, 10),
    run(text) {
      let path;
      try {
        path = parseJsonPath(text);
      } catch (error) {
        expect(error).toBeInstanceOf(Error);
        expect(error).not.toBeInstanceOf(TypeError);
        expect(error).not.toBeInstanceOf(RangeError);
        return;
      }
      findAll(DOCUMENT, path);
    },
  });
});
