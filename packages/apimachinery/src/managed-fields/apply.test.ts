import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { StatusError } from '../errors.ts';
import type { StructuralSchema } from '../structural-schema.ts';
import type { UnstructuredObject } from '../types.ts';
import { type ApplyContext, applyConfiguration } from './apply.ts';
import { difference, equalSets, type FieldSet, intersection, union } from './field-set.ts';
import { trackUpdate } from './track.ts';

const text: StructuralSchema = { type: 'string' };
const texts: StructuralSchema = { type: 'object', additionalProperties: text };
const schema: StructuralSchema = {
  type: 'object',
  properties: {
    apiVersion: text,
    kind: text,
    metadata: {
      type: 'object',
      properties: {
        name: text,
        labels: texts,
        annotations: texts,
        finalizers: { type: 'array', items: text, 'x-kubernetes-list-type': 'set' },
      },
    },
    data: texts,
    spec: {
      type: 'object',
      properties: {
        plain: { type: 'array', items: { type: 'integer' } },
        tags: { type: 'array', items: text, 'x-kubernetes-list-type': 'set' },
        selector: { ...texts, 'x-kubernetes-map-type': 'atomic' },
        ports: {
          type: 'array',
          'x-kubernetes-list-type': 'map',
          'x-kubernetes-list-map-keys': ['port', 'protocol'],
          items: {
            type: 'object',
            properties: { name: text, port: { type: 'integer' }, protocol: { type: 'string', default: 'TCP' } },
          },
        },
        open: { type: 'object', 'x-kubernetes-preserve-unknown-fields': true },
      },
    },
    status: { type: 'object', 'x-kubernetes-preserve-unknown-fields': true },
  },
};

const context = (manager: string, extra: Partial<ApplyContext> = {}): ApplyContext => ({
  manager,
  apiVersion: 'v1',
  subresource: '',
  now: '2026-01-02T03:04:05Z',
  schema,
  hasStatus: true,
  isCustom: false,
  force: false,
  ...extra,
});
const object = (fields: Record<string, unknown>, metadata = {}): UnstructuredObject => ({
  apiVersion: 'v1',
  kind: 'ConfigMap',
  metadata: { name: 'a', ...metadata },
  ...fields,
});
const owned = (result: UnstructuredObject): Record<string, unknown> =>
  Object.fromEntries((result.metadata.managedFields ?? []).map((entry) => [entry.manager, entry.fieldsV1]));
const updated = (
  old: UnstructuredObject | undefined,
  next: UnstructuredObject,
  manager: string,
  extra = {},
): UnstructuredObject => {
  const managedFields = trackUpdate(old, next, context(manager, extra));
  return { ...next, metadata: { ...next.metadata, ...(managedFields && { managedFields }) } };
};

describe('applyConfiguration', () => {
  it('owns the applied leaves, and a repeated apply changes nothing', () => {
    const first = applyConfiguration(undefined, object({ data: { x: '1' } }), context('m1'));
    expect(owned(first)).toEqual({ m1: { 'f:data': { 'f:x': {} } } });
    const second = applyConfiguration(first, object({ data: { x: '1' } }), context('m1', { now: '2026-01-02T03:04:59Z' }));
    expect(second).toEqual(first);
  });

  it('refuses fields of another manager with a cause each, and takes them with force', () => {
    const live = applyConfiguration(undefined, object({ data: { x: '1', y: '1' } }), context('m1'));
    const config = object({ data: { x: '2', y: '2' } });
    const error = catchStatus(() => applyConfiguration(live, config, context('m2')));
    expect(error.status.message).toBe('Apply failed with 2 conflicts: conflicts with "m1":\n- .data.x\n- .data.y');
    expect(error.status.details?.causes).toEqual([
      { reason: 'FieldManagerConflict', message: 'conflict with "m1"', field: '.data.x' },
      { reason: 'FieldManagerConflict', message: 'conflict with "m1"', field: '.data.y' },
    ]);
    const forced = applyConfiguration(live, config, context('m2', { force: true }));
    expect(owned(forced)).toEqual({ m2: { 'f:data': { 'f:x': {}, 'f:y': {} } } });
    expect(forced['data']).toEqual({ x: '2', y: '2' });
  });

  it('names the version in a conflict with an updater', () => {
    const live = updated(undefined, object({ data: { x: '1' } }), 'editor');
    const error = catchStatus(() => applyConfiguration(live, object({ data: { x: '2' } }), context('m2')));
    expect(error.status.message).toBe('Apply failed with 1 conflict: conflict with "editor" using v1: .data.x');
    expect(owned(applyConfiguration(live, object({ data: { x: '1', z: '1' } }), context('m2')))).toEqual({
      editor: { 'f:data': { '.': {}, 'f:x': {} } },
      m2: { 'f:data': { 'f:x': {}, 'f:z': {} } },
    });
  });

  it('removes what is no longer applied, unless somebody else owns it', () => {
    const live = applyConfiguration(undefined, object({ data: { x: '1', y: '2' } }, { labels: { l: '1' } }), context('m1'));
    const next = applyConfiguration(live, object({ data: { x: '1' } }), context('m1'));
    expect(next).toMatchObject({ data: { x: '1' } });
    expect(next.metadata.labels).toBeUndefined();
    const shared = applyConfiguration(live, object({ data: { y: '2' } }), context('m2'));
    expect(applyConfiguration(shared, object({ data: { x: '1' } }), context('m1'))['data']).toEqual({ x: '1', y: '2' });
  });

  it('merges list maps by key with defaulted keys, sets by value, and keeps atomic values whole', () => {
    const live = applyConfiguration(
      undefined,
      object({ spec: { ports: [{ name: 'a', port: 1 }], tags: ['x'], plain: [1] } }),
      context('m1'),
    );
    const both = applyConfiguration(
      live,
      object({ spec: { ports: [{ name: 'b', port: 2, protocol: 'TCP' }], tags: ['y'] } }),
      context('m2'),
    );
    expect(both['spec']).toEqual({
      ports: [
        { name: 'a', port: 1 },
        { name: 'b', port: 2, protocol: 'TCP' },
      ],
      tags: ['x', 'y'],
      plain: [1],
    });
    expect(owned(both)['m1']).toEqual({
      'f:spec': {
        'f:ports': { 'k:{"port":1,"protocol":"TCP"}': { '.': {}, 'f:name': {}, 'f:port': {} } },
        'f:tags': { 'v:"x"': {} },
        'f:plain': {},
      },
    });
    const error = catchStatus(() => applyConfiguration(both, object({ spec: { plain: [2] } }), context('m2')));
    expect(error.status.details?.causes?.[0]?.field).toBe('.spec.plain');
    expect(applyConfiguration(both, object({ spec: {} }), context('m1'))['spec']).toEqual({
      ports: [{ name: 'b', port: 2, protocol: 'TCP' }],
      tags: ['y'],
    });
  });

  it('owns maps without a schema key by key', () => {
    const live = applyConfiguration(undefined, object({ spec: { open: { a: { x: 1 }, l: [1] } } }), context('m1'));
    const both = applyConfiguration(live, object({ spec: { open: { a: { y: 2 } } } }), context('m2'));
    expect(both['spec']).toEqual({ open: { a: { x: 1, y: 2 }, l: [1] } });
    expect(owned(both)).toEqual({
      m1: { 'f:spec': { 'f:open': { 'f:a': { '.': {}, 'f:x': {} }, 'f:l': {} } } },
      m2: { 'f:spec': { 'f:open': { 'f:a': { '.': {}, 'f:y': {} } } } },
    });
  });

  it('keeps kubectl records and shared fields when client-side apply is followed by server-side apply', () => {
    const annotations = { 'kubectl.kubernetes.io/last-applied-configuration': '{}' };
    const live = updated(undefined, object({ data: { x: '1', y: '2' } }, { annotations }), 'kubectl-client-side-apply');
    const next = applyConfiguration(live, object({ data: { x: '1' } }), context('kubectl'));
    expect(next['data']).toEqual({ x: '1', y: '2' });
    expect(next.metadata.annotations).toEqual({
      'kubectl.kubernetes.io/last-applied-configuration':
        '{"apiVersion":"v1","data":{"x":"1"},"kind":"ConfigMap","metadata":{"name":"a"}}\n',
    });
    expect(next.metadata.managedFields?.[0]).not.toHaveProperty('time');
  });

  it('refuses duplicate keys and managedFields in the configuration', () => {
    const twice = object({ spec: { ports: [{ port: 1 }, { port: 1 }] } });
    expect(catchStatus(() => applyConfiguration(undefined, twice, context('m'))).code).toBe(400);
    const managed = object({}, { managedFields: [{ manager: 'x' }] });
    expect(catchStatus(() => applyConfiguration(undefined, managed, context('m'))).message).toBe(
      'metadata.managedFields must be nil',
    );
  });

  it('lets a stored list have a key twice, as the addresses of a node do', () => {
    const ports = [
      { port: 1, name: 'v4' },
      { port: 1, name: 'v6' },
    ];
    const live = updated(undefined, object({ spec: { ports } }), 'agent');
    const labelled = applyConfiguration(live, object({}, { labels: { a: '1' } }), context('m'));
    const again = applyConfiguration(labelled, object({}, { labels: { b: '2' } }), context('m'));
    expect(again).toMatchObject({ metadata: { labels: { b: '2' } }, spec: { ports } });
    expect(again.metadata.labels).toEqual({ b: '2' });
  });

  it('tracks status apart', () => {
    const live = updated(undefined, object({ data: { x: '1' }, status: { a: 1 } }), 'c');
    expect(owned(live)).toEqual({ c: { 'f:data': { '.': {}, 'f:x': {} } } });
    const next = applyConfiguration(live, object({ status: { phase: 'P' } }), context('ctl', { subresource: 'status' }));
    expect(next.metadata.managedFields?.find((entry) => entry.manager === 'ctl')).toMatchObject({
      subresource: 'status',
      fieldsV1: { 'f:status': { 'f:phase': {} } },
    });
  });
});

describe('trackUpdate', () => {
  it('moves changed fields to the writer and forgets removed ones', () => {
    const first = updated(undefined, object({ data: { x: 'y' } }, { labels: { l: '1' } }), 'one');
    expect(owned(first)).toEqual({
      one: { 'f:data': { '.': {}, 'f:x': {} }, 'f:metadata': { 'f:labels': { '.': {}, 'f:l': {} } } },
    });
    const second = updated(first, { ...first, data: { x: 'y', z: '1' } }, 'other');
    expect(owned(second)['other']).toEqual({ 'f:data': { 'f:z': {} } });
    const third = updated(second, object({ data: { z: '2' } }), 'third');
    expect(owned(third)).toEqual({ one: { 'f:data': {} }, third: { 'f:data': { 'f:z': {} } } });
  });

  it('gives a new object to its writer, as the general comparison does', () => {
    const fields = { data: { a: '1' }, spec: { tags: ['x'], plain: [1], ports: [{ port: 80, name: 'web' }] } };
    const general = trackUpdate(undefined, object(fields, { labels: { l: '1' }, managedFields: [] }), context('ui'));
    expect(trackUpdate(undefined, object(fields, { labels: { l: '1' } }), context('ui'))).toEqual(general);
    expect(general?.map(({ manager }) => manager)).toEqual(['ui']);
  });

  it('returns the stored list itself when nothing changed, and folds many updaters', () => {
    let current = updated(undefined, object({ data: { k: '0' } }), 'm0');
    expect(trackUpdate(current, { ...current }, context('x'))).toBe(current.metadata.managedFields);
    for (let i = 1; i < 20; i++)
      current = updated(current, { ...current, data: { ...(current['data'] as object), [`k${i}`]: '1' } }, `m${i}`);
    expect(current.metadata.managedFields).toHaveLength(10);
    expect(current.metadata.managedFields?.map((entry) => entry.manager)).toContain('ancient-changes');
  });

  it('forgets everything for [{}]', () => {
    const first = updated(undefined, object({ data: { x: '1' } }), 'one');
    expect(trackUpdate(first, object({ data: { x: '1' } }, { managedFields: [{}] }), context('two'))).toBeUndefined();
  });
});

function catchStatus(run: () => unknown): StatusError {
  try {
    run();
  } catch (error) {
    if (error instanceof StatusError) return error;
    throw error;
  }
  throw new Error('Expected a StatusError');
}

const fieldSet: fc.Arbitrary<FieldSet> = fc.letrec<{ node: FieldSet }>((tie) => ({
  node: fc.oneof(
    { maxDepth: 3 },
    fc.constant({}),
    fc
      .tuple(fc.boolean(), fc.dictionary(fc.constantFrom('f:a', 'f:b', 'f:c'), tie('node'), { minKeys: 1 }))
      .map(([member, children]) => (member ? { '.': {}, ...children } : children)),
  ),
})).node;

describe('field set laws', () => {
  it('union, intersection and difference behave as sets', () => {
    fc.assert(
      fc.property(fieldSet, fieldSet, fieldSet, (a, b, c) => {
        expect(equalSets(union(a, b), union(b, a))).toBe(true);
        expect(equalSets(union(a, union(b, c)), union(union(a, b), c))).toBe(true);
        expect(equalSets(intersection(a, union(b, c)), union(intersection(a, b), intersection(a, c)))).toBe(true);
        expect(equalSets(union(difference(a, b), intersection(a, b)), withoutRoot(a))).toBe(true);
        expect(equalSets(difference(a, a), {})).toBe(true);
      }),
    );
  });

  it('apply is idempotent, and a withdrawn apply leaves what others own', () => {
    const data = fc.dictionary(fc.constantFrom('a', 'b', 'c', 'd'), fc.constantFrom('1', '2'), { minKeys: 1 });
    fc.assert(
      fc.property(data, data, (mine, theirs) => {
        const live = applyConfiguration(undefined, object({ data: theirs }), context('theirs'));
        const config = object({ data: mine });
        const once = applyConfiguration(live, config, context('mine', { force: true }));
        expect(applyConfiguration(once, config, context('mine'))).toEqual(once);
        const withdrawn = applyConfiguration(once, object({}), context('mine'));
        const left = Object.keys((withdrawn['data'] ?? {}) as object).sort();
        expect(left).toEqual(
          Object.keys(theirs)
            .filter((key) => !(key in mine) || mine[key] === theirs[key])
            .sort(),
        );
      }),
    );
  });
});

/** The root has no path of its own. */
const withoutRoot = ({ '.': _self, ...rest }: FieldSet & { '.'?: FieldSet }): FieldSet => rest;
