import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { StatusError } from '../errors.ts';
import type { StructuralSchema } from '../structural-schema.ts';
import { applyJsonPatch } from './json-patch.ts';
import { applyMergePatch } from './merge-patch.ts';
import { applyStrategicMergePatch } from './strategic-merge-patch.ts';

const codeOf = (run: () => unknown): number => {
  try {
    run();
  } catch (error) {
    if (error instanceof StatusError) return error.code;
    throw error;
  }
  return 0;
};

describe('applyJsonPatch', () => {
  it.each<[unknown, unknown[], unknown]>([
    [
      { data: { a: '1', b: '2' } },
      [
        { op: 'test', path: '/data/a', value: '1' },
        { op: 'replace', path: '/data/a', value: '9' },
        { op: 'add', path: '/data/c', value: '3' },
        { op: 'remove', path: '/data/b' },
        { op: 'copy', from: '/data/c', path: '/data/d' },
        { op: 'move', from: '/data/c', path: '/data/e' },
      ],
      { data: { a: '9', d: '3', e: '3' } },
    ],
    [
      { l: [1, 2, 3] },
      [
        { op: 'replace', path: '/l/1', value: 'two' },
        { op: 'add', path: '/l/-', value: 4 },
        { op: 'add', path: '/l/0', value: 0 },
      ],
      { l: [0, 1, 'two', 3, 4] },
    ],
    [
      { 'a/b': 1, 'c~d': 2 },
      [
        { op: 'replace', path: '/a~1b', value: 3 },
        { op: 'remove', path: '/c~0d' },
      ],
      { 'a/b': 3 },
    ],
    [{ m: {} }, [{ op: 'add', path: '/m/x', value: null }], { m: { x: null } }],
    [
      { m: { x: { y: 1 } } },
      [
        { op: 'copy', from: '/m/x', path: '/m/z' },
        { op: 'replace', path: '/m/z/y', value: 2 },
      ],
      { m: { x: { y: 1 }, z: { y: 2 } } },
    ],
  ])('%j with %j', (document, patch, expected) => {
    const before = structuredClone(document);
    expect(applyJsonPatch(document, patch)).toEqual(expected);
    expect(document).toEqual(before);
  });

  it.each<[unknown, number]>([
    [[{ op: 'test', path: '/a', value: 2 }], 422],
    [[{ op: 'remove', path: '/missing' }], 422],
    [[{ op: 'fly', path: '/x' }], 422],
    [[{ op: 'replace', path: '/l/9', value: 1 }], 422],
    [[{ op: 'move', from: '/l', path: '/l/0' }], 422],
    [{ a: 1 }, 400],
    [Array.from({ length: 10_001 }, () => ({ op: 'test', path: '/a', value: 1 })), 413],
  ])('refuses %j', (patch, code) => {
    expect(codeOf(() => applyJsonPatch({ a: 1, l: [] }, patch))).toBe(code);
  });

  it('sets fields named like prototypes without touching any prototype', () => {
    const result = applyJsonPatch({}, [{ op: 'add', path: '/__proto__', value: { polluted: true } }]);
    expect(({} as Record<string, unknown>)['polluted']).toBeUndefined();
    expect(JSON.stringify(result)).toBe('{"__proto__":{"polluted":true}}');
  });
});

describe('applyMergePatch', () => {
  it('merges, replaces lists and deletes by null', () => {
    expect(applyMergePatch({ data: { a: '1', b: '2' }, l: [1] }, { data: { a: null, c: '3' }, l: [2], n: { x: null } })).toEqual({
      data: { b: '2', c: '3' },
      l: [2],
      n: {},
    });
  });
  it('is idempotent and refuses what is no object', () => {
    const value = fc.dictionary(fc.constantFrom('a', 'b', 'c'), fc.jsonValue({ maxDepth: 2 }));
    fc.assert(
      fc.property(value, value, (target, patch) => {
        const once = applyMergePatch(target, patch);
        expect(applyMergePatch(once, patch)).toEqual(once);
      }),
    );
    expect(codeOf(() => applyMergePatch({}, []))).toBe(400);
  });
});

describe('applyStrategicMergePatch', () => {
  const named = (extra: StructuralSchema = {}): StructuralSchema => ({
    type: 'array',
    'x-kubernetes-patch-merge-key': 'name',
    'x-kubernetes-patch-strategy': 'merge',
    items: {
      type: 'object',
      properties: {
        env: {
          type: 'array',
          'x-kubernetes-patch-merge-key': 'name',
          'x-kubernetes-patch-strategy': 'merge',
          items: { type: 'object' },
        },
      },
    },
    ...extra,
  });
  const schema: StructuralSchema = {
    type: 'object',
    properties: {
      containers: named(),
      volumes: named({ 'x-kubernetes-patch-strategy': 'merge,retainKeys' }),
      finalizers: { type: 'array', 'x-kubernetes-patch-strategy': 'merge', items: { type: 'string' } },
      tolerations: { type: 'array', items: { type: 'object' } },
      strategy: { type: 'object' },
    },
  };
  const live = {
    containers: [
      {
        name: 'a',
        image: 'ia',
        env: [
          { name: 'X', value: '1' },
          { name: 'Y', value: '2' },
        ],
      },
      { name: 'b', image: 'ib' },
    ],
    finalizers: ['a', 'b', 'c'],
    tolerations: [{ key: 'k' }],
    volumes: [
      { name: 'v1', emptyDir: {} },
      { name: 'v2', configMap: {} },
    ],
    strategy: { type: 'RollingUpdate', rollingUpdate: {} },
  };
  it.each<[string, Record<string, unknown>, Record<string, unknown>]>([
    [
      'merges by key, patch order first',
      {
        containers: [
          { name: 'b', image: 'n' },
          { name: 'a', env: [{ name: 'Y', value: '3' }] },
        ],
      },
      {
        containers: [
          { name: 'b', image: 'n' },
          {
            name: 'a',
            image: 'ia',
            env: [
              { name: 'X', value: '1' },
              { name: 'Y', value: '3' },
            ],
          },
        ],
      },
    ],
    ['deletes an item', { containers: [{ name: 'a', $patch: 'delete' }] }, { containers: [{ name: 'b', image: 'ib' }] }],
    ['replaces a list', { containers: [{ name: 'only' }, { $patch: 'replace' }] }, { containers: [{ name: 'only' }] }],
    [
      'reorders',
      { '$setElementOrder/containers': [{ name: 'b' }, { name: 'a' }] },
      { containers: [live.containers[1], live.containers[0]] },
    ],
    ['deletes primitives', { '$deleteFromPrimitiveList/finalizers': ['b'], finalizers: ['d'] }, { finalizers: ['d', 'a', 'c'] }],
    ['replaces atomic lists', { tolerations: [{ key: 'n' }] }, { tolerations: [{ key: 'n' }] }],
    ['retains keys', { strategy: { $retainKeys: ['type'], type: 'Recreate' } }, { strategy: { type: 'Recreate' } }],
    [
      'retains keys of items',
      { volumes: [{ name: 'v1', $retainKeys: ['name', 'hostPath'], hostPath: {} }] },
      {
        volumes: [
          { name: 'v1', hostPath: {} },
          { name: 'v2', configMap: {} },
        ],
      },
    ],
    ['deletes by null', { strategy: null }, {}],
    ['replaces an object', { strategy: { $patch: 'replace', type: 'X' } }, { strategy: { type: 'X' } }],
  ])('%s', (_name, patch, expected) => {
    const result = applyStrategicMergePatch(live, patch, schema);
    for (const field of Object.keys(live)) {
      const touched = Object.keys(patch).some((key) => key === field || key.endsWith(`/${field}`));
      expect(result[field]).toEqual(touched ? expected[field] : live[field as keyof typeof live]);
    }
  });
  it('refuses an item without its key', () => {
    expect(codeOf(() => applyStrategicMergePatch(live, { containers: [{ image: 'x' }] }, schema))).toBe(400);
  });
});
