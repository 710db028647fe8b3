import type { KubeObject, ResourceKind } from '@slipway/apimachinery';

export type Fields = Readonly<Record<string, unknown>>;

export interface HelmSource {
  readonly releaseName?: string;
  readonly values?: string;
  readonly valuesObject?: Fields;
  readonly valueFiles?: readonly string[];
  readonly parameters?: readonly { readonly name?: string; readonly value?: string; readonly forceString?: boolean }[];
  readonly fileParameters?: readonly { readonly name?: string; readonly path?: string }[];
  readonly ignoreMissingValueFiles?: boolean;
  readonly passCredentials?: boolean;
  readonly skipCrds?: boolean;
  readonly skipTests?: boolean;
  readonly skipSchemaValidation?: boolean;
  readonly namespace?: string;
  readonly kubeVersion?: string;
  readonly apiVersions?: readonly string[];
}

export interface ApplicationSource {
  readonly repoURL: string;
  readonly path?: string;
  readonly targetRevision?: string;
  readonly chart?: string;
  readonly ref?: string;
  readonly helm?: HelmSource;
  readonly kustomize?: Fields;
  readonly directory?: { readonly recurse?: boolean; readonly include?: string; readonly exclude?: string };
  readonly plugin?: Fields;
}

export interface IgnoreDifference {
  readonly group?: string;
  readonly kind: string;
  readonly name?: string;
  readonly namespace?: string;
  readonly jsonPointers?: readonly string[];
  readonly jqPathExpressions?: readonly string[];
  readonly managedFieldsManagers?: readonly string[];
}

export interface RetryStrategy {
  readonly limit?: number;
  readonly backoff?: { readonly duration?: string; readonly factor?: number; readonly maxDuration?: string };
}

export interface SyncPolicy {
  readonly automated?: {
    readonly enabled?: boolean;
    readonly prune?: boolean;
    readonly selfHeal?: boolean;
    readonly allowEmpty?: boolean;
  };
  readonly syncOptions?: readonly string[];
  readonly retry?: RetryStrategy;
  readonly managedNamespaceMetadata?: { readonly labels?: Record<string, string>; readonly annotations?: Record<string, string> };
}

export interface ApplicationSpec {
  readonly project?: string;
  readonly destination: { readonly server?: string; readonly name?: string; readonly namespace?: string };
  readonly source?: ApplicationSource;
  readonly sources?: readonly ApplicationSource[];
  readonly syncPolicy?: SyncPolicy;
  readonly ignoreDifferences?: readonly IgnoreDifference[];
  readonly revisionHistoryLimit?: number;
}

export type SyncStatusCode = 'Synced' | 'OutOfSync' | 'Unknown';
export type HealthCode = 'Healthy' | 'Suspended' | 'Progressing' | 'Missing' | 'Degraded' | 'Unknown';

export interface Health {
  readonly status: HealthCode;
  readonly message?: string;
}

export interface ResourceStatus {
  readonly group?: string;
  readonly version: string;
  readonly kind: string;
  readonly namespace?: string;
  readonly name: string;
  readonly status?: SyncStatusCode;
  readonly health?: Health;
  readonly hook?: boolean;
  readonly requiresPruning?: boolean;
  readonly syncWave?: number;
}

export interface ResourceResult {
  readonly group: string;
  readonly version: string;
  readonly kind: string;
  readonly namespace: string;
  readonly name: string;
  readonly status?: 'Synced' | 'SyncFailed' | 'Pruned' | 'PruneSkipped';
  readonly message?: string;
  readonly hookType?: string;
  readonly hookPhase?: string;
  readonly syncPhase?: string;
}

export interface Operation {
  readonly sync?: {
    readonly revision?: string;
    readonly revisions?: readonly string[];
    readonly prune?: boolean;
    readonly dryRun?: boolean;
    readonly resources?: readonly {
      readonly group?: string;
      readonly kind: string;
      readonly name: string;
      readonly namespace?: string;
    }[];
    readonly syncStrategy?: Fields;
    readonly syncOptions?: readonly string[];
    readonly source?: ApplicationSource;
    readonly sources?: readonly ApplicationSource[];
  };
  readonly initiatedBy?: { readonly username?: string; readonly automated?: boolean };
  readonly retry?: RetryStrategy;
}

export interface OperationState {
  readonly phase: 'Running' | 'Terminating' | 'Failed' | 'Error' | 'Succeeded';
  readonly message?: string;
  readonly startedAt: string;
  readonly finishedAt?: string;
  readonly retryCount?: number;
  readonly operation: Operation;
  readonly syncResult?: {
    readonly revision?: string;
    readonly revisions?: readonly string[];
    readonly source?: ApplicationSource;
    readonly sources?: readonly ApplicationSource[];
    readonly resources?: readonly ResourceResult[];
  };
}

export interface HistoryEntry {
  readonly id: number;
  readonly revision?: string;
  readonly revisions?: readonly string[];
  readonly deployedAt: string;
  readonly deployStartedAt: string;
  readonly source?: ApplicationSource;
  readonly sources?: readonly ApplicationSource[];
  readonly initiatedBy?: Fields;
}

export interface ApplicationCondition {
  readonly type: string;
  readonly message: string;
  readonly lastTransitionTime?: string;
}

export interface ApplicationStatus {
  readonly sync?: {
    readonly status: SyncStatusCode;
    readonly revision?: string;
    readonly revisions?: readonly string[];
    readonly comparedTo?: Fields;
  };
  readonly health?: Health & { readonly lastTransitionTime?: string };
  readonly resources?: readonly ResourceStatus[];
  readonly operationState?: OperationState;
  readonly history?: readonly HistoryEntry[];
  readonly conditions?: readonly ApplicationCondition[];
  readonly summary?: Fields;
  readonly reconciledAt?: string;
  readonly sourceType?: string;
  readonly sourceTypes?: readonly string[];
  readonly controllerNamespace?: string;
}

/** `argoproj.io/v1alpha1`; it has no status subresource. */
export interface Application extends KubeObject {
  spec: ApplicationSpec;
  operation?: Operation;
  status?: ApplicationStatus;
}

export interface AppProject extends KubeObject {
  spec?: {
    readonly description?: string;
    readonly sourceRepos?: readonly string[];
    readonly destinations?: readonly { readonly server?: string; readonly name?: string; readonly namespace?: string }[];
    readonly clusterResourceWhitelist?: readonly GroupKind[];
    readonly clusterResourceBlacklist?: readonly GroupKind[];
    readonly namespaceResourceWhitelist?: readonly GroupKind[];
    readonly namespaceResourceBlacklist?: readonly GroupKind[];
    readonly syncWindows?: readonly SyncWindow[];
  };
}

/** Times at which applications may, or may not, be synced. */
export interface SyncWindow {
  readonly kind?: string;
  /** As of cron, in `timeZone` or UTC. */
  readonly schedule?: string;
  readonly duration?: string;
  readonly timeZone?: string;
  readonly applications?: readonly string[];
  readonly namespaces?: readonly string[];
  readonly clusters?: readonly string[];
  readonly manualSync?: boolean;
  /** All lists have to fit instead of one. */
  readonly andOperator?: boolean;
}

export interface GroupKind {
  readonly group?: string;
  readonly kind?: string;
  /** Of kinds without namespaces: only objects whose name fits. */
  readonly name?: string;
}

const group = { group: 'argoproj.io', version: 'v1alpha1', namespaced: true };
export const ApplicationKind: ResourceKind<Application> = { ...group, kind: 'Application', plural: 'applications' };
export const AppProjectKind: ResourceKind<AppProject> = { ...group, kind: 'AppProject', plural: 'appprojects' };

/** Applications elsewhere are left alone: whoever may write one there could otherwise deploy anything anywhere. */
export const GITOPS_NAMESPACES: ReadonlySet<string> = new Set(['openshift-gitops', 'argocd']);

export const Annotation = {
  tracking: 'argocd.argoproj.io/tracking-id',
  refresh: 'argocd.argoproj.io/refresh',
  syncOptions: 'argocd.argoproj.io/sync-options',
  compareOptions: 'argocd.argoproj.io/compare-options',
  wave: 'argocd.argoproj.io/sync-wave',
  hook: 'argocd.argoproj.io/hook',
  hookDeletePolicy: 'argocd.argoproj.io/hook-delete-policy',
  ignoreHealth: 'argocd.argoproj.io/ignore-healthcheck',
  skipReconcile: 'argocd.argoproj.io/skip-reconcile',
  lastApplied: 'kubectl.kubernetes.io/last-applied-configuration',
} as const;

export const CASCADE_FINALIZERS: ReadonlySet<string> = new Set([
  'resources-finalizer.argocd.argoproj.io',
  'resources-finalizer.argocd.argoproj.io/foreground',
  'resources-finalizer.argocd.argoproj.io/background',
]);

/** Hooks of a deletion are waited for where the application has these. */
export const DeletionHookFinalizer = {
  PreDelete: 'pre-delete-finalizer.argocd.argoproj.io',
  PostDelete: 'post-delete-finalizer.argocd.argoproj.io',
} as const;

export const DEFAULT_PROJECT = 'default';

/** The sources of an application: the list, or the one. */
export const sourcesOf = ({ source, sources }: ApplicationSpec): readonly ApplicationSource[] =>
  sources !== undefined && sources.length > 0 ? sources : source ? [source] : [];
