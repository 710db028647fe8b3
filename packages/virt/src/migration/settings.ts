import type { kubevirt } from '@slipway/api';

type Cluster = kubevirt.MigrationConfiguration;
type Policy = kubevirt.MigrationPolicy;

/** Settings of one migration, complete: what the agents on both sides follow. */
export type MigrationSettings = kubevirt.VMIMConfigurationOptions &
  Required<
    Pick<
      Cluster,
      | 'parallelMigrationsPerCluster'
      | 'parallelOutboundMigrationsPerNode'
      | 'bandwidthPerMigration'
      | 'completionTimeoutPerGiB'
      | 'progressTimeout'
      | 'maxDowntimeMs'
      | 'utilityVolumesTimeout'
      | 'allowAutoConverge'
      | 'allowPostCopy'
      | 'allowWorkloadDisruption'
      | 'unsafeMigrationOverride'
      | 'disableTLS'
      | 'nodeDrainTaintKey'
      | 'matchSELinuxLevelOnMigration'
    >
  >;

const DEFAULTS = {
  parallelMigrationsPerCluster: 5,
  parallelOutboundMigrationsPerNode: 2,
  bandwidthPerMigration: '0',
  completionTimeoutPerGiB: 150,
  progressTimeout: 150,
  maxDowntimeMs: 900,
  utilityVolumesTimeout: 150,
  allowAutoConverge: false,
  allowPostCopy: false,
  unsafeMigrationOverride: false,
  disableTLS: false,
  nodeDrainTaintKey: 'kubevirt.io/drain',
  matchSELinuxLevelOnMigration: true,
} as const;

const POLICY_FIELDS = [
  'allowAutoConverge',
  'bandwidthPerMigration',
  'completionTimeoutPerGiB',
  'allowPostCopy',
  'allowWorkloadDisruption',
  'maxDowntimeMs',
  'experimental',
] as const;

function given<T extends object>(object: T): Partial<T> {
  // entries of the object itself, so the type is still right
  return Object.fromEntries(Object.entries(object).filter(([, value]) => value !== undefined && value !== null)) as Partial<T>;
}

/** The cluster's settings with defaults, overridden by what a policy gives. Pure. */
export function migrationSettings(cluster: Cluster = {}, policy?: Policy): MigrationSettings {
  const own = { ...DEFAULTS, ...given(cluster) };
  const base = { ...own, allowWorkloadDisruption: own.allowWorkloadDisruption ?? own.allowPostCopy };
  if (policy === undefined) return base;
  const { spec } = policy;
  const fromPolicy = given(Object.fromEntries(POLICY_FIELDS.map((field) => [field, spec[field]])));
  const follows = spec.allowPostCopy !== undefined && spec.allowWorkloadDisruption === undefined;
  return { ...base, ...fromPolicy, ...(follows && { allowWorkloadDisruption: spec.allowPostCopy ?? false }) };
}

type Labels = Readonly<Record<string, string>>;

interface Match {
  readonly policy: Policy;
  readonly instanceLabels: number;
  readonly labels: number;
}

/** How many labels a selector names when all of them fit; undefined when one does not. */
function fits(selector: Labels | undefined, labels: Labels): number | undefined {
  const entries = Object.entries(selector ?? {});
  return entries.every(([key, value]) => labels[key] === value) ? entries.length : undefined;
}

function matchOf(policy: Policy, instance: Labels, namespace: Labels): Match | undefined {
  // a request may leave out what the published type demands
  const selectors = policy.spec.selectors as kubevirt.Selectors | undefined;
  const { namespaceSelector, virtualMachineInstanceSelector } = selectors ?? {};
  if (!namespaceSelector && !virtualMachineInstanceSelector) return undefined;
  const instanceLabels = fits(virtualMachineInstanceSelector, instance);
  const namespaceLabels = fits(namespaceSelector, namespace);
  if (instanceLabels === undefined || namespaceLabels === undefined) return undefined;
  return { policy, instanceLabels, labels: instanceLabels + namespaceLabels };
}

function precedes(left: Match, right: Match): number {
  const byName = (left.policy.metadata.name ?? '') < (right.policy.metadata.name ?? '') ? -1 : 1;
  return right.labels - left.labels || right.instanceLabels - left.instanceLabels || byName;
}

/**
 * The policy that holds for an instance: of those whose every label fits, the one that names most labels, then most of the
 * instance, then the first by name. A policy without selectors fits nothing. Pure.
 */
export function matchingPolicy(policies: readonly Policy[], instance: Labels, namespace: Labels): Policy | undefined {
  const matches = policies.flatMap((policy) => matchOf(policy, instance, namespace) ?? []);
  return matches.sort(precedes)[0]?.policy;
}
