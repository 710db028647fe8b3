import { createHash } from 'node:crypto';
import {
  type StructuralSchema,
  type UnstructuredObject,
  ageOf,
  findAll,
  isObject,
  parseJsonPath,
  parseTime,
} from '@slipway/apimachinery';
import type { PrintedColumn } from '@slipway/runtime';
import { applyDefaults, dropNulls, prune } from '@slipway/schema';
import type { ResourceDefinition, ResourceVerb, TableColumn } from '../registry/resource-definition.ts';
import { ageColumn, nameColumn, printedColumns } from '../table/table.ts';
import type { Convert } from './conversion-webhook.ts';
import type { Crd, CrdColumn, CrdVersion } from './crd-types.ts';

const VERBS: readonly ResourceVerb[] = ['delete', 'deletecollection', 'get', 'list', 'patch', 'create', 'update', 'watch'];

/** Moves the fields of an object of the platform into the layout of another version; `object` stays as it is. */
export type FieldConverter = (object: UnstructuredObject, version: string) => UnstructuredObject;

/** Who converts objects between versions; without anybody, the version alone changes. */
export interface Converters {
  /** The webhook that the CRD names. */
  readonly webhook?: Convert | undefined;
  /** Code of the platform, for its own kinds. */
  readonly fields?: FieldConverter | undefined;
}

/** One definition for each served version; `printed` are the columns of one that declares none. */
export function definitionsOf(
  crd: Crd,
  converters: Converters = {},
  printed: readonly PrintedColumn[] = [],
): ResourceDefinition[] {
  return crd.spec.versions.filter(({ served }) => served).map((version) => definitionOf(crd, version, converters, printed));
}

function definitionOf(
  crd: Crd,
  version: CrdVersion,
  converters: Converters,
  printed: readonly PrintedColumn[],
): ResourceDefinition {
  const { group } = crd.spec;
  const schema = version.schema?.openAPIV3Schema;
  const status = version.subresources?.status !== undefined;
  const scale = version.subresources?.scale;
  return {
    ...namesOf(crd),
    group,
    version: version.name,
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
    columns: columnsOf(version, printed),
    ...storageOfVersion(crd, version, converters),
    ...(version.deprecated && {
      deprecationWarning: version.deprecationWarning ?? `${group}/${version.name} ${crd.spec.names.kind} is deprecated`,
    }),
  };
}

type Names = Pick<ResourceDefinition, 'kind' | 'plural' | 'singular' | 'listKind' | 'shortNames' | 'categories' | 'namespaced'>;

function namesOf({ spec, status }: Crd): Names {
  const { kind, plural, singular, listKind, shortNames = [], categories = [] } = status?.acceptedNames ?? spec.names;
  return {
    kind,
    plural,
    singular: singular ?? kind.toLowerCase(),
    listKind: listKind ?? `${kind}List`,
    shortNames,
    categories,
    namespaced: spec.scope === 'Namespaced',
  };
}

/** How objects of a version are kept, and read back. */
function storageOfVersion(
  { spec }: Crd,
  { name, schema }: CrdVersion,
  { webhook: convert, fields }: Converters,
): Partial<ResourceDefinition> {
  const storage = spec.versions.find((version) => version.storage);
  const storageVersion = storage?.name ?? name;
  const storageSchema = storage?.schema?.openAPIV3Schema;
  const isStored = storageVersion === name;
  const hasOwnLayout = !isStored && (convert !== undefined || fields !== undefined);
  const readDefaults = readDefaultsOf(hasOwnLayout ? schema?.openAPIV3Schema : storageSchema);
  return {
    storageVersion,
    storageVersionHash: storageHash(spec.group, storageVersion, spec.names.kind),
    ...(readDefaults && { readDefaults }),
    ...(convert && !isStored && { convert }),
    ...(fields && { fromStorage: (object: UnstructuredObject) => fields(object, name) }),
    ...(convert === undefined && !isStored && { toStorage: converterTo(spec.group, storageVersion, storageSchema, fields) }),
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

/** Conversion changes the version alone, unless there is code for the fields; what the storage version does not know is lost. */
function converterTo(
  group: string,
  version: string,
  schema: StructuralSchema | undefined,
  fields: FieldConverter | undefined,
): (object: UnstructuredObject) => UnstructuredObject {
  return (object) => {
    const stored = { ...(fields?.(object, version) ?? object), apiVersion: `${group}/${version}` };
    return schema === undefined ? stored : applyDefaults(prune(stored, schema, { isRoot: true }).value, schema);
  };
}

function hasDefaults(schema: StructuralSchema): boolean {
  if (schema.default !== undefined) return true;
  const children = [...Object.values(schema.properties ?? {}), schema.items, schema.additionalProperties];
  return children.some((child) => typeof child === 'object' && hasDefaults(child));
}

function columnsOf({ additionalPrinterColumns = [] }: CrdVersion, printed: readonly PrintedColumn[]): TableColumn[] {
  if (additionalPrinterColumns.length > 0) return [nameColumn, ...additionalPrinterColumns.map(customColumn)];
  if (printed.length > 0) return printedColumns(printed);
  return [nameColumn, { ...ageColumn, type: 'date' }];
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
