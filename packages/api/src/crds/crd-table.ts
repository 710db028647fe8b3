import type { KubeObject, StructuralSchema } from '@slipway/apimachinery';

export interface PrinterColumn {
  name: string;
  type: string;
  jsonPath: string;
  priority?: number;
}

export interface CustomResourceDefinitionVersion {
  name: string;
  served: boolean;
  storage: boolean;
  deprecated?: boolean;
  deprecationWarning?: string;
  schema?: { openAPIV3Schema?: StructuralSchema };
  subresources?: {
    status?: Record<string, never>;
    scale?: { specReplicasPath: string; statusReplicasPath: string; labelSelectorPath?: string };
  };
  additionalPrinterColumns?: PrinterColumn[];
}

/** `apiextensions.k8s.io/v1`. */
export interface CustomResourceDefinition extends KubeObject {
  spec: {
    group: string;
    scope: 'Namespaced' | 'Cluster';
    names: {
      plural: string;
      singular?: string;
      kind: string;
      listKind?: string;
      shortNames?: string[];
      categories?: string[];
    };
    versions: CustomResourceDefinitionVersion[];
    conversion?: { strategy: 'None' | 'Webhook'; webhook?: unknown };
    preserveUnknownFields?: boolean;
  };
  status?: {
    conditions?: Record<string, unknown>[];
    acceptedNames?: Record<string, unknown>;
    storedVersions?: string[];
  };
}

/** One kind, as compactly as the reference tables have it. */
export interface CrdRow {
  readonly kind: string;
  readonly group: string;
  readonly plural: string;
  /** Space separated; a `*` marks the storage version, a `!` a deprecated one. Preferred order. */
  readonly versions: string;
  /** What users of a deprecated version are told; default: that the version is going. */
  readonly deprecationWarning?: string;
  readonly shortNames?: string;
  readonly cluster?: boolean;
  /** Listed by `kubectl get all`. */
  readonly all?: boolean;
  readonly status?: boolean;
  readonly scale?: boolean;
  /** `Name=.json.path`, `Name:date=…`, `Name/1=…` (priority 1), joined by `; `. `Age` alone is the creation time. */
  readonly columns?: string;
  readonly labels?: Record<string, string>;
  readonly annotations?: Record<string, string>;
  readonly schema: (version: string) => StructuralSchema;
}

const SCALE = {
  specReplicasPath: '.spec.replicas',
  statusReplicasPath: '.status.replicas',
  labelSelectorPath: '.status.labelSelector',
};

export function customResourceDefinition(row: CrdRow): CustomResourceDefinition {
  const { kind, group, plural } = row;
  const names = {
    plural,
    singular: kind.toLowerCase(),
    kind,
    listKind: `${kind}List`,
    ...(row.shortNames !== undefined && { shortNames: row.shortNames.split(' ') }),
    ...(row.all === true && { categories: ['all'] }),
  };
  const metadata = {
    name: `${plural}.${group}`,
    ...(row.labels && { labels: row.labels }),
    ...(row.annotations && { annotations: row.annotations }),
  };
  const versions = row.versions.split(' ').map((version) => versionOf(row, version));
  const scope = row.cluster === true ? ('Cluster' as const) : ('Namespaced' as const);
  return {
    apiVersion: 'apiextensions.k8s.io/v1',
    kind: 'CustomResourceDefinition',
    metadata,
    spec: { group, names, scope, versions, conversion: { strategy: 'None' } },
  };
}

function versionOf(row: CrdRow, marked: string): CustomResourceDefinitionVersion {
  const name = marked.replace(/[*!]/g, '');
  const subresources = { ...(row.status && { status: {} }), ...(row.scale && { scale: SCALE }) };
  const deprecationWarning =
    row.deprecationWarning ?? `${row.group}/${name} is now deprecated and will be removed in a future release.`;
  return {
    name,
    served: true,
    storage: marked.includes('*'),
    ...(marked.includes('!') && { deprecated: true, deprecationWarning }),
    schema: { openAPIV3Schema: row.schema(name) },
    ...(Object.keys(subresources).length > 0 && { subresources }),
    ...(row.columns !== undefined && { additionalPrinterColumns: row.columns.split('; ').map(parseColumn) }),
  };
}

function parseColumn(text: string): PrinterColumn {
  if (text === 'Age') return { name: 'Age', type: 'date', jsonPath: '.metadata.creationTimestamp' };
  const [, name = '', type = 'string', priority, jsonPath = ''] = /^([^:/=]+)(?::(\w+))?(?:\/(\d+))?=(.*)$/.exec(text) ?? [];
  return { name, type, jsonPath, ...(priority !== undefined && { priority: Number(priority) }) };
}
