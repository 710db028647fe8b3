import type { FieldError, StructuralSchema, UnstructuredObject } from '@slipway/apimachinery';
import type { UserInfo } from '@slipway/runtime';

/** Verbs a resource can serve; discovery lists exactly these. */
export type ResourceVerb = 'create' | 'delete' | 'deletecollection' | 'get' | 'list' | 'patch' | 'update' | 'watch';

/** Thrown by a strategy's `default` for a value of a type that its field cannot hold; the message says which. */
export class WrongType extends Error {}

/** What a strategy may know about the request it serves. */
export interface StrategyContext {
  readonly user: UserInfo;
  /** Whole seconds, UTC (`2026-01-02T03:04:05Z`). */
  readonly now: string;
  /** Empty for cluster-scoped resources. */
  readonly namespace: string;
  readonly dryRun: boolean;
  /** `''` for the main resource, else `status`, `ephemeralcontainers` … */
  readonly subresource: string;
  /** Reads another stored object (frozen), for example the StorageClass a claim names. */
  lookup(group: string, plural: string, namespace: string, name: string): UnstructuredObject | undefined;
  /** All stored objects of a resource, of one namespace when given (frozen). */
  lookupAll(group: string, plural: string, namespace?: string): readonly UnstructuredObject[];
  /** Adds a `Warning` header to the answer. */
  warn(text: string): void;
}

/** How deletion of one object goes on after the preconditions hold. */
export interface DeletionDecision {
  /** 0: at once (finalizers permitting); more: the object stays, with this grace period, until it is deleted with 0. */
  readonly gracePeriodSeconds: number;
}

/**
 * What is special about a kind. `obj`/`next` are private mutable copies, `old` is frozen. Order on create:
 * default → prepareForCreate → (admission) → schema validation → validate.
 */
export interface ResourceStrategy {
  /** Fills defaults in place; also run on objects read from the store when `defaultOnRead` is set. */
  default?(obj: UnstructuredObject): void;
  /** Drops what clients may not set (status), fills what the server sets. */
  prepareForCreate?(obj: UnstructuredObject, ctx: StrategyContext): void;
  prepareForUpdate?(next: UnstructuredObject, old: UnstructuredObject, ctx: StrategyContext): void;
  /** Status writes: the default keeps everything but `status` (and managedFields) from `old`. */
  prepareForStatusUpdate?(next: UnstructuredObject, old: UnstructuredObject, ctx: StrategyContext): void;
  /** Findings beyond metadata and schema. */
  validate?(obj: UnstructuredObject, ctx: StrategyContext): FieldError[];
  /** Called after `validate` on updates: immutable fields and the like. */
  validateUpdate?(next: UnstructuredObject, old: UnstructuredObject, ctx: StrategyContext): FieldError[];
  validateStatusUpdate?(next: UnstructuredObject, old: UnstructuredObject, ctx: StrategyContext): FieldError[];
  /** Warnings for the client about a valid object. */
  warnings?(obj: UnstructuredObject, old: UnstructuredObject | undefined): string[];
  /** Checks `metadata.name`; default DNS-1123 subdomain. */
  validateName?(name: string, prefix: boolean): string[];
  /** PUT to a missing name creates. */
  allowCreateOnUpdate?: boolean;
  /** PUT without resourceVersion overwrites. */
  allowUnconditionalUpdate?: boolean;
  /** The object carries `metadata.generation` = 1 on create. */
  hasGeneration?: boolean;
  /** True when an update must raise `metadata.generation`; default: anything outside metadata and status changed. */
  generationBumps?(next: UnstructuredObject, old: UnstructuredObject): boolean;
  /** Absent: grace is always 0. `requested` comes from DeleteOptions. */
  graceful?(obj: UnstructuredObject, requested: number | undefined): DeletionDecision;
  /** A finished DELETE answers the object instead of a Status. */
  deleteReturnsObject?: boolean;
  /** `orphan` when the kind's default propagation is Orphan (none of the served versions today). */
  defaultPropagation?: 'Background' | 'Orphan';
  /** Refuses deletion by throwing a StatusError (protected namespaces). */
  checkDelete?(obj: UnstructuredObject, ctx: StrategyContext): void;
  /** Finalizers-like field outside metadata: spec.finalizers of Namespaces must be empty before removal. */
  isRemovable?(obj: UnstructuredObject): boolean;
  /** The first DELETE only marks the object, whatever holds it; another one, or the last finalizer's removal, takes it away. */
  deletesInTwoSteps?: boolean;
  /** Changes the object when deletion is requested but it stays (Namespace phase Terminating). */
  onDeletionRequested?(obj: UnstructuredObject): void;
  /** Cleans up or reacts after a durable write; runs in the server, must not throw. */
  afterWrite?(event: { readonly type: 'ADDED' | 'MODIFIED' | 'DELETED'; readonly object: UnstructuredObject }): void;
  /** What reads return (secrets of write-only fields); default the stored object itself. */
  decorate?(obj: UnstructuredObject): UnstructuredObject;
}

export interface TableColumn {
  readonly name: string;
  readonly type: 'string' | 'integer' | 'number' | 'boolean' | 'date';
  readonly format: string;
  readonly description: string;
  /** 0: always shown; 1: with `-o wide`. */
  readonly priority: number;
  /** Value of the cell; times are rendered as ages by the caller when `type` is date and the value a timestamp. */
  readonly cell: (object: UnstructuredObject, nowMs: number) => unknown;
}

/** Paths of a custom resource's scale subresource, as in the CRD. */
export interface ScalePaths {
  readonly specReplicasPath: string;
  readonly statusReplicasPath: string;
  readonly labelSelectorPath?: string;
}

/** An entry of discovery that belongs to a resource (`pods/log`); the generic ones need no more than their name. */
export interface SubresourceDefinition {
  readonly name: string;
  /** Discovery: kind, and group/version when they differ from the resource's. */
  readonly kind: string;
  readonly group?: string;
  readonly version?: string;
  readonly verbs: readonly ResourceVerb[];
}

export interface ResourceDefinition {
  /** Empty string for the core group. */
  readonly group: string;
  readonly version: string;
  readonly kind: string;
  readonly plural: string;
  /** Empty for built-in kinds in 1.26 discovery. */
  readonly singular: string;
  readonly listKind: string;
  readonly shortNames: readonly string[];
  readonly categories: readonly string[];
  readonly namespaced: boolean;
  /** In discovery order: built-ins alphabetical. */
  readonly verbs: readonly ResourceVerb[];
  readonly subresources: {
    readonly status?: boolean;
    /** `true`: `spec.replicas`/`status.replicas`/`spec.selector` as the apps kinds have them. */
    readonly scale?: true | ScalePaths;
    readonly custom?: readonly SubresourceDefinition[];
  };
  readonly schema?: StructuralSchema;
  /** Custom resources: pruned and validated strictly by `schema`; built-ins: unknown fields dropped the same way. */
  readonly custom: boolean;
  readonly strategy: ResourceStrategy;
  /** `Name` first; absent: Name and Age. */
  readonly columns?: readonly TableColumn[];
  /** Row conditions of a Table (finished Pods: Completed). */
  readonly rowConditions?: (object: UnstructuredObject) => readonly Record<string, unknown>[] | undefined;
  /** Field selector values beyond metadata.name and metadata.namespace; the keys returned are the supported ones. */
  readonly selectableFields?: (object: UnstructuredObject) => Readonly<Record<string, string>>;
  /** Names of the fields above, needed to refuse others. */
  readonly selectableFieldNames?: readonly string[];
  readonly storageVersionHash?: string;
  /** Group/version/resource whose stored objects this one shows (events.k8s.io Events are core Events). Default itself. */
  readonly storage?: { readonly group: string; readonly plural: string };
  /** Version objects are stored as; others convert by changing apiVersion or with these functions. */
  readonly storageVersion?: string;
  /** From the stored form to this version's; absent: only apiVersion changes. Gets a private copy. */
  readonly fromStorage?: (object: UnstructuredObject) => UnstructuredObject;
  readonly toStorage?: (object: UnstructuredObject) => UnstructuredObject;
  /** Converts between this version and the stored one where only a webhook knows how. */
  readonly convert?: (objects: readonly UnstructuredObject[], apiVersion: string) => Promise<UnstructuredObject[]>;
  /** Fills today's defaults into objects read from the store; absent when the schema has none. Gets a private copy. */
  readonly readDefaults?: (object: UnstructuredObject) => UnstructuredObject;
  /** Group named in validation errors when it is another one (Ingress: `extensions`). */
  readonly errorGroup?: string;
  /** Answers `Warning` for every request when set. */
  readonly deprecationWarning?: string;
  /** Not stored: create computes the answer (SubjectAccessReview …). The API server supplies these itself. */
  readonly virtual?: boolean;
}

/** An empty strategy, for kinds without special rules. */
export const plainStrategy: ResourceStrategy = { allowUnconditionalUpdate: true };
