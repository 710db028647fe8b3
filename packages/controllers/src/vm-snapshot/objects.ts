import type { kubevirt } from '@slipway/api';
import { ignoreNotFound, keyOf, type KubeObject, type ObjectKey, type ResourceKind } from '@slipway/apimachinery';
import type { Client } from '@slipway/client';
import type { Lister } from '@slipway/runtime';

/**
 * Who wants to hear of an object: those that an index finds under its namespace and name, unless they are finished.
 */
export const waitingFor =
  <T extends KubeObject>(lister: Lister<T>, index: string, isFinished: (waiting: T) => boolean) =>
  ({ metadata }: KubeObject): readonly ObjectKey[] =>
    lister
      .byIndex(index, `${metadata.namespace}/${metadata.name}`)
      .filter((waiting) => !isFinished(waiting))
      .map(keyOf);

/** Adds a finalizer; the stored object. */
export async function addFinalizer<T extends KubeObject>(
  client: Client,
  kind: ResourceKind<T>,
  object: T,
  finalizer: string,
  signal: AbortSignal,
): Promise<T> {
  const { finalizers = [], resourceVersion } = object.metadata;
  if (finalizers.includes(finalizer)) return object;
  const patch = { metadata: { resourceVersion, finalizers: [...finalizers, finalizer] } };
  return client.patch(kind, keyOf(object), patch, { type: 'merge', signal });
}

/** Takes a finalizer away, if it is there. */
export async function removeFinalizer<T extends KubeObject>(
  client: Client,
  kind: ResourceKind<T>,
  object: T,
  finalizer: string,
  signal: AbortSignal,
): Promise<void> {
  const { finalizers = [], resourceVersion } = object.metadata;
  if (!finalizers.includes(finalizer)) return;
  const left = finalizers.filter((other) => other !== finalizer);
  const patch = { metadata: { resourceVersion, finalizers: left.length === 0 ? null : left } };
  await client.patch(kind, keyOf(object), patch, { type: 'merge', signal }).catch(ignoreNotFound);
}

type Condition = kubevirt.V1beta1Condition;

/** A condition of the snapshot kinds: what people read is in the reason. */
export const condition = (type: string, status: boolean, reason: string, message?: string): Condition => ({
  type,
  status: status ? 'True' : 'False',
  reason,
  ...(message !== undefined && { message }),
});

/** The conditions with some replaced; times change with the status alone. Pure. */
export function withConditions(
  before: readonly Condition[] | undefined,
  updates: readonly Condition[],
  now: string,
): kubevirt.V1beta1Condition[] {
  const known = new Map((before ?? []).map((item) => [item.type, item]));
  for (const update of updates) {
    const old = known.get(update.type);
    const lastTransitionTime = old?.status === update.status ? (old.lastTransitionTime ?? now) : now;
    known.set(update.type, { ...update, lastTransitionTime });
  }
  return [...known.values()];
}

/** A JSON merge patch that turns one status into another; undefined when they are alike. */
export function statusPatch(before: object | undefined, after: object): object | undefined {
  const patch = difference(before ?? {}, after);
  return patch === undefined ? undefined : { status: patch };
}

const isPlain = (value: unknown): value is Record<string, unknown> =>
  typeof value === 'object' && value !== null && !Array.isArray(value);

function difference(before: unknown, after: unknown): unknown {
  if (!isPlain(before) || !isPlain(after)) return JSON.stringify(before) === JSON.stringify(after) ? undefined : after;
  const entries = [...new Set([...Object.keys(before), ...Object.keys(after)])].flatMap((key): [string, unknown][] => {
    if (after[key] === undefined) return before[key] === undefined ? [] : [[key, null]];
    const change = difference(before[key], after[key]);
    return change === undefined ? [] : [[key, change]];
  });
  return entries.length === 0 ? undefined : Object.fromEntries(entries);
}
