import { type StructuralSchema, type UnstructuredObject, ageOf } from '@slipway/apimachinery';
import type {
  ResourceDefinition,
  ResourceStrategy,
  ResourceVerb,
  SubresourceDefinition,
  TableColumn,
} from '../registry/resource-definition.ts';
import { BUILT_IN_VERBS } from '../registry/simple-definition.ts';
import { normalizeBuiltin } from './normalize.ts';

type Cell = TableColumn['cell'];

/** One table column of a built-in kind. */
export function column(name: string, cell: Cell, options: { type?: TableColumn['type']; wide?: boolean } = {}): TableColumn {
  return { name, type: options.type ?? 'string', format: '', description: '', priority: options.wide ? 1 : 0, cell };
}

export const nameColumn: TableColumn = {
  ...column('Name', (object) => object.metadata.name ?? ''),
  format: 'name',
};
export const ageColumn: TableColumn = column('Age', (object, nowMs) => ageOf(object.metadata.creationTimestamp, nowMs));

/** How a kind is described; what is left out takes the usual value. */
export interface BuiltinKind {
  readonly group?: string;
  readonly version?: string;
  readonly kind: string;
  readonly plural: string;
  /** Name in the table of built-in schemas, for example `core.v1.Pod`. */
  readonly definition: string;
  readonly shortNames?: readonly string[];
  readonly categories?: readonly string[];
  readonly cluster?: boolean;
  readonly status?: boolean;
  readonly scale?: boolean;
  readonly custom?: readonly SubresourceDefinition[];
  readonly verbs?: readonly ResourceVerb[];
  readonly strategy?: ResourceStrategy;
  readonly columns?: readonly TableColumn[];
  readonly rowConditions?: ResourceDefinition['rowConditions'];
  readonly selectableFields?: (object: UnstructuredObject) => Readonly<Record<string, string>>;
  readonly errorGroup?: string;
  readonly storage?: ResourceDefinition['storage'];
  /** Version of the stored objects, where there are several that differ in nothing else. */
  readonly storageVersion?: string;
  readonly fromStorage?: ResourceDefinition['fromStorage'];
  readonly toStorage?: ResourceDefinition['toStorage'];
}

export type SchemaLookup = (definition: string) => StructuralSchema;

/** Without the members that are undefined. */
function present<T extends object>(members: T): { [K in keyof T]?: Exclude<T[K], undefined> } {
  const entries = Object.entries(members).filter(([, value]) => value !== undefined);
  return Object.fromEntries(entries) as { [K in keyof T]?: Exclude<T[K], undefined> }; // filtered above
}

/** The declaration of a built-in kind. Clean-up of the wire form runs before the kind's own defaults. */
export function define(kind: BuiltinKind, schemas: SchemaLookup): ResourceDefinition {
  const { group = '', version = 'v1', strategy = {}, selectableFields } = kind;
  const schema = schemas(kind.definition);
  const empty: UnstructuredObject = { apiVersion: '', kind: '', metadata: {} };
  return {
    group,
    version,
    kind: kind.kind,
    plural: kind.plural,
    singular: '',
    listKind: `${kind.kind}List`,
    shortNames: kind.shortNames ?? [],
    categories: kind.categories ?? [],
    namespaced: kind.cluster !== true,
    verbs: kind.verbs ?? BUILT_IN_VERBS,
    subresources: {
      ...(kind.status && { status: true }),
      ...(kind.scale && { scale: true as const }),
      ...(kind.custom && { custom: kind.custom }),
    },
    schema,
    custom: false,
    strategy: {
      allowUnconditionalUpdate: true,
      ...strategy,
      default(object) {
        normalizeBuiltin(object, schema);
        strategy.default?.(object);
      },
    },
    ...present({
      columns: kind.columns,
      rowConditions: kind.rowConditions,
      selectableFields,
      selectableFieldNames: selectableFields && Object.keys(selectableFields(empty)),
      errorGroup: kind.errorGroup,
      storage: kind.storage,
      storageVersion: kind.storageVersion,
      fromStorage: kind.fromStorage,
      toStorage: kind.toStorage,
    }),
  };
}

/** The object as its published type: the registry calls a strategy with objects of its own kind only. */
export function typed<T>(object: UnstructuredObject): T {
  return object as unknown as T;
}
