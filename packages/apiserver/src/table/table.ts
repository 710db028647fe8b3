import { type UnstructuredObject, ageOf } from '@slipway/apimachinery';
import type { PrintedColumn } from '@slipway/runtime';
import type { ResourceDefinition, TableColumn } from '../registry/resource-definition.ts';
import type { StoredObject } from '../watch-cache/stored-object.ts';

export interface TableOptions {
  readonly apiVersion: string;
  /** `None`, `Metadata` or `Object`. */
  readonly includeObject: string;
  readonly nowMs: number;
  readonly resourceVersion: string;
}

const NAME_DESCRIPTION =
  'Name must be unique within a namespace. Is required when creating resources, although some resources may allow a client to request the generation of an appropriate name automatically.';
const AGE_DESCRIPTION =
  'CreationTimestamp is a timestamp representing the server time when this object was created. It is represented in RFC3339 form and is in UTC.';

export const nameColumn: TableColumn = {
  name: 'Name',
  type: 'string',
  format: 'name',
  description: NAME_DESCRIPTION,
  priority: 0,
  cell: (object) => object.metadata.name ?? '',
};

export const ageColumn: TableColumn = {
  name: 'Age',
  type: 'string',
  format: '',
  description: AGE_DESCRIPTION,
  priority: 0,
  cell: (object, nowMs) => ageOf(object.metadata.creationTimestamp, nowMs),
};

/** The name, and what code prints beside it. */
export const printedColumns = (printed: readonly PrintedColumn[]): TableColumn[] => [
  nameColumn,
  ...printed.map(({ name, cell }) => ({ name, type: 'string' as const, format: '', description: '', priority: 0, cell })),
];

/** For resources that declare no columns. */
export const defaultColumns: readonly TableColumn[] = [
  nameColumn,
  { ...ageColumn, name: 'Created At', type: 'date', cell: (object) => object.metadata.creationTimestamp ?? '' },
];

export interface Table {
  readonly kind: 'Table';
  readonly apiVersion: string;
  readonly metadata: Record<string, unknown>;
  readonly columnDefinitions: readonly Omit<TableColumn, 'cell'>[];
  readonly rows: readonly Record<string, unknown>[];
}

/** `meta.k8s.io` Table of the objects, as `kubectl get` prints it. */
export function tableOf(
  definition: Pick<ResourceDefinition, 'columns' | 'rowConditions'>,
  items: readonly Pick<StoredObject, 'object'>[],
  options: TableOptions,
): Table {
  const columns = definition.columns ?? defaultColumns;
  return {
    kind: 'Table',
    apiVersion: options.apiVersion,
    metadata: options.resourceVersion === '' ? {} : { resourceVersion: options.resourceVersion },
    columnDefinitions: columns.map(({ name, type, format, description, priority }) => ({
      name,
      type,
      format,
      description,
      priority,
    })),
    rows: items.map(({ object }) => rowOf(definition, columns, object, options)),
  };
}

function rowOf(
  definition: Pick<ResourceDefinition, 'rowConditions'>,
  columns: readonly TableColumn[],
  object: UnstructuredObject,
  options: TableOptions,
): Record<string, unknown> {
  const conditions = definition.rowConditions?.(object);
  return {
    cells: columns.map((column) => column.cell(object, options.nowMs) ?? null),
    ...(conditions && conditions.length > 0 && { conditions }),
    object: rowObject(object, options),
  };
}

function rowObject(object: UnstructuredObject, { includeObject, apiVersion }: TableOptions): unknown {
  if (includeObject === 'None') return null;
  if (includeObject === 'Object') return object;
  return { kind: 'PartialObjectMetadata', apiVersion, metadata: object.metadata };
}
