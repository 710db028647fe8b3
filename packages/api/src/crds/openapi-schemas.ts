import type { StructuralSchema } from '@slipway/apimachinery';

/** One definition of the published OpenAPI document: as a structural schema, but with references and type lists. */
export interface OpenApiNode {
  readonly $ref?: string;
  readonly type?: string | readonly string[];
  readonly properties?: Readonly<Record<string, OpenApiNode>>;
  readonly additionalProperties?: OpenApiNode | boolean;
  readonly items?: OpenApiNode;
  readonly allOf?: readonly OpenApiNode[];
  readonly [field: string]: unknown;
}

export type OpenApiDefinitions = Readonly<Record<string, OpenApiNode>>;

/** `Definition.field` → schema members to add: the validation that the published document leaves out. */
export type Constraints = Readonly<Record<string, StructuralSchema>>;

const QUANTITY_PATTERN =
  '^(\\+|-)?(([0-9]+(\\.[0-9]*)?)|(\\.[0-9]+))(([KMGTPE]i)|[numkMGTPE]|([eE](\\+|-)?(([0-9]+(\\.[0-9]*)?)|(\\.[0-9]+))))?$';

export const quantitySchema: StructuralSchema = {
  anyOf: [{ type: 'integer' }, { type: 'string' }],
  pattern: QUANTITY_PATTERN,
  'x-kubernetes-int-or-string': true,
};
export const intOrStringSchema: StructuralSchema = {
  anyOf: [{ type: 'integer' }, { type: 'string' }],
  'x-kubernetes-int-or-string': true,
};
export const openObjectSchema: StructuralSchema = { type: 'object', 'x-kubernetes-preserve-unknown-fields': true };
const templateMetaSchema: StructuralSchema = { ...openObjectSchema, nullable: true };

/** Well-known leaves that a CRD spells differently. */
const LEAVES: Readonly<Record<string, StructuralSchema>> = {
  Quantity: quantitySchema,
  IntOrString: intOrStringSchema,
  RawExtension: openObjectSchema,
  FieldsV1: openObjectSchema,
  ObjectMeta: templateMetaSchema,
  ListMeta: { type: 'object' },
  Time: { type: 'string', format: 'date-time' },
  Duration: { type: 'string' },
};

/** Keywords copied as they are. Enumerations are not: the CRDs of these kinds have only those the constraints name. */
const COPIED = [
  'format',
  'nullable',
  'required',
  'minLength',
  'minItems',
  'x-kubernetes-list-type',
  'x-kubernetes-list-map-keys',
  'x-kubernetes-map-type',
  'x-kubernetes-validations',
] as const;

/** Turns definitions into structural schemas; every definition becomes one shared object. */
export function schemaResolver(definitions: OpenApiDefinitions, constraints: Constraints): (id: string) => StructuralSchema {
  const resolved = new Map<string, StructuralSchema>();

  const resolve = (id: string): StructuralSchema => {
    const short = id.slice(id.lastIndexOf('.') + 1);
    if (id.startsWith('k8s.io.apimachinery') && LEAVES[short] !== undefined) return LEAVES[short];
    const known = resolved.get(id);
    if (known !== undefined) return known;
    const node = definitions[id];
    if (node === undefined) throw new Error(`Schema table has no definition ${id}`);
    const schema = convert(node, id);
    resolved.set(id, schema);
    return schema;
  };

  const convert = (node: OpenApiNode, id: string): StructuralSchema => {
    if (node.$ref !== undefined) return resolve(node.$ref);
    if (node.allOf?.length === 1 && node.allOf[0]) return convert(node.allOf[0], id);
    if (Array.isArray(node.type)) return typeChoice(node.type, node);
    const schema: StructuralSchema = {};
    if (typeof node.type === 'string') schema.type = node.type as NonNullable<StructuralSchema['type']>; // table of OpenAPI types
    for (const keyword of COPIED) if (node[keyword] !== undefined) Object.assign(schema, { [keyword]: node[keyword] });
    if (node.items !== undefined) schema.items = convert(node.items, `${id}[]`);
    if (typeof node.additionalProperties === 'object')
      schema.additionalProperties = convert(node.additionalProperties, `${id}{}`);
    if (node.properties !== undefined) schema.properties = convertFields(node.properties, id);
    return isOpen(schema) ? openObjectSchema : schema;
  };

  const convertFields = (fields: Readonly<Record<string, OpenApiNode>>, id: string): Record<string, StructuralSchema> => {
    const result: Record<string, StructuralSchema> = {};
    for (const name in fields) {
      const field = fields[name];
      if (field === undefined) continue;
      const constraint = constraints[`${id}.${name}`];
      const schema = convert(field, `${id}.${name}`);
      result[name] = constraint === undefined ? schema : { ...schema, ...constraint };
    }
    return result;
  };
  return resolve;
}

/** `metadata: {type: object}` and the like say nothing about their fields. */
function isOpen(schema: StructuralSchema): boolean {
  return schema.type === undefined && Object.keys(schema).length === 0;
}

function typeChoice(types: readonly string[], node: OpenApiNode): StructuralSchema {
  if (!types.includes('null')) return intOrStringSchema;
  const format = typeof node['format'] === 'string' ? { format: node['format'] } : {};
  return { type: 'string', nullable: true, ...format };
}

/** The root of a custom resource: type fields are plain, metadata is left to the API server. */
export function rootSchema(schema: StructuralSchema): StructuralSchema {
  const { apiVersion: _apiVersion, kind: _kind, metadata: _metadata, ...fields } = schema.properties ?? {};
  return {
    ...schema,
    properties: { apiVersion: { type: 'string' }, kind: { type: 'string' }, metadata: { type: 'object' }, ...fields },
  };
}
