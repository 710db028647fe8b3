import {
  assertNever,
  isConflict,
  isNotFound,
  keyOf,
  type KubeObject,
  type ObjectKey,
  type OwnerReference,
  type ResourceKind,
} from '@slipway/apimachinery';
import type { Client } from '@slipway/client';
import { done, groupOf, type Reconciler, type Result } from '@slipway/runtime';
import { type GraphNode, type OwnershipGraph, ownersOf } from './ownership-graph.ts';
import { isLeaving, type OwnerState, planCollection } from './plan-collection.ts';

export interface CollectionDeps {
  readonly client: Client;
  readonly graph: OwnershipGraph;
  readonly kindOf: (group: string, kind: string) => ResourceKind<KubeObject> | undefined;
  readonly enqueue: (uid: string) => void;
}

/** Removes what its owners left behind. Keys are uids. */
export class CollectionReconciler implements Reconciler {
  private readonly deps: CollectionDeps;

  constructor(deps: CollectionDeps) {
    this.deps = deps;
  }

  async reconcile({ name: uid }: ObjectKey, signal: AbortSignal): Promise<Result> {
    const node = this.deps.graph.get(uid);
    if (node === undefined) return done;
    try {
      await this.collect(node, uid, signal);
    } catch (error) {
      // gone meanwhile, or changed: the watch brings its new state
      if (!isNotFound(error) && !isConflict(error)) throw error;
    }
    return done;
  }

  private async collect(node: GraphNode, uid: string, signal: AbortSignal): Promise<void> {
    const { client, graph } = this.deps;
    const dependents = graph.dependentsOf(uid);
    const owners = await Promise.all(ownersOf(node.object).map((reference) => this.stateOf(reference, node, signal)));
    const plan = planCollection(node.object, owners, dependents);
    switch (plan.action) {
      case 'none':
        break;
      case 'delete':
        await client.delete(node.kind, keyOf(node.object), {
          propagationPolicy: plan.propagationPolicy,
          preconditions: { uid },
          signal,
        });
        break;
      case 'drop-owners':
        await this.patch(node, { ownerReferences: plan.keep }, signal);
        break;
      case 'drop-finalizer': {
        const finalizers = (node.object.metadata.finalizers ?? []).filter((finalizer) => finalizer !== plan.finalizer);
        await this.patch(node, { finalizers }, signal);
        break;
      }
      case 'orphan-dependents':
        for (const dependent of dependents) await this.disown(dependent, uid, signal);
        break;
      case 'check-dependents':
        for (const { object } of dependents) this.deps.enqueue(object.metadata.uid ?? '');
        break;
      default:
        assertNever(plan);
    }
  }

  /** Asks the server before an owner counts as absent: its kind's watch may be behind that of the dependent. */
  private async stateOf(reference: OwnerReference, { object }: GraphNode, signal: AbortSignal): Promise<OwnerState> {
    const known = this.deps.graph.get(reference.uid);
    if (known) {
      const isElsewhere = known.kind.namespaced && known.object.metadata.namespace !== object.metadata.namespace;
      return { reference, state: isElsewhere ? 'absent' : isLeaving(known.object) ? 'leaving' : 'present' };
    }
    const kind = this.deps.kindOf(groupOf(reference.apiVersion), reference.kind);
    // a kind that is not served (yet) proves nothing
    if (kind === undefined) return { reference, state: 'present' };
    const namespace = kind.namespaced ? (object.metadata.namespace ?? '') : '';
    if (kind.namespaced && namespace === '') return { reference, state: 'present' };
    try {
      const owner = await this.deps.client.get(kind, { namespace, name: reference.name }, { signal });
      if (owner.metadata.uid !== reference.uid) return { reference, state: 'absent' };
      return { reference, state: isLeaving(owner) ? 'leaving' : 'present' };
    } catch (error) {
      if (isNotFound(error)) return { reference, state: 'absent' };
      throw error;
    }
  }

  private async disown(dependent: GraphNode, uid: string, signal: AbortSignal): Promise<void> {
    const keep = ownersOf(dependent.object).filter((owner) => owner.uid !== uid);
    try {
      await this.patch(dependent, { ownerReferences: keep }, signal);
    } catch (error) {
      if (!isNotFound(error)) throw error;
    }
  }

  /** The resourceVersion makes it fail when the decision was made on an older state. */
  private async patch({ kind, object }: GraphNode, metadata: object, signal: AbortSignal): Promise<void> {
    const { uid, resourceVersion } = object.metadata;
    const patch = { metadata: { ...metadata, uid, resourceVersion } };
    await this.deps.client.patch(kind, keyOf(object), patch, { type: 'merge', signal });
  }
}
