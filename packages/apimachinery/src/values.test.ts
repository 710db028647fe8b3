import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  addQuantities,
  ageOf,
  canonicalJson,
  canonicalQuantity,
  checkDns1123Label,
  checkQualifiedName,
  cloneJson,
  compareQuantities,
  deepEqual,
  findAll,
  formatDuration,
  formatMicroTime,
  formatQuantity,
  formatTime,
  humanDuration,
  parseDuration,
  parseJsonPath,
  parseQuantity,
  parseTime,
  quantityMilliValue,
  quantityValue,
  setCondition,
  validateObjectMeta,
} from './index.ts';

describe('quantities', () => {
  it.each([
    ['1000m', '1'],
    ['1024Mi', '1Gi'],
    ['1048576Ki', '1Gi'],
    ['1e3', '1e3'],
    ['2.5', '2500m'],
    ['0.5Gi', '512Mi'],
    ['1500M', '1500M'],
    ['1.5Gi', '1536Mi'],
    ['0', '0'],
    ['-1', '-1'],
    ['0.1', '100m'],
    ['512', '512'],
    ['0.5Ki', '512'],
    ['100k', '100k'],
    ['1000k', '1M'],
    ['.5', '500m'],
    ['5n', '5n'],
    ['0.1n', '1n'],
    ['12e6', '12e6'],
    ['1E', '1E'],
  ])('%s is written %s', (text, expected) => {
    expect(canonicalQuantity(text)).toBe(expected);
  });

  it.each(['', 'lots', '1.2.3', '1Kb', '--1', '1 Gi', 'Gi', '1e'])('refuses %j', (text) => {
    expect(() => parseQuantity(text)).toThrow(/quantit|suffix/);
  });

  it('rounds up to whole units and thousandths', () => {
    expect(quantityValue(parseQuantity('1500m'))).toBe(2n);
    expect(quantityMilliValue(parseQuantity('1.5'))).toBe(1500n);
    expect(quantityValue(parseQuantity('8Gi'))).toBe(8_589_934_592n);
  });

  it('canonical form is stable and keeps the amount', () => {
    const quantity = fc
      .tuple(fc.integer({ min: -1e9, max: 1e9 }), fc.constantFrom('', 'm', 'k', 'M', 'G', 'Ki', 'Mi', 'Gi', 'e3'))
      .map(([value, suffix]) => `${value}${suffix}`);
    fc.assert(
      fc.property(quantity, quantity, (a, b) => {
        const [left, right] = [parseQuantity(a), parseQuantity(b)];
        const text = formatQuantity(left);
        expect(parseQuantity(text).nano).toBe(left.nano);
        expect(canonicalQuantity(text)).toBe(text);
        expect(compareQuantities(left, right)).toBe(-compareQuantities(right, left) || 0);
        expect(addQuantities(left, right).nano).toBe(left.nano + right.nano);
      }),
    );
  });
});

describe('JSONPath', () => {
  const object = {
    status: {
      interfaces: [{ ipAddress: '10.0.0.1' }],
      conditions: [
        { type: 'Paused', status: 'False' },
        { type: 'Ready', status: 'True' },
      ],
    },
    spec: { replicas: 3, 'a.b': 'dotted', list: ['a', 'b'] },
  };
  it.each([
    [".status.conditions[?(@.type=='Ready')].status", ['True']],
    ['.status.conditions[?(@.type=="Ready")].status', ['True']],
    ['.status.interfaces[0].ipAddress', ['10.0.0.1']],
    ['.status.interfaces[3].ipAddress', []],
    ['.spec.replicas', [3]],
    ['.spec.list[*]', ['a', 'b']],
    ['.spec.list[-1]', ['b']],
    [".spec['a.b']", ['dotted']],
    ['.spec.a\\.b', ['dotted']],
    ['{.spec.replicas}', [3]],
    ['..ipAddress', ['10.0.0.1']],
    ['.constructor', []],
  ])('%s', (path, expected) => {
    expect(findAll(object, parseJsonPath(path))).toEqual(expected);
  });
  it.each(['a[', '.a[', '.a[?(b)]'])('refuses %s', (path) => {
    expect(() => parseJsonPath(path)).toThrow(/JSONPath/);
  });
});

describe('times', () => {
  it.each([
    [0, '0s'],
    [119_000, '119s'],
    [120_000, '2m'],
    [150_000, '2m30s'],
    [600_000, '10m'],
    [3 * 3_600_000, '3h'],
    [3 * 3_600_000 + 60_000, '3h1m'],
    [9 * 3_600_000, '9h'],
    [50 * 3_600_000, '2d2h'],
    [9 * 86_400_000, '9d'],
    [800 * 86_400_000, '2y70d'],
    [-5000, '<invalid>'],
  ])('%d ms ago reads %s', (ms, text) => {
    expect(humanDuration(ms)).toBe(text);
  });
  it('formats and parses', () => {
    const epochMs = Date.UTC(2026, 0, 2, 3, 4, 5, 678);
    expect(formatTime(epochMs)).toBe('2026-01-02T03:04:05Z');
    expect(formatMicroTime(epochMs)).toBe('2026-01-02T03:04:05.678000Z');
    expect(parseTime('2026-01-02T03:04:05.678Z')).toBe(epochMs);
    expect(parseTime('yesterday')).toBeUndefined();
    expect(ageOf(undefined, epochMs)).toBe('<unknown>');
    expect(parseDuration('1h30m')).toBe(5_400_000);
    expect(parseDuration('1x')).toBeUndefined();
    expect([5_400_000, 1500, 300, 0].map(formatDuration)).toEqual(['1h30m0s', '1.5s', '300ms', '0s']);
  });
});

describe('JSON values', () => {
  it('clones, compares and serialises alike', () => {
    fc.assert(
      fc.property(fc.jsonValue(), (value) => {
        const copy = cloneJson(value);
        expect(deepEqual(copy, value)).toBe(true);
        expect(canonicalJson(copy)).toBe(canonicalJson(value));
      }),
    );
  });
  it('does not confuse own and inherited fields', () => {
    expect(deepEqual({ a: undefined }, {})).toBe(true);
    expect(deepEqual({ toString: 1 }, {})).toBe(false);
    const poisoned = JSON.parse('{"__proto__": {"x": 1}}') as object;
    expect(Object.getPrototypeOf(cloneJson(poisoned))).toBe(Object.prototype);
    expect(JSON.stringify(cloneJson(poisoned))).toBe('{"__proto__":{"x":1}}');
  });
});

describe('conditions', () => {
  it('moves the transition time with the status only', () => {
    const first = setCondition(undefined, { type: 'Ready', status: 'False' }, 't1');
    const reason = setCondition(first, { type: 'Ready', status: 'False', reason: 'R' }, 't2');
    expect(reason[0]).toMatchObject({ lastTransitionTime: 't1', reason: 'R' });
    expect(setCondition(reason, { type: 'Ready', status: 'False', reason: 'R' }, 't3')).toBe(reason);
    expect(setCondition(reason, { type: 'Ready', status: 'True' }, 't4')[0]).toMatchObject({ lastTransitionTime: 't4' });
  });
});

describe('names', () => {
  it('words complaints as the API server does', () => {
    expect(checkDns1123Label('A')[0]).toBe(
      "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?')",
    );
    expect(checkDns1123Label('x'.repeat(64))).toEqual(['must be no more than 63 characters']);
    expect(checkQualifiedName('example.com/Name')).toEqual([]);
    expect(checkQualifiedName('/n')).toEqual(['prefix part must be non-empty']);
  });
  it('finds what is wrong with metadata', () => {
    const meta = {
      finalizers: ['nope'],
      labels: { k: 'bad value!' },
      ownerReferences: [{ apiVersion: 'v1', kind: 'Event', name: 'e', uid: 'u' }],
    };
    const errors = validateObjectMeta(meta, { namespaced: false, checkName: checkDns1123Label });
    expect(errors.map(({ path, type }) => `${path} ${type}`)).toEqual([
      'metadata.name Required',
      'metadata.labels Invalid',
      'metadata.ownerReferences Invalid',
      'metadata.finalizers[0] Invalid',
    ]);
  });
});
