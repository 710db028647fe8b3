import { isObject, type JsonObject, type KubeObject } from '@slipway/apimachinery';
import type { IgnoreDifference } from '../kinds.ts';

/** Fields that the server writes: they are compared with nothing. */
const SERVER_FIELDS = [
  'uid',
  'resourceVersion',
  'generation',
  'creationTimestamp',
  'managedFields',
  'selfLink',
  'deletionTimestamp',
  'deletionGracePeriodSeconds',
];

export const groupOf = (apiVersion: string): string => (apiVersion.includes('/') ? (apiVersion.split('/')[0] ?? '') : '');
export const versionOf = (apiVersion: string): string => apiVersion.slice(apiVersion.indexOf('/') + 1);

/** A manifest without what manifests cannot say: nulls, status, fields of the server. */
export function cleanTarget(object: KubeObject): JsonObject {
  // any object is a JSON object
  const { status: _status, ...rest } = dropNulls(object) as JsonObject;
  const metadata: JsonObject = isObject(rest['metadata']) ? { ...rest['metadata'] } : {};
  for (const field of SERVER_FIELDS) delete metadata[field];
  return withPlainSecret({ ...rest, metadata });
}

/** Texts of a Secret are stored as bytes. */
function withPlainSecret(object: JsonObject): JsonObject {
  if (object['kind'] !== 'Secret' || object['apiVersion'] !== 'v1' || !isObject(object['stringData'])) return object;
  const { stringData, ...rest } = object;
  const data = Object.fromEntries(
    Object.entries(stringData as JsonObject).map(([key, value]) => [
      key,
      Buffer.from(String(value as string)).toString('base64'),
    ]),
  );
  return { ...rest, data: { ...(isObject(rest['data']) ? rest['data'] : {}), ...data } };
}

function dropNulls(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(dropNulls);
  if (!isObject(value)) return value;
  return Object.fromEntries(
    Object.entries(value).flatMap(([key, item]) => (item === null || item === undefined ? [] : [[key, dropNulls(item)]])),
  );
}

/** A copy without the paths that are to be ignored for this object. */
export function withoutIgnored(object: JsonObject, rules: readonly IgnoreDifference[]): JsonObject {
  const metadata = isObject(object['metadata']) ? object['metadata'] : {};
  const group = groupOf(String(object['apiVersion'] as string));
  const pointers = rules
    .filter(
      (rule) =>
        fits(rule.group ?? '', group) &&
        fits(rule.kind, String(object['kind'] as string)) &&
        fits(rule.name ?? '*', String(metadata['name'] as string)) &&
        fits(rule.namespace ?? '*', String((metadata['namespace'] as string | undefined) ?? '')),
    )
    .flatMap(({ jsonPointers = [], jqPathExpressions = [] }) => [
      ...jsonPointers.map(pointerPath),
      ...jqPathExpressions.flatMap(jqPath),
    ]);
  if (pointers.length === 0) return object;
  const copy = structuredClone(object);
  for (const path of pointers) removeAt(copy, path);
  return copy;
}

const fits = (pattern: string, value: string): boolean =>
  pattern === '*' || pattern === '' ? pattern === '*' || value === '' : pattern === value;

const pointerPath = (pointer: string): string[] =>
  pointer
    .split('/')
    .slice(1)
    .map((part) => part.replaceAll('~1', '/').replaceAll('~0', '~'));

/** Plain paths such as `.spec.template.spec.domain` and `.a[]."b.c"`; anything else is not understood. */
function jqPath(expression: string): string[][] {
  if (!/^(?:\.(?:[A-Za-z_]\w*|"[^"]*")|\[(?:\d+|"[^"]*")?\])+$/.test(expression)) return [];
  const parts = [...expression.matchAll(/\.([A-Za-z_]\w*)|\."([^"]*)"|\["([^"]*)"\]|\[(\d*)\]/g)];
  return [
    parts.map(([, bare, quoted, bracketed, index]) => bare ?? quoted ?? bracketed ?? (index === '' ? '[]' : (index ?? ''))),
  ];
}

function removeAt(value: unknown, [head, ...rest]: readonly string[]): void {
  if (head === undefined) return;
  if (Array.isArray(value)) {
    const items: unknown[] = head === '[]' ? value : [value[Number(head)]];
    if (rest.length > 0) for (const item of items) removeAt(item, rest);
    else if (head === '[]') value.length = 0;
    else value.splice(Number(head), 1);
  } else if (isObject(value)) {
    if (rest.length === 0) delete value[head];
    else removeAt(value[head], rest);
  }
}

/** An object as it is compared: without server fields, status and bookkeeping. */
export function comparable(object: JsonObject): JsonObject {
  const { status: _status, ...rest } = object;
  const metadata: JsonObject = isObject(rest['metadata']) ? { ...rest['metadata'] } : {};
  for (const field of SERVER_FIELDS) delete metadata[field];
  if (isObject(metadata['annotations'])) {
    const { 'kubectl.kubernetes.io/last-applied-configuration': _applied, ...annotations } = metadata['annotations'];
    metadata['annotations'] = annotations;
  }
  return { ...rest, metadata };
}
