import { isObject } from '@slipway/apimachinery';
import { WrongType } from '../registry/resource-definition.ts';

/** JSON types of a document; members that are not named may be anything. */
type Shape =
  | 'string'
  | 'boolean'
  | 'number'
  | 'any'
  | { readonly list: Shape }
  | { readonly map: Shape }
  | { readonly fields: () => Readonly<Record<string, Shape>> };

const TEXTS: Shape = { list: 'string' };

const RULE: Shape = {
  fields: () => ({ rule: 'string', message: 'string', messageExpression: 'string', reason: 'string', fieldPath: 'string' }),
};

const SCHEMA: Shape = { fields: () => SCHEMA_FIELDS };
const SCHEMAS: Shape = { list: SCHEMA };

const SCHEMA_FIELDS: Readonly<Record<string, Shape>> = {
  ...Object.fromEntries(
    ['id', '$schema', '$ref', 'description', 'type', 'format', 'title', 'pattern'].map((name) => [name, 'string']),
  ),
  ...Object.fromEntries(
    ['maximum', 'minimum', 'maxLength', 'minLength', 'maxItems', 'minItems', 'multipleOf', 'maxProperties', 'minProperties'].map(
      (name) => [name, 'number'],
    ),
  ),
  ...Object.fromEntries(['exclusiveMaximum', 'exclusiveMinimum', 'uniqueItems', 'nullable'].map((name) => [name, 'boolean'])),
  enum: { list: 'any' },
  required: TEXTS,
  allOf: SCHEMAS,
  anyOf: SCHEMAS,
  oneOf: SCHEMAS,
  not: SCHEMA,
  properties: { map: SCHEMA },
  patternProperties: { map: SCHEMA },
  definitions: { map: SCHEMA },
  dependencies: { map: 'any' },
  'x-kubernetes-preserve-unknown-fields': 'boolean',
  'x-kubernetes-embedded-resource': 'boolean',
  'x-kubernetes-int-or-string': 'boolean',
  'x-kubernetes-list-map-keys': TEXTS,
  'x-kubernetes-list-type': 'string',
  'x-kubernetes-map-type': 'string',
  'x-kubernetes-validations': { list: RULE },
};

const COLUMN: Shape = {
  fields: () => ({
    name: 'string',
    type: 'string',
    format: 'string',
    description: 'string',
    priority: 'number',
    jsonPath: 'string',
  }),
};

const VERSION: Shape = {
  fields: () => ({
    name: 'string',
    served: 'boolean',
    storage: 'boolean',
    deprecated: 'boolean',
    deprecationWarning: 'string',
    schema: { fields: () => ({ openAPIV3Schema: SCHEMA }) },
    subresources: {
      fields: () => ({
        status: { map: 'any' },
        scale: { fields: () => ({ specReplicasPath: 'string', statusReplicasPath: 'string', labelSelectorPath: 'string' }) },
      }),
    },
    additionalPrinterColumns: { list: COLUMN },
    selectableFields: { list: { fields: () => ({ jsonPath: 'string' }) } },
  }),
};

const SPEC: Shape = {
  fields: () => ({
    group: 'string',
    scope: 'string',
    preserveUnknownFields: 'boolean',
    versions: { list: VERSION },
    names: {
      fields: () => ({
        plural: 'string',
        singular: 'string',
        kind: 'string',
        listKind: 'string',
        shortNames: TEXTS,
        categories: TEXTS,
      }),
    },
    conversion: {
      fields: () => ({
        strategy: 'string',
        webhook: {
          fields: () => ({
            conversionReviewVersions: TEXTS,
            clientConfig: {
              fields: () => ({
                url: 'string',
                caBundle: 'string',
                service: { fields: () => ({ namespace: 'string', name: 'string', path: 'string', port: 'number' }) },
              }),
            },
          }),
        },
      }),
    },
  }),
};

const METADATA: Shape = {
  fields: () => ({
    ...Object.fromEntries(
      ['name', 'generateName', 'namespace', 'uid', 'resourceVersion'].map((name) => [name, 'string'] as const),
    ),
    labels: { map: 'string' },
    annotations: { map: 'string' },
    finalizers: TEXTS,
    ownerReferences: { list: OWNER },
    managedFields: { list: { map: 'any' } },
  }),
};

const OWNER: Shape = {
  fields: () => ({
    ...Object.fromEntries(['apiVersion', 'kind', 'name', 'uid'].map((name) => [name, 'string'] as const)),
    controller: 'boolean',
    blockOwnerDeletion: 'boolean',
  }),
};

/** Checks the JSON types of a definition and drops nulls, in place, before anything else reads it. Throws WrongType. */
export function checkCrdShape(object: Record<string, unknown>): void {
  check(object, { fields: () => ({ metadata: METADATA, spec: SPEC, status: { map: 'any' } }) }, '');
}

function check(value: unknown, shape: Shape, path: string): void {
  if (shape === 'any') return;
  if (typeof shape === 'string') {
    if (typeof value !== shape) throw wrong(value, path, shape);
  } else if ('list' in shape) {
    if (!Array.isArray(value)) throw wrong(value, path, 'list');
    for (const item of value) check(item, shape.list, path);
  } else {
    if (!isObject(value)) throw wrong(value, path, 'object');
    if ('map' in shape) checkMembers(value, () => shape.map, path);
    else checkFields(value, shape.fields(), path);
  }
}

function checkFields(value: Record<string, unknown>, fields: Readonly<Record<string, Shape>>, path: string): void {
  checkMembers(value, (name) => (Object.hasOwn(fields, name) ? (fields[name] ?? 'any') : 'any'), path);
  if (fields !== SCHEMA_FIELDS) return;
  const { items, additionalProperties } = value;
  if (items !== undefined) checkBranch(items, `${path}.items`);
  if (additionalProperties !== undefined && typeof additionalProperties !== 'boolean')
    checkBranch(additionalProperties, `${path}.additionalProperties`);
}

function checkMembers(value: Record<string, unknown>, shapeOf: (name: string) => Shape, path: string): void {
  for (const [name, member] of Object.entries(value)) {
    const shape = shapeOf(name);
    if (shape === 'any') continue;
    if (member === null) delete value[name];
    else check(member, shape, path === '' ? name : `${path}.${name}`);
  }
}

/** `items` and `additionalProperties` know other forms than a schema; those are refused later, in words of their own. */
function checkBranch(value: unknown, path: string): void {
  if (Array.isArray(value)) for (const item of value) check(item, SCHEMA, path);
  else check(value, SCHEMA, path);
}

function wrong(value: unknown, path: string, wanted: string): WrongType {
  const kind = Array.isArray(value) ? 'array' : typeof value;
  return new WrongType(`json: cannot unmarshal ${kind} into field ${path} of type ${wanted}`);
}
