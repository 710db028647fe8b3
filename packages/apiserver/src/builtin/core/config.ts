import type { ConfigMap, Secret } from '@slipway/api';
import {
  type FieldError,
  checkConfigMapKey,
  deepEqual,
  forbiddenField,
  invalidValue,
  requiredValue,
} from '@slipway/apimachinery';
import { type BuiltinKind, ageColumn, column, nameColumn, typed } from '../define.ts';

const MAX_BYTES = 1_048_576;

function validateKeys(data: Readonly<Record<string, string>> | undefined, path: string): FieldError[] {
  return Object.keys(data ?? {}).flatMap((key) =>
    checkConfigMapKey(key).map((text) => invalidValue(`${path}[${key}]`, key, text)),
  );
}

const tooLarge = (path: string, max: number): FieldError => ({
  type: 'TooLong',
  path,
  detail: `Too long: must have at most ${max} bytes`,
});

function validateConfigMap(map: ConfigMap): FieldError[] {
  const errors = [...validateKeys(map.data, 'data'), ...validateKeys(map.binaryData, 'binaryData')];
  for (const key of Object.keys(map.data ?? {})) {
    if (map.binaryData !== undefined && key in map.binaryData) {
      errors.push(invalidValue(`data[${key}]`, key, 'duplicate of key present in binaryData'));
    }
  }
  let bytes = 0;
  for (const value of Object.values(map.data ?? {})) bytes += Buffer.byteLength(value);
  for (const value of Object.values(map.binaryData ?? {})) bytes += decodedLength(value);
  if (bytes > MAX_BYTES) errors.push(tooLarge('[]', MAX_BYTES));
  return errors;
}

const decodedLength = (base64: string): number => Math.floor((base64.length * 3) / 4) - (base64.match(/=+$/)?.[0].length ?? 0);

const IMMUTABLE = 'field is immutable when `immutable` is set';

function validateImmutable(
  next: { immutable?: boolean },
  old: { immutable?: boolean },
  fields: readonly (readonly [path: string, next: unknown, old: unknown])[],
): FieldError[] {
  if (old.immutable !== true) return [];
  const errors: FieldError[] = [];
  if (next.immutable !== true) errors.push(forbiddenField('immutable', IMMUTABLE));
  for (const [path, value, before] of fields)
    if (!deepEqual(value ?? {}, before ?? {})) errors.push(forbiddenField(path, IMMUTABLE));
  return errors;
}

const sizeOf = (...maps: (Readonly<Record<string, string>> | undefined)[]): number =>
  maps.reduce((sum, map) => sum + Object.keys(map ?? {}).length, 0);

export const configMapKind: BuiltinKind = {
  kind: 'ConfigMap',
  plural: 'configmaps',
  definition: 'core.v1.ConfigMap',
  shortNames: ['cm'],
  strategy: {
    validate: (object) => validateConfigMap(typed<ConfigMap>(object)),
    validateUpdate(nextObject, oldObject) {
      const [next, old] = [typed<ConfigMap>(nextObject), typed<ConfigMap>(oldObject)];
      return validateImmutable(next, old, [
        ['data', next.data, old.data],
        ['binaryData', next.binaryData, old.binaryData],
      ]);
    },
  },
  columns: [
    nameColumn,
    column('Data', (object) => sizeOf(typed<ConfigMap>(object).data, typed<ConfigMap>(object).binaryData)),
    ageColumn,
  ],
};

/** Keys that a Secret of a type must hold. */
const REQUIRED_KEYS: Readonly<Record<string, readonly string[]>> = {
  'kubernetes.io/tls': ['tls.crt', 'tls.key'],
  'kubernetes.io/ssh-auth': ['ssh-privatekey'],
  'kubernetes.io/dockerconfigjson': ['.dockerconfigjson'],
  'kubernetes.io/dockercfg': ['.dockercfg'],
};
const JSON_KEYS = new Set(['.dockerconfigjson', '.dockercfg']);

function validateSecret(secret: Secret): FieldError[] {
  const data = secret.data ?? {};
  const errors = validateKeys(data, 'data');
  if (Object.values(data).reduce((sum, value) => sum + decodedLength(value), 0) > MAX_BYTES)
    errors.push(tooLarge('data', MAX_BYTES));
  for (const key of REQUIRED_KEYS[secret.type ?? ''] ?? []) {
    const value = data[key];
    if (value === undefined) errors.push(requiredValue(`data[${key}]`));
    else if (JSON_KEYS.has(key)) errors.push(...validateJson(value, `data[${key}]`));
  }
  if (secret.type === 'kubernetes.io/basic-auth' && data['username'] === undefined && data['password'] === undefined) {
    errors.push(requiredValue('data[username]'), requiredValue('data[password]'));
  }
  if (
    secret.type === 'kubernetes.io/service-account-token' &&
    !secret.metadata.annotations?.['kubernetes.io/service-account.name']
  ) {
    errors.push(requiredValue('metadata.annotations[kubernetes.io/service-account.name]'));
  }
  return errors;
}

function validateJson(base64: string, path: string): FieldError[] {
  const text = Buffer.from(base64, 'base64').toString();
  try {
    JSON.parse(text);
    return [];
  } catch {
    return [invalidValue(path, '<secret contents redacted>', jsonComplaint(text))]; // JSON.parse throws SyntaxError only
  }
}

/** Go's words for the commonest mistakes. */
function jsonComplaint(text: string): string {
  for (const literal of ['null', 'true', 'false']) {
    if (text[0] !== literal[0]) continue;
    const at = literal.split('').findIndex((character, index) => text[index] !== character);
    if (at > 0) return `invalid character '${text[at]}' in literal ${literal} (expecting '${literal[at]}')`;
  }
  return text === '' ? 'unexpected end of JSON input' : `invalid character '${text[0]}' looking for beginning of value`;
}

export const secretKind: BuiltinKind = {
  kind: 'Secret',
  plural: 'secrets',
  definition: 'core.v1.Secret',
  strategy: {
    default(object) {
      const secret = typed<Secret>(object);
      secret.type ||= 'Opaque';
      if (secret.stringData === undefined) return;
      const encoded = Object.entries(secret.stringData).map(([key, value]) => [key, Buffer.from(value).toString('base64')]);
      secret.data = { ...secret.data, ...Object.fromEntries(encoded) };
      delete secret.stringData;
    },
    validate: (object) => validateSecret(typed<Secret>(object)),
    validateUpdate(nextObject, oldObject) {
      const [next, old] = [typed<Secret>(nextObject), typed<Secret>(oldObject)];
      const errors = validateImmutable(next, old, [['data', next.data, old.data]]);
      if (next.type !== old.type) errors.push(invalidValue('type', next.type, 'field is immutable'));
      return errors;
    },
  },
  columns: [
    nameColumn,
    column('Type', (object) => typed<Secret>(object).type ?? ''),
    column('Data', (object) => sizeOf(typed<Secret>(object).data)),
    ageColumn,
  ],
  selectableFields: (object) => ({ type: typed<Secret>(object).type ?? '' }),
};
