import { type StructuralSchema, apiVersionOf } from '@slipway/apimachinery';
import { builtinSchemas } from '@slipway/api';
import { withTypeAndObjectMeta } from '@slipway/schema';
import type { ResourceDefinition } from '../registry/resource-definition.ts';
import { CRD_GROUP } from '../crd/crd-types.ts';
import { schemaName } from './schema-names.ts';

type Json = Record<string, unknown>;

const META = 'io.k8s.apimachinery.pkg.apis.meta.v1';
const stringParameter = (name: string, type = 'string'): { name: string; type: string } => ({ name, type });
const WRITE = [stringParameter('dryRun'), stringParameter('fieldManager'), stringParameter('fieldValidation')];
const LIST = [
  stringParameter('allowWatchBookmarks', 'boolean'),
  stringParameter('continue'),
  stringParameter('fieldSelector'),
  stringParameter('labelSelector'),
  stringParameter('limit', 'integer'),
  stringParameter('resourceVersion'),
  stringParameter('resourceVersionMatch'),
  stringParameter('timeoutSeconds', 'integer'),
  stringParameter('watch', 'boolean'),
];
const DELETE = [
  stringParameter('dryRun'),
  stringParameter('gracePeriodSeconds', 'integer'),
  stringParameter('orphanDependents', 'boolean'),
  stringParameter('propagationPolicy'),
];
const PATCH_TYPES = [
  'application/json-patch+json',
  'application/merge-patch+json',
  'application/strategic-merge-patch+json',
  'application/apply-patch+yaml',
];

interface OperationPlan {
  readonly method: string;
  readonly action: string;
  readonly parameters: readonly { name: string; type: string }[];
  readonly bodyTypes: readonly string[];
}

const OBJECT_BODY = ['*/*'];
const COLLECTION_OPERATIONS: readonly (OperationPlan & { verb: string })[] = [
  { verb: 'list', method: 'get', action: 'list', parameters: LIST, bodyTypes: [] },
  { verb: 'create', method: 'post', action: 'post', parameters: WRITE, bodyTypes: OBJECT_BODY },
  { verb: 'deletecollection', method: 'delete', action: 'deletecollection', parameters: [...LIST, ...DELETE], bodyTypes: [] },
];
const ITEM_OPERATIONS: readonly (OperationPlan & { verb: string })[] = [
  { verb: 'get', method: 'get', action: 'get', parameters: [], bodyTypes: [] },
  { verb: 'update', method: 'put', action: 'put', parameters: WRITE, bodyTypes: OBJECT_BODY },
  {
    verb: 'patch',
    method: 'patch',
    action: 'patch',
    parameters: [...WRITE, stringParameter('force', 'boolean')],
    bodyTypes: PATCH_TYPES,
  },
  { verb: 'delete', method: 'delete', action: 'delete', parameters: DELETE, bodyTypes: [] },
];

const gvkOf = ({ group, version }: ResourceDefinition, kind: string) => ({ group, version, kind });

/** Schemas by name: every kind with its list, and the shared metadata. */
export function schemasOf(definitions: readonly ResourceDefinition[], refPrefix: string): Record<string, Json> {
  const schemas: Record<string, Json> = { ...metaSchemas() };
  for (const definition of definitions) {
    const name = schemaName(definition, definition.kind);
    schemas[name] = {
      ...kindSchema(definition, refPrefix),
      'x-kubernetes-group-version-kind': [gvkOf(definition, definition.kind)],
    };
    if (!definition.verbs.includes('list')) continue;
    schemas[schemaName(definition, definition.listKind)] = listSchema(definition, `${refPrefix}${name}`, refPrefix);
  }
  return schemas;
}

const ANYTHING: StructuralSchema = { type: 'object', 'x-kubernetes-preserve-unknown-fields': true };

/** CustomResourceDefinitions are checked by code of their own; readers of documents want to see their fields all the same. */
const publishedSchema = ({ group, version, kind, schema }: ResourceDefinition): StructuralSchema =>
  schema ?? (group === CRD_GROUP ? builtinSchemas()(`apiextensions.${version}.${kind}`) : ANYTHING);

function kindSchema(definition: ResourceDefinition, refPrefix: string): Json {
  const { kind } = definition;
  const { properties = {}, ...rest } = publishedSchema(definition);
  return {
    description: `${kind} as this server stores it.`,
    ...rest,
    type: 'object',
    properties: {
      apiVersion: { type: 'string', description: 'Version of the schema of this representation of an object.' },
      kind: { type: 'string', description: 'Name of the REST resource this object represents.' },
      ...properties,
      metadata: { allOf: [{ $ref: `${refPrefix}${META}.ObjectMeta` }], default: {}, description: 'Standard object metadata.' },
    },
  };
}

function listSchema(definition: ResourceDefinition, itemRef: string, refPrefix: string): Json {
  return {
    type: 'object',
    description: `List of ${definition.kind}.`,
    required: ['items'],
    properties: {
      apiVersion: { type: 'string' },
      kind: { type: 'string' },
      metadata: { $ref: `${refPrefix}${META}.ListMeta` },
      items: { type: 'array', items: { $ref: itemRef } },
    },
    'x-kubernetes-group-version-kind': [gvkOf(definition, definition.listKind)],
  };
}

function metaSchemas(): Record<string, Json> {
  const metadata = withTypeAndObjectMeta({ type: 'object' }).properties?.['metadata'];
  return {
    [`${META}.ObjectMeta`]: { ...metadata, type: 'object' },
    [`${META}.ListMeta`]: {
      type: 'object',
      properties: {
        continue: { type: 'string' },
        remainingItemCount: { type: 'integer', format: 'int64' },
        resourceVersion: { type: 'string' },
        selfLink: { type: 'string' },
      },
    },
  };
}

/** How one operation is written down; differs between v2 and v3. */
type OperationWriter = (definition: ResourceDefinition, plan: OperationPlan, kind: string) => Json;

/** Paths of a resource with its subresources. */
export function pathsOf(definition: ResourceDefinition, write: OperationWriter): Record<string, Json> {
  const { plural, namespaced, verbs, kind, subresources } = definition;
  const root = definition.group === '' ? `/api/${definition.version}` : `/apis/${apiVersionOf(definition)}`;
  const collection = `${root}${namespaced ? '/namespaces/{namespace}' : ''}/${plural}`;
  const allowed = (plans: readonly (OperationPlan & { verb: string })[], served: readonly string[]): Json =>
    Object.fromEntries(
      plans.filter(({ verb }) => served.includes(verb)).map((plan) => [plan.method, write(definition, plan, kind)]),
    );
  const paths: Record<string, Json> = {
    [collection]: allowed(COLLECTION_OPERATIONS, verbs),
    [`${collection}/{name}`]: allowed(ITEM_OPERATIONS, verbs),
  };
  if (namespaced) paths[`${root}/${plural}`] = allowed(COLLECTION_OPERATIONS.slice(0, 1), verbs);
  for (const name of [...(subresources.status ? ['status'] : []), ...(subresources.scale ? ['scale'] : [])]) {
    paths[`${collection}/{name}/${name}`] = allowed(ITEM_OPERATIONS.slice(0, 3), ['get', 'update', 'patch']);
  }
  return paths;
}

const operationId = ({ action }: OperationPlan, { group, version, namespaced }: ResourceDefinition, kind: string): string =>
  `${action}${group === '' ? 'Core' : (group.split('.')[0] ?? '')}_${version}_${namespaced ? 'Namespaced' : ''}${kind}`;

/** Strategic merge is for built-in kinds alone; kubectl reads here whether it may use it. */
const bodyTypesOf = ({ bodyTypes }: OperationPlan, { custom }: ResourceDefinition): readonly string[] =>
  custom ? bodyTypes.filter((type) => !type.includes('strategic')) : bodyTypes;

/** One operation in OpenAPI v3. */
export const operationV3: OperationWriter = (definition, plan, kind) => {
  const reference = { $ref: `#/components/schemas/${schemaName(definition, definition.kind)}` };
  return {
    operationId: operationId(plan, definition, kind),
    parameters: plan.parameters.map(({ name, type }) => ({ name, in: 'query', schema: { type, uniqueItems: true } })),
    ...(plan.bodyTypes.length > 0 && {
      requestBody: {
        required: true,
        content: Object.fromEntries(bodyTypesOf(plan, definition).map((type) => [type, { schema: reference }])),
      },
    }),
    responses: { 200: { description: 'OK', content: { 'application/json': { schema: reference } } } },
    'x-kubernetes-action': plan.action,
    'x-kubernetes-group-version-kind': gvkOf(definition, kind),
  };
};

/** One operation in OpenAPI v2. */
export const operationV2: OperationWriter = (definition, plan, kind) => {
  const reference = { $ref: `#/definitions/${schemaName(definition, definition.kind)}` };
  return {
    operationId: operationId(plan, definition, kind),
    consumes: plan.bodyTypes.length > 0 ? bodyTypesOf(plan, definition) : ['*/*'],
    produces: ['application/json', 'application/yaml'],
    schemes: ['https'],
    parameters: [
      ...(plan.bodyTypes.length > 0 ? [{ name: 'body', in: 'body', required: true, schema: reference }] : []),
      ...plan.parameters.map(({ name, type }) => ({ name, in: 'query', type, uniqueItems: true })),
    ],
    responses: { 200: { description: 'OK', schema: reference } },
    'x-kubernetes-action': plan.action,
    'x-kubernetes-group-version-kind': gvkOf(definition, kind),
  };
};
