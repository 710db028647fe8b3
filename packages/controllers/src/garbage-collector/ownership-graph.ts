import type { KubeObject, OwnerReference, ResourceKind } from '@slipway/apimachinery';
import type { InformerEvent } from '@slipway/runtime';

export interface GraphNode {
  readonly kind: ResourceKind<KubeObject>;
  readonly object: KubeObject;
}

/** All objects by uid, and who depends on whom. */
export class OwnershipGraph {
  private readonly nodes = new Map<string, GraphNode>();
  private readonly dependents = new Map<string, Set<string>>();

  get(uid: string): GraphNode | undefined {
    return this.nodes.get(uid);
  }

  uids(): readonly string[] {
    return [...this.nodes.keys()];
  }

  dependentsOf(uid: string): readonly GraphNode[] {
    return [...(this.dependents.get(uid) ?? [])].flatMap((dependent) => this.nodes.get(dependent) ?? []);
  }

  /** Takes a change in; returns the uids that it may concern. */
  apply(kind: ResourceKind<KubeObject>, { type, object, old }: InformerEvent<KubeObject>): readonly string[] {
    const { uid = '' } = object.metadata;
    const owners = new Set([...ownersOf(object), ...(old ? ownersOf(old) : [])].map((owner) => owner.uid));
    for (const owner of owners) this.dependents.get(owner)?.delete(uid);
    if (type === 'deleted') {
      this.nodes.delete(uid);
      const waiting = this.dependents.get(uid) ?? new Set();
      if (waiting.size === 0) this.dependents.delete(uid);
      return [...owners, ...waiting];
    }
    this.nodes.set(uid, { kind, object });
    for (const owner of ownersOf(object)) {
      const set = this.dependents.get(owner.uid) ?? new Set();
      this.dependents.set(owner.uid, set.add(uid));
    }
    // nothing is ever done about an object that nobody owns and nobody deletes: most of all there are
    const isConcerned = ownersOf(object).length > 0 || object.metadata.deletionTimestamp !== undefined;
    // an owner that waits for its dependents may have lost its last one by a change of references
    return [...(isConcerned ? [uid] : []), ...(old ? ownersOf(old).map((owner) => owner.uid) : [])];
  }
}

export const ownersOf = ({ metadata }: KubeObject): readonly OwnerReference[] => metadata.ownerReferences ?? [];
