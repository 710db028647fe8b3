import {
  type StructuralSchema,
  type UnstructuredObject,
  ageOf,
  findAll,
  isObject,
  parseJsonPath,
  parseTime,
} from '@slipway/apimachinery';
import { applyDefaults, dropNulls, prune } from '@slipway/schema';
import type { ResourceDefinition, ResourceVerb, TableColumn } from '../registry/resource-definition.ts';
import { ageColumn, nameColumn } from '../table/table.ts';
import { createHash } from 'node:crypto';
import type { Crd, CrdColumn, CrdVersion } from './crd-types.ts';

const VERBS: readonly ResourceVerb[] = ['delete', 'deletecollection', 'get', 'list', 'patch', 'create', 'update', 'watch'];

/** One definition for each served version. */
export function definitionsOf(crd: Crd): ResourceDefinition[] {
  return crd.spec.versions.filter(({ served }) => served).map((version) => definitionOf(crd, version));
}

function definitionOf(crd: Crd, version: CrdVersion): ResourceDefinition {
  const { group, scope } = crd.spec;
  const names = crd.status?.acceptedNames ?? crd.spec.names;
  const schema = version.schema?.openAPIV3Schema;
  const storageVersion = crd.spec.versions.find(({ storage }) => storage)?.name ?? version.name;
  const status = version.subresources?.status !== undefined;
  const scale = version.subresources?.scale;
  const storageSchema = crd.spec.versions.find(({ storage }) => storage)?.schema?.openAPIV3Schema;
  const readDefaults = readDefaultsOf(storageSchema);
  const toStorage = storageVersion === version.name ? undefined : converterTo(group, storageVersion, storageSchema);
  return {
    group,
    version: version.name,
    kind: names.kind,
    plural: names.plural,
    singular: names.singular ?? names.kind.toLowerCase(),
    listKind: names.listKind ?? `${names.kind}List`,
    shortNames: names.shortNames ?? [],
    categories: names.categories ?? [],
    namespaced: scope === 'Namespaced',
    verbs: VERBS,
    subresources: { ...(status && { status }), ...(scale && { scale }) },
    ...(schema && { schema }),
    custom: true,
    strategy: {
      hasGeneration: true,
      prepareForCreate(object) {
        if (status) delete object['status'];
      },
    },
    columns: columnsOf(version.additionalPrinterColumns),
    storageVersion,
    storageVersionHash: storageHash(group, storageVersion, names.kind),
    ...(readDefaults && { readDefaults }),
    ...(toStorage && { toStorage }),
    ...(version.deprecated && {
      deprecationWarning: version.deprecationWarning ?? `${group}/${version.name} ${names.kind} is deprecated`,
    }),
  };
}

/** A stable name of group, version and kind, as clients compare it. */
export function storageHash(group: string, version: string, kind: string): string {
  return createHash('sha256').update(`${group}/${version}/${kind}`).digest().subarray(0, 8).toString('base64');
}

/** Objects may be older than a default. It is the storage version's schema that counts, whatever version is read. */
function readDefaultsOf(schema: StructuralSchema | undefined): ((object: UnstructuredObject) => UnstructuredObject) | undefined {
  if (schema === undefined || !hasDefaults(schema)) return undefined;
  return (object) => applyDefaults(dropNulls(prune(object, schema, { isRoot: true }).value, schema), schema);
}

/** Conversion changes the version alone; what the storage version does not know is lost. */
function converterTo(
  group: string,
  version: string,
  schema: StructuralSchema | undefined,
): (object: UnstructuredObject) => UnstructuredObject {
  return (object) => {
    const stored = { ...object, apiVersion: `${group}/${version}` };
    return schema === undefined ? stored : applyDefaults(prune(stored, schema, { isRoot: true }).value, schema);
  };
}

function hasDefaults(schema: StructuralSchema): boolean {
  if (schema.default !== undefined) return true;
  const children = [...Object.values(schema.properties ?? {}), schema.items, schema.additionalProperties];
  return children.some((child) => typeof child === 'object' && hasDefaults(child));
}

function columnsOf(columns: readonly CrdColumn[] | undefined): TableColumn[] {
  if (columns === undefined || columns.length === 0) return [nameColumn, { ...ageColumn, type: 'date' }];
  return [nameColumn, ...columns.map(customColumn)];
}

function customColumn({ name, type, format = '', description, priority = 0, jsonPath }: CrdColumn): TableColumn {
  const path = parseJsonPath(jsonPath);
  return {
    name,
    type: type as TableColumn['type'], // validated
    format,
    description: description || `Custom resource definition column (in JSONPath format): ${jsonPath}`,
    priority,
    cell: (object, nowMs) => cellOf(type, findAll(object, path), nowMs),
  };
}

/** The first value, if it is of the column's type. */
function cellOf(type: string, values: readonly unknown[], nowMs: number): unknown {
  const [value] = values;
  if (value === undefined || value === null) return null;
  switch (type) {
    case 'integer':
      return typeof value === 'number' ? Math.trunc(value) : null;
    case 'number':
      return typeof value === 'number' ? value : null;
    case 'boolean':
      return typeof value === 'boolean' ? value : null;
    case 'date':
      return typeof value !== 'string' ? null : parseTime(value) === undefined ? '<invalid>' : ageOf(value, nowMs);
    default:
      return textOf(value);
  }
}

function textOf(value: unknown): string {
  return isObject(value) || Array.isArray(value) ? JSON.stringify(value) : String(value);
}
