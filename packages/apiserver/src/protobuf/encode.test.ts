import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { decodeProtobuf } from './decode.ts';
import { encodeProtobuf, encodeProtobufList, hasProtobuf } from './encode.ts';
import { type ProtoField, protoMessage } from './field-table.ts';

type JsonObject = Record<string, unknown>;

const KINDS = [
  ['v1', 'Pod'],
  ['v1', 'Node'],
  ['v1', 'Service'],
  ['v1', 'PersistentVolume'],
  ['v1', 'PersistentVolumeClaim'],
  ['v1', 'Secret'],
  ['v1', 'Event'],
  ['v1', 'Status'],
  ['v1', 'ResourceQuota'],
  ['apps/v1', 'Deployment'],
  ['apps/v1', 'StatefulSet'],
  ['apps/v1', 'ControllerRevision'],
  ['batch/v1', 'CronJob'],
  ['autoscaling/v1', 'HorizontalPodAutoscaler'],
  ['autoscaling/v2', 'HorizontalPodAutoscaler'],
  ['coordination.k8s.io/v1', 'Lease'],
  ['certificates.k8s.io/v1', 'CertificateSigningRequest'],
  ['networking.k8s.io/v1', 'Ingress'],
  ['networking.k8s.io/v1', 'NetworkPolicy'],
  ['rbac.authorization.k8s.io/v1', 'ClusterRole'],
  ['authentication.k8s.io/v1', 'TokenReview'],
  ['admissionregistration.k8s.io/v1', 'ValidatingWebhookConfiguration'],
  ['storage.k8s.io/v1', 'StorageClass'],
  ['apiregistration.k8s.io/v1', 'APIService'],
] as const;

const MAX_DEPTH = 7;
const time = fc.integer({ min: 0, max: 4_000_000_000 }).map((seconds) => new Date(seconds * 1000).toISOString().slice(0, 19));
const text = fc.string({ minLength: 1, maxLength: 8, unit: 'grapheme' });
const key = fc.oneof(text, fc.constant('__proto__'), fc.constant('constructor'));

/** Values as JSON holds them, where nothing is written that means the same as its absence. */
function valueOf(type: string, depth: number, isElement: boolean): fc.Arbitrary<unknown> {
  switch (type) {
    case 's':
      return isElement ? fc.string() : text;
    case 'e':
      return fc.string();
    case 'b':
      return fc.uint8Array({ minLength: 1, maxLength: 9 }).map((bytes) => Buffer.from(bytes).toString('base64'));
    case 'i':
      return fc.oneof(fc.integer(), fc.constantFrom(0, -1, 2 ** 40, Number.MAX_SAFE_INTEGER, Number.MIN_SAFE_INTEGER));
    case 'n':
      return fc.integer({ min: 1 });
    case '?':
      return fc.boolean();
    case 'o':
      return fc.constant(true);
    case 't':
      return time.map((seconds) => `${seconds}Z`);
    case 'u':
      return fc
        .tuple(time, fc.integer({ min: 0, max: 999_999 }))
        .map(([s, micros]) => `${s}.${String(micros).padStart(6, '0')}Z`);
    case 'q':
      return fc.constantFrom('1', '100m', '2Gi', '0');
    case 'x':
      return fc.oneof(fc.integer({ min: -5, max: 70_000 }), fc.constantFrom('25%', 'http'));
    case 'j':
      return fc.dictionary(text, fc.oneof(text, fc.integer(), fc.boolean()), { maxKeys: 3 });
    case 'l':
      return fc.array(text, { maxLength: 3 });
    default:
      return messageOf(type, depth + 1);
  }
}

function fieldOf(field: ProtoField, depth: number): fc.Arbitrary<unknown> {
  const value = (isElement: boolean) => valueOf(field.type, depth, isElement);
  if (field.isMap) return fc.dictionary(key, value(true), { minKeys: 1, maxKeys: 2 });
  return field.isRepeated ? fc.array(value(true), { minLength: 1, maxLength: 2 }) : value(false);
}

function messageOf(name: string, depth: number): fc.Arbitrary<JsonObject> {
  const fields = [...(protoMessage(name)?.values() ?? [])].filter(({ type }) => type !== '-');
  const isLeaf = ({ type }: ProtoField): boolean => type.length === 1;
  const usable = depth < MAX_DEPTH ? fields : fields.filter(isLeaf);
  const attached = usable.filter((field) => field.name === '&');
  const named = usable.filter((field) => field.name !== '&');
  // a few fields of each message are enough: every field turns up in some run
  return fc
    .subarray(named, { maxLength: Math.min(6, named.length) })
    .chain((chosen) =>
      fc
        .tuple(
          fc.record(Object.fromEntries(chosen.map((field) => [field.name, fieldOf(field, depth)]))),
          ...attached.map(({ type }) => messageOf(type, depth + 1)),
        )
        .map((parts) => Object.assign({}, ...parts) as JsonObject),
    );
}

describe('protobuf of the built-in kinds', () => {
  it.each(KINDS)('reads back what it writes: %s %s', (apiVersion, kind) => {
    const [group = ''] = apiVersion.includes('/') ? apiVersion.split('.') : ['core'];
    const message = kind === 'Status' ? 'meta.v1.Status' : `${group.split('/')[0]}.${apiVersion.split('/').at(-1)}.${kind}`;
    expect(hasProtobuf(apiVersion, kind)).toBe(true);
    fc.assert(
      fc.property(messageOf(message, 0), (fields) => {
        const object = { kind, apiVersion, ...fields };
        expect(decodeProtobuf(encodeProtobuf(object))).toEqual(object);
      }),
      { numRuns: 40 },
    );
  });

  it('writes a list with the metadata of the list, its items without kind', () => {
    const items = [{ kind: 'ConfigMap', apiVersion: 'v1', metadata: { name: 'a' }, data: { k: 'v' } }];
    const bytes = encodeProtobufList(
      { apiVersion: 'v1', kind: 'ConfigMap', listKind: 'ConfigMapList' },
      { resourceVersion: '7' },
      items,
    );
    expect(bytes.subarray(0, 4).toString('hex')).toBe('6b387300');
    expect(bytes.toString('latin1')).toContain('ConfigMapList');
    expect(bytes.toString('hex')).toContain(Buffer.from([0x0a, 0x03, 0x12, 0x01, 0x37]).toString('hex')); // metadata { 2: "7" }
    expect(bytes.toString('latin1')).not.toContain('ConfigMap\u0012'); // no type of an item
  });

  it('has no form for custom resources', () => {
    expect(hasProtobuf('kubevirt.io/v1', 'VirtualMachine')).toBe(false);
    expect(hasProtobuf('apiextensions.k8s.io/v1', 'CustomResourceDefinition')).toBe(false);
    expect(hasProtobuf('__proto__', 'constructor')).toBe(false);
  });
});

const ODD: readonly unknown[] = [{ toString: 1 }, [{}], 1.5, Number.POSITIVE_INFINITY, true, { a: { b: [] } }];

// found by fuzzing: a review is answered with what the client sent
it.each(ODD.map((odd) => ({ odd })))('encodes $odd where something else belongs', ({ odd }) => {
  const review = {
    apiVersion: 'authorization.k8s.io/v1',
    kind: 'SubjectAccessReview',
    metadata: { name: odd, generation: odd, creationTimestamp: odd, labels: odd, finalizers: [odd], managedFields: [odd] },
    spec: { user: odd, groups: [odd], resourceAttributes: { verb: odd }, extra: { a: [odd], b: odd } },
    status: { allowed: odd, reason: odd },
  };
  expect(encodeProtobuf(review).length).toBeGreaterThan(0);
});
