import { type CataloguePackage, csvName, findPackage, isOurCsv } from './catalogue.ts';
import type { CatalogSource, OperatorGroup, Subscription } from './kinds.ts';

export interface ResolveFacts {
  readonly source: CatalogSource | undefined;
  readonly groups: readonly OperatorGroup[];
  /** Other Subscriptions of the namespace. */
  readonly others: readonly Subscription[];
  /** Version of the platform. */
  readonly version: string;
}

/** The ClusterServiceVersion that a Subscription leads to, or why it leads to none. */
export type Resolution =
  | { readonly found: CataloguePackage; readonly csv: string }
  | { readonly problem: 'CatalogSourcesUnhealthy' | 'ResolutionFailed'; readonly reason: string; readonly message: string };

const UNSATISFIABLE = 'ConstraintsNotSatisfiable';

/** Decides as OLM's resolver does, from the one catalogue that there is. Pure. */
export function resolve({ metadata, spec, status }: Subscription, { source, groups, others, version }: ResolveFacts): Resolution {
  const { name: subscription = '', namespace = '' } = metadata;
  if (source === undefined) {
    const message = `targeted catalogsource ${spec.sourceNamespace}/${spec.source} missing`;
    return { problem: 'CatalogSourcesUnhealthy', reason: 'UnhealthyCatalogSourceFound', message };
  }
  const failed = (fault: string): Resolution => ({
    problem: 'ResolutionFailed',
    reason: UNSATISFIABLE,
    message: `constraints not satisfiable: ${fault}, subscription ${subscription} exists`,
  });
  const found = findPackage(spec.name);
  const referenced = `in the catalog referenced by subscription ${subscription}`;
  if (found === undefined) return failed(`no operators found in package ${spec.name} ${referenced}`);
  const channel = spec.channel || found.defaultChannel;
  if (!found.channels.includes(channel))
    return failed(`no operators found in channel ${channel} of package ${spec.name} ${referenced}`);
  const csv = csvName(version);
  if (spec.startingCSV && spec.startingCSV !== csv && !isOurCsv(status?.installedCSV))
    return failed(`no operators found with name ${spec.startingCSV} in channel ${channel} of package ${spec.name} ${referenced}`);
  const groupFault = faultOfGroups(groups, namespace);
  if (groupFault !== undefined) return { problem: 'ResolutionFailed', reason: 'ErrorPreventedResolution', message: groupFault };
  // both packages are the same operator
  const rival = others.find((other) => isOurCsv(other.status?.installedCSV));
  if (rival !== undefined)
    return failed(`subscription ${rival.metadata.name} has already installed ${rival.status?.installedCSV ?? csv}`);
  return { found, csv };
}

/** A namespace needs exactly one OperatorGroup. */
function faultOfGroups(groups: readonly OperatorGroup[], namespace: string): string | undefined {
  if (groups.length === 0)
    return `no operator group found that is managing this namespace; create an OperatorGroup in ${namespace}`;
  if (groups.length > 1) return `found ${groups.length} operatorgroups in namespace ${namespace}: expected 1`;
  return undefined;
}

/** How an OperatorGroup lets operators watch: all namespaces, its own, another one, or several. Pure. */
export function installModeOf({ metadata, spec }: OperatorGroup): string {
  const targets = spec?.targetNamespaces ?? [];
  if (targets.length === 0) return 'AllNamespaces';
  if (targets.length > 1) return 'MultiNamespace';
  return targets[0] === metadata.namespace ? 'OwnNamespace' : 'SingleNamespace';
}
