import {
  apiVersionOf,
  controllerOf,
  controllerReference,
  isNotFound,
  type KubeObject,
  keyOf,
  type LabelSelector,
  type LabelSelectorObject,
  matchesLabels,
  type ResourceKind,
  selectorOf,
} from '@slipway/apimachinery';
import type { Client } from '@slipway/client';

/** The selector of a workload. Published types of label selectors differ from ours in optionality only. */
export const selectorOfWorkload = (spec: { readonly selector?: object } | undefined): LabelSelector | undefined =>
  selectorOf(spec?.selector as LabelSelectorObject | undefined);

interface Claim<T extends KubeObject, O extends KubeObject> {
  readonly kind: ResourceKind<T>;
  readonly owner: O;
  readonly ownerKind: ResourceKind<O>;
  readonly selector: LabelSelector;
  /** Objects of the owner's namespace. */
  readonly candidates: readonly T[];
}

/**
 * The objects that belong to a workload: its own whose labels still match, and those without a controller that match,
 * which it adopts. Its own that do not match any more are let go.
 */
export async function claimObjects<T extends KubeObject, O extends KubeObject>(
  client: Client,
  claim: Claim<T, O>,
  signal: AbortSignal,
): Promise<readonly T[]> {
  const { owner, selector, candidates } = claim;
  const isLeaving = Boolean(owner.metadata.deletionTimestamp);
  const mine: T[] = [];
  for (const object of candidates) {
    const controller = controllerOf(object);
    const isMatch = matchesLabels(selector, object.metadata.labels);
    if (controller?.uid === owner.metadata.uid) {
      if (isMatch) mine.push(object);
      else if (!isLeaving) await release(client, claim, object, signal);
    } else if (controller === undefined && isMatch && !isLeaving && !object.metadata.deletionTimestamp) {
      const adopted = await adopt(client, claim, object, signal);
      if (adopted) mine.push(adopted);
    }
  }
  return mine;
}

async function release<T extends KubeObject, O extends KubeObject>(
  client: Client,
  { kind, owner }: Claim<T, O>,
  object: T,
  signal: AbortSignal,
): Promise<void> {
  const ownerReferences = (object.metadata.ownerReferences ?? []).filter(({ uid }) => uid !== owner.metadata.uid);
  await patchOwners(client, kind, object, ownerReferences, signal);
}

async function adopt<T extends KubeObject, O extends KubeObject>(
  client: Client,
  { kind, owner, ownerKind }: Claim<T, O>,
  object: T,
  signal: AbortSignal,
): Promise<T | undefined> {
  try {
    // the cache may not know yet that the owner is gone, and what it adopts would go with it
    const fresh = await client.get(ownerKind, keyOf(owner), { signal });
    if (fresh.metadata.uid !== owner.metadata.uid || fresh.metadata.deletionTimestamp) return undefined;
  } catch (error) {
    if (isNotFound(error)) return undefined;
    throw error;
  }
  const others = object.metadata.ownerReferences ?? [];
  return patchOwners(client, kind, object, [...others, controllerReference(owner, ownerKind)], signal);
}

async function patchOwners<T extends KubeObject>(
  client: Client,
  kind: ResourceKind<T>,
  object: T,
  ownerReferences: object[],
  signal: AbortSignal,
): Promise<T | undefined> {
  const { uid, resourceVersion } = object.metadata;
  try {
    const patch = { metadata: { uid, resourceVersion, ownerReferences } };
    return await client.patch(kind, keyOf(object), patch, { type: 'merge', signal });
  } catch (error) {
    if (isNotFound(error)) return undefined;
    throw error;
  }
}

/** True when the object's controller is of this kind. */
export function isControlledByKind(object: KubeObject, kind: ResourceKind<KubeObject>): boolean {
  const owner = controllerOf(object);
  return owner?.kind === kind.kind && owner.apiVersion === apiVersionOf(kind);
}
