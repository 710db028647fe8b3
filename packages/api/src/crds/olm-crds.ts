import olmTable from '../../schemas/olm.json' with { type: 'json' };
import { type CompactDefinitions, type CompactNode, compactExpander } from './compact-schemas.ts';
import { type CrdRow, type CustomResourceDefinition, customResourceDefinition } from './crd-table.ts';
import { rootSchema } from './openapi-schemas.ts';

const operators = { group: 'operators.coreos.com', status: true } as const;

const ROWS: readonly Omit<CrdRow, 'schema'>[] = [
  {
    ...operators,
    kind: 'CatalogSource',
    plural: 'catalogsources',
    versions: 'v1alpha1*',
    shortNames: 'catsrc',
    columns: 'Display=.spec.displayName; Type=.spec.sourceType; Publisher=.spec.publisher; Age',
  },
  {
    ...operators,
    kind: 'Subscription',
    plural: 'subscriptions',
    versions: 'v1alpha1*',
    shortNames: 'sub subs',
    columns: 'Package=.spec.name; Source=.spec.source; Channel=.spec.channel',
  },
  {
    ...operators,
    kind: 'InstallPlan',
    plural: 'installplans',
    versions: 'v1alpha1*',
    shortNames: 'ip',
    columns: 'CSV=.spec.clusterServiceVersionNames[0]; Approval=.spec.approval; Approved:boolean=.spec.approved',
  },
  {
    ...operators,
    kind: 'ClusterServiceVersion',
    plural: 'clusterserviceversions',
    versions: 'v1alpha1*',
    shortNames: 'csv csvs',
    columns: 'Display=.spec.displayName; Version=.spec.version; Replaces=.spec.replaces; Phase=.status.phase',
  },
  { ...operators, kind: 'OperatorGroup', plural: 'operatorgroups', versions: 'v1* v1alpha2', shortNames: 'og', columns: 'Age' },
];

/** The kinds by which Operator Lifecycle Manager installs operators. */
export function olmCustomResourceDefinitions(): CustomResourceDefinition[] {
  // a table of our own in the compact notation
  const table = olmTable as unknown as { definitions: CompactDefinitions; kinds: Readonly<Record<string, CompactNode>> };
  const expand = compactExpander(table.definitions);
  return ROWS.map((row) =>
    customResourceDefinition({ ...row, schema: () => rootSchema(expand(table.kinds[row.kind] ?? 'object')) }),
  );
}
