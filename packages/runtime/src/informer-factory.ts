import type { KubeObject, ResourceKind } from '@slipway/apimachinery';
import { Informer, type InformerDeps, type InformerOptions } from './informer.ts';
import type { Lister } from './object-cache.ts';

/** Where controllers get their caches: one informer per kind, shared by all. */
export interface Informers {
  for<T extends KubeObject>(kind: ResourceKind<T>): Informer<T>;
  lister<T extends KubeObject>(kind: ResourceKind<T>): Lister<T>;
  /** A cache of metadata alone, for code that handles every kind; shares the full cache of a kind that has one. */
  metadata(kind: ResourceKind<KubeObject>): Informer<KubeObject>;
}

/** Makes each kind's informer when it is first asked for and runs it as soon as the factory is started. */
export class InformerFactory implements Informers {
  private readonly informers = new Map<string, Informer<KubeObject>>();
  private readonly running: Promise<void>[] = [];
  private signal: AbortSignal | undefined;

  private readonly deps: InformerDeps;

  constructor(deps: InformerDeps) {
    this.deps = deps;
  }

  for<T extends KubeObject>(kind: ResourceKind<T>): Informer<T> {
    return this.take(idOf(kind), kind, {});
  }

  metadata(kind: ResourceKind<KubeObject>): Informer<KubeObject> {
    return this.informers.get(idOf(kind)) ?? this.take(`${idOf(kind)}#metadata`, kind, { transform: metadataOf });
  }

  private take<T extends KubeObject>(id: string, kind: ResourceKind<T>, options: InformerOptions<T>): Informer<T> {
    const existing = this.informers.get(id);
    // the map's values differ in their object type, which the kind carries
    if (existing) return existing as unknown as Informer<T>;
    const informer = new Informer(kind, this.deps, options);
    this.informers.set(id, informer as unknown as Informer<KubeObject>);
    if (this.signal) this.running.push(informer.run(this.signal));
    return informer;
  }

  lister<T extends KubeObject>(kind: ResourceKind<T>): Lister<T> {
    return this.for(kind).lister;
  }

  /** Starts all at once, or each when `nextTurn` lets it. */
  start(signal: AbortSignal, nextTurn?: () => Promise<void>): void {
    this.signal = signal;
    for (const informer of this.informers.values())
      this.running.push(nextTurn ? nextTurn().then(() => informer.run(signal)) : informer.run(signal));
  }

  /** Resolves when every informer has ended after an abort. */
  async stopped(): Promise<void> {
    await Promise.all(this.running);
  }

  all(): readonly Informer<KubeObject>[] {
    return [...this.informers.values()];
  }
}

const idOf = (kind: ResourceKind<KubeObject>): string => `${kind.group}/${kind.plural}`;

function metadataOf({ apiVersion, kind, metadata }: KubeObject): KubeObject {
  const { name, namespace, uid, resourceVersion, ownerReferences, finalizers, deletionTimestamp } = metadata;
  return {
    apiVersion,
    kind,
    metadata: {
      ...(name && { name }),
      ...(namespace && { namespace }),
      ...(uid && { uid }),
      ...(resourceVersion && { resourceVersion }),
      ...(ownerReferences && { ownerReferences }),
      ...(finalizers && { finalizers }),
      ...(deletionTimestamp && { deletionTimestamp }),
    },
  };
}

/** A view of a factory that remembers which informers were asked for, so that their user can wait for just those. */
export function trackingInformers(informers: Informers): Informers & { readonly used: ReadonlySet<Informer<KubeObject>> } {
  const used = new Set<Informer<KubeObject>>();
  const take = <T extends KubeObject>(kind: ResourceKind<T>): Informer<T> => {
    const informer = informers.for(kind);
    used.add(informer as unknown as Informer<KubeObject>);
    return informer;
  };
  return { used, for: take, lister: (kind) => take(kind).lister, metadata: (kind) => informers.metadata(kind) };
}
