import type { StructuralSchema } from '@slipway/apimachinery';
import cdiTable from '../../schemas/cdi.json' with { type: 'json' };
import hppTable from '../../schemas/hpp.json' with { type: 'json' };
import { type CompactDefinitions, type CompactNode, compactExpander } from './compact-schemas.ts';
import type { CustomResourceDefinition, CustomResourceDefinitionVersion, PrinterColumn } from './crd-table.ts';
import { rootSchema } from './openapi-schemas.ts';

interface VersionEntry {
  readonly served: boolean;
  readonly storage: boolean;
  readonly subresources?: { readonly status?: Record<string, never> };
  readonly printerColumns?: readonly PrinterColumn[];
  readonly schema: CompactNode;
}

interface KindEntry {
  readonly group: string;
  readonly scope: 'Namespaced' | 'Cluster';
  readonly names: CustomResourceDefinition['spec']['names'];
  readonly servedBy?: string;
  readonly versions: Readonly<Record<string, VersionEntry>>;
}

interface Table {
  readonly definitions?: CompactDefinitions;
  readonly kinds: Readonly<Record<string, KindEntry>>;
}

/** The storage layer's kinds, aggregated ones excepted. */
export function cdiCustomResourceDefinitions(): CustomResourceDefinition[] {
  // generated tables in the shape the legend describes
  return [cdiTable as unknown as Table, hppTable as unknown as Table].flatMap(definitionsOf);
}

function definitionsOf(table: Table): CustomResourceDefinition[] {
  const expand = compactExpander(table.definitions ?? {});
  return Object.values(table.kinds)
    .filter((entry) => entry.servedBy === undefined)
    .map((entry) => crdOf(entry, expand));
}

function crdOf(entry: KindEntry, expand: (node: CompactNode) => StructuralSchema): CustomResourceDefinition {
  const { group, scope, names } = entry;
  // preferred first
  const versions = Object.entries(entry.versions).sort(([, a], [, b]) => Number(b.storage) - Number(a.storage));
  return {
    apiVersion: 'apiextensions.k8s.io/v1',
    kind: 'CustomResourceDefinition',
    metadata: { name: `${names.plural}.${group}`, labels: { 'operator.cdi.kubevirt.io': '' } },
    spec: {
      group,
      scope,
      names,
      versions: versions.map(([name, version]) => versionOf(name, version, expand)),
      conversion: { strategy: 'None' },
    },
  };
}

function versionOf(
  name: string,
  { served, storage, subresources, printerColumns, schema }: VersionEntry,
  expand: (node: CompactNode) => StructuralSchema,
): CustomResourceDefinitionVersion {
  return {
    name,
    served,
    storage,
    schema: { openAPIV3Schema: rootSchema(expand(schema)) },
    ...(subresources !== undefined && { subresources }),
    ...(printerColumns !== undefined && { additionalPrinterColumns: [...printerColumns] }),
  };
}
