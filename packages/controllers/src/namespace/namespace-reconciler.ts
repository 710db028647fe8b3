import {
  deepEqual,
  formatTime,
  isNotFound,
  type KubeObject,
  type ObjectKey,
  type ResourceKind,
  setCondition,
  StatusError,
} from '@slipway/apimachinery';
import { type Namespace, NamespaceKind } from '@slipway/api';
import type { Client } from '@slipway/client';
import { after, type Clock, done, type Lister, type Reconciler, type Result } from '@slipway/runtime';

export interface NamespaceDeps {
  readonly client: Client;
  readonly clock: Clock;
  readonly namespaces: Lister<Namespace>;
  /** Namespaced kinds that can be listed and deleted. */
  readonly kinds: (signal: AbortSignal) => Promise<readonly ResourceKind<KubeObject>[]>;
}

interface Remaining {
  readonly kind: ResourceKind<KubeObject>;
  readonly objects: readonly KubeObject[];
}

const FINALIZER = 'kubernetes';
const RECHECK_MS = 250;
type Conditions = Parameters<typeof setCondition>[0];

/** Empties namespaces that are being deleted, then lets them go. */
export class NamespaceReconciler implements Reconciler {
  private readonly deps: NamespaceDeps;

  constructor(deps: NamespaceDeps) {
    this.deps = deps;
  }

  async reconcile(key: ObjectKey, signal: AbortSignal): Promise<Result> {
    const namespace = this.deps.namespaces.get(key);
    if (!namespace?.metadata.deletionTimestamp || !namespace.spec?.finalizers?.includes(FINALIZER)) return done;
    const remaining = await this.empty(key.name, signal);
    if (remaining.length > 0) {
      await this.report(namespace, remaining, signal);
      return after(RECHECK_MS);
    }
    const finalizers = namespace.spec.finalizers.filter((finalizer) => finalizer !== FINALIZER);
    const { managedFields: _, ...metadata } = namespace.metadata;
    try {
      await this.deps.client.update(
        NamespaceKind,
        { ...namespace, metadata, spec: { finalizers } },
        { subresource: 'finalize', signal },
      );
    } catch (error) {
      if (!isNotFound(error)) throw error;
    }
    return done;
  }

  /** Deletes everything; returns what is still there. */
  private async empty(namespace: string, signal: AbortSignal): Promise<readonly Remaining[]> {
    const kinds = await this.deps.kinds(signal);
    const found = await Promise.all(kinds.map((kind) => this.emptyKind(kind, namespace, signal)));
    return found.filter(({ objects }) => objects.length > 0);
  }

  private async emptyKind(kind: ResourceKind<KubeObject>, namespace: string, signal: AbortSignal): Promise<Remaining> {
    const { client } = this.deps;
    try {
      const { items } = await client.list(kind, { namespace, signal });
      if (items.length === 0) return { kind, objects: [] };
      if (items.some(({ metadata }) => !metadata.deletionTimestamp)) {
        await client.deleteCollection(kind, { namespace, signal }, { propagationPolicy: 'Background', signal });
      }
      return { kind, objects: (await client.list(kind, { namespace, signal })).items };
    } catch (error) {
      // the kind went away with its definition, or cannot be emptied at once
      if (error instanceof StatusError && (error.code === 404 || error.code === 405)) return { kind, objects: [] };
      throw error;
    }
  }

  private async report(namespace: Namespace, remaining: readonly Remaining[], signal: AbortSignal): Promise<void> {
    const now = formatTime(this.deps.clock.now());
    const counts = remaining.map(({ kind, objects }) => `${resourceName(kind)} has ${objects.length} resource instances`).sort();
    const before = namespace.status?.conditions as Conditions;
    const content = {
      type: 'NamespaceContentRemaining',
      status: 'True',
      reason: 'SomeResourcesRemain',
      message: `Some resources are remaining: ${counts.join(', ')}`,
    } as const;
    const all = [...SUCCESSES, content, finalizersCondition(remaining)];
    const conditions = all.reduce<Conditions>((list, condition) => setCondition(list, condition, now), before);
    if (deepEqual(conditions, before)) return;
    const status = {
      ...namespace.status,
      phase: 'Terminating',
      conditions: conditions as NonNullable<Namespace['status']>['conditions'],
    };
    await this.deps.client.update(NamespaceKind, { ...namespace, status } as Namespace, { subresource: 'status', signal });
  }
}

/** Steps of a deletion that tools look at before they look at what remains. */
const SUCCESSES = [
  {
    type: 'NamespaceDeletionDiscoveryFailure',
    status: 'False',
    reason: 'ResourcesDiscovered',
    message: 'All resources successfully discovered',
  },
  {
    type: 'NamespaceDeletionGroupVersionParsingFailure',
    status: 'False',
    reason: 'ParsedGroupVersions',
    message: 'All legacy kube types successfully parsed',
  },
  {
    type: 'NamespaceDeletionContentFailure',
    status: 'False',
    reason: 'ContentDeleted',
    message: 'All content successfully deleted, may be waiting on finalization',
  },
] as const;

function finalizersCondition(remaining: readonly Remaining[]) {
  const counts = new Map<string, number>();
  for (const { objects } of remaining) {
    for (const { metadata } of objects) {
      for (const finalizer of metadata.finalizers ?? []) counts.set(finalizer, (counts.get(finalizer) ?? 0) + 1);
    }
  }
  const type = 'NamespaceFinalizersRemaining';
  if (counts.size === 0)
    return {
      type,
      status: 'False',
      reason: 'ContentHasNoFinalizers',
      message: 'All content-preserving finalizers finished',
    } as const;
  const texts = [...counts].map(([name, count]) => `${name} in ${count} resource instances`).sort();
  const message = `Some content in the namespace has finalizers remaining: ${texts.join(', ')}`;
  return { type, status: 'True', reason: 'SomeFinalizersRemain', message } as const;
}

const resourceName = ({ plural, group }: ResourceKind<KubeObject>): string =>
  group === '' ? `${plural}.` : `${plural}.${group}`;
