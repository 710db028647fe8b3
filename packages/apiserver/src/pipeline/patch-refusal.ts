import { StatusError, type UnstructuredObject, canonicalJson, invalid, invalidValue, isObject } from '@slipway/apimachinery';
import type { ResourceDefinition } from '../registry/resource-definition.ts';

/** Order in which the reference implementation writes the fields of ObjectMeta. */
const METADATA_ORDER = [
  'name',
  'generateName',
  'namespace',
  'uid',
  'resourceVersion',
  'generation',
  'creationTimestamp',
  'deletionTimestamp',
  'deletionGracePeriodSeconds',
  'labels',
  'annotations',
  'ownerReferences',
  'finalizers',
  'managedFields',
];

/** What a patch made, as text for messages: custom resources sorted throughout, built-in kinds at the top. */
export function patchedText(patched: UnstructuredObject, { custom }: ResourceDefinition): string {
  if (custom) return canonicalJson(patched);
  const { metadata } = patched;
  const ordered: Record<string, unknown> = {};
  for (const field of [...METADATA_ORDER, ...Object.keys(metadata)]) {
    if (metadata[field as keyof typeof metadata] !== undefined) ordered[field] = metadata[field as keyof typeof metadata];
  }
  const whole: Record<string, unknown> = { ...patched, metadata: ordered };
  return JSON.stringify(
    Object.fromEntries(
      Object.keys(whole)
        .sort()
        .map((key) => [key, whole[key]]),
    ),
  );
}

/** A value in the notation of the reference implementation's maps: `map[a:1 b:map[]]`. */
export function mapText(value: unknown): string {
  if (Array.isArray(value)) return `[${value.map(mapText).join(' ')}]`;
  if (!isObject(value)) return value === null ? '<nil>' : String(value as string | number | boolean);
  const members = Object.keys(value)
    .sort()
    .map((key) => `${key}:${mapText(value[key])}`);
  return `map[${members.join(' ')}]`;
}

/** 422 for a patch whose result cannot be read as the kind. */
export function patchRefusal(shown: string, why: string): StatusError {
  const { message = '', details } = invalid({ group: '', kind: '' }, '', [invalidValue('patch', shown, why)]).status;
  return new StatusError({ code: 422, reason: 'Invalid', message, details: { causes: details?.causes ?? [] } });
}
