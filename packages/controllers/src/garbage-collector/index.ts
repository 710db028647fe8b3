import type { KubeObject, ResourceKind } from '@slipway/apimachinery';
import { type Client, discoverKinds } from '@slipway/client';
import { type ControllerDeps, type ControllerRegistration, type Informer, type PolicyRule, sleep } from '@slipway/runtime';
import { CollectionReconciler } from './collection-reconciler.ts';
import { OwnershipGraph, ownersOf } from './ownership-graph.ts';

export { planCollection } from './plan-collection.ts';

export type KindSource = (client: Client, signal: AbortSignal) => Promise<readonly ResourceKind<KubeObject>[]>;

const CrdKind: ResourceKind<KubeObject> = {
  group: 'apiextensions.k8s.io',
  version: 'v1',
  kind: 'CustomResourceDefinition',
  plural: 'customresourcedefinitions',
  namespaced: false,
};

/** Kinds come and go with CustomResourceDefinitions; this long after the last change of one, discovery is read again. */
const QUIET_MS = 250;
const RETRY_MS = 2_000;

/** Kinds whose objects can be owned or own: everything that can be watched, except events, of which there are many. */
const collectableKinds: KindSource = async (client, signal) =>
  (await discoverKinds(client, signal)).filter(
    ({ plural, verbs }) => plural !== 'events' && ['list', 'watch', 'delete'].every((verb) => verbs.includes(verb)),
  );

/** Anything can own and be owned. */
const COLLECTOR_RULES: readonly PolicyRule[] = [
  { apiGroups: ['*'], resources: ['*'], verbs: ['get', 'list', 'watch', 'patch', 'update', 'delete'] },
];

/** Deletes objects whose owners are gone, in the background, foreground or not at all as the owner's deletion asked. */
export function garbageCollectorController(kinds: KindSource = collectableKinds): ControllerRegistration {
  return { name: 'generic-garbage-collector', rules: COLLECTOR_RULES, create: (deps) => new Monitors(deps, kinds).controller() };
}

/** Watches the metadata of every kind and keeps the graph of owners. */
class Monitors {
  private readonly deps: ControllerDeps;
  private readonly kinds: KindSource;
  private readonly graph = new OwnershipGraph();
  private readonly monitored = new Map<string, { kind: ResourceKind<KubeObject>; informer: Informer<KubeObject> }>();
  private isReady = false;
  private isStale = true;
  private enqueue: (uid: string) => void = () => {};
  private wake: () => void = () => {};

  constructor(deps: ControllerDeps, kinds: KindSource) {
    this.deps = deps;
    this.kinds = kinds;
  }

  controller() {
    const { client, informers } = this.deps;
    informers.metadata(CrdKind).addHandler(() => {
      this.isStale = true;
      this.wake();
    });
    const kindOf = (group: string, kind: string) => this.monitored.get(`${group}/${kind}`)?.kind;
    return {
      concurrency: 4,
      reconciler: new CollectionReconciler({ client, graph: this.graph, kindOf, enqueue: (uid) => this.enqueue(uid) }),
      isIdle: () => this.isReady,
      run: (queue: { add(key: { namespace: string; name: string }): void }, signal: AbortSignal) => {
        this.enqueue = (uid) => queue.add({ namespace: '', name: uid });
        return this.run(signal);
      },
    };
  }

  private async run(signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      try {
        if (this.isStale) await this.discover(signal);
      } catch (error) {
        if (signal.aborted) return;
        this.isStale = true;
        this.deps.log.warn({ error: String(error) }, 'cannot discover kinds');
        await sleep(this.deps.clock, RETRY_MS, signal).catch(() => {});
        continue;
      }
      await this.changed(signal);
      await sleep(this.deps.clock, QUIET_MS, signal).catch(() => {});
    }
  }

  private async discover(signal: AbortSignal): Promise<void> {
    this.isStale = false;
    const informers: Informer<KubeObject>[] = [];
    for (const kind of await this.kinds(this.deps.client, signal)) {
      const id = `${kind.group}/${kind.kind}`;
      if (this.monitored.has(id)) continue;
      const informer = this.deps.informers.metadata(kind);
      this.monitored.set(id, { kind, informer });
      informer.addHandler((event) => {
        for (const uid of this.graph.apply(kind, event)) if (this.isReady) this.enqueue(uid);
      });
      informers.push(informer);
    }
    await Promise.race([Promise.all(informers.map((informer) => informer.whenSynced())), whenAborted(signal)]);
    if (this.isReady || signal.aborted) return;
    // decisions need the whole graph: an owner that is not in it might just not be loaded
    this.isReady = true;
    for (const uid of this.graph.uids()) {
      const object = this.graph.get(uid)?.object;
      if (object && (ownersOf(object).length > 0 || object.metadata.deletionTimestamp)) this.enqueue(uid);
    }
  }

  private changed(signal: AbortSignal): Promise<void> {
    if (this.isStale || signal.aborted) return Promise.resolve();
    return Promise.race([
      new Promise<void>((resolve) => {
        this.wake = resolve;
      }),
      whenAborted(signal),
    ]);
  }
}

function whenAborted(signal: AbortSignal): Promise<void> {
  if (signal.aborted) return Promise.resolve();
  return new Promise((resolve) => signal.addEventListener('abort', () => resolve(), { once: true }));
}
