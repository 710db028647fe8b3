import { deepEqual, isNotFound, isObject, type JsonObject, type KubeObject, type ResourceKind } from '@slipway/apimachinery';
import { type Client, discoverKinds } from '@slipway/client';
import { annotationsOf } from '@slipway/helm';
import { Annotation, type Application, type IgnoreDifference, type ResourceStatus } from '../kinds.ts';
import { cleanTarget, comparable, groupOf, versionOf, withoutIgnored } from './normalize.ts';
import { mergePatch, predict } from './three-way.ts';

/** A manifest of the source next to what is there. */
export interface Compared {
  readonly kind: ResourceKind<KubeObject>;
  readonly namespace: string;
  readonly name: string;
  /** Absent: tracked by the application, but no longer in its source. */
  readonly target?: JsonObject;
  readonly live?: KubeObject;
  /** What the live object lacks; absent when it is as it should be, or is not there. */
  readonly patch?: JsonObject;
}

export interface CompareInput {
  readonly app: Application;
  readonly objects: readonly KubeObject[];
  readonly destinationNamespace: string;
}

/** A manifest whose kind the server does not have. */
export class UnknownKind extends Error {}

/** Kinds of the server by `group/Kind`; asked again when one is missing, at most every ten seconds. */
export function kindFinder(
  client: Client,
  now: () => number,
): (apiVersion: string, kind: string, signal: AbortSignal) => Promise<ResourceKind<KubeObject>> {
  let known = new Map<string, ResourceKind<KubeObject>>();
  let askedAt = Number.NEGATIVE_INFINITY;
  return async (apiVersion, kind, signal) => {
    const key = `${groupOf(apiVersion)}/${kind}`;
    if (!known.has(key) && now() - askedAt > 10_000) {
      const kinds = await discoverKinds(client, signal);
      known = new Map(kinds.map((found) => [`${found.group}/${found.kind}`, found]));
      askedAt = now();
    }
    const found = known.get(key);
    if (found === undefined)
      throw new UnknownKind(
        `The Kubernetes API could not find ${apiVersion}/${kind} for requested resource. Make sure the "${kind}" CRD is installed on the destination cluster.`,
      );
    return { ...found, version: versionOf(apiVersion) };
  };
}

export const trackingId = (app: string, kind: ResourceKind<KubeObject>, namespace: string, name: string): string =>
  `${app}:${kind.group}/${kind.kind}:${namespace}/${name}`;

/** The manifest as it is applied: in its namespace, with the mark of its application. */
export function prepareTarget(
  app: Application,
  kind: ResourceKind<KubeObject>,
  object: KubeObject,
  namespace: string,
): JsonObject {
  const target = cleanTarget(object);
  const metadata = isObject(target['metadata']) ? target['metadata'] : {};
  const { namespace: _own, ...rest } = metadata;
  const name = object.metadata.name ?? '';
  return {
    ...target,
    metadata: {
      ...rest,
      ...(kind.namespaced && { namespace }),
      annotations: {
        ...(isObject(metadata['annotations']) ? metadata['annotations'] : {}),
        [Annotation.tracking]: trackingId(app.metadata.name ?? '', kind, namespace, name),
      },
    },
  };
}

/** Reads what is there and says what would change. */
export async function compareOne(
  client: Client,
  { kind, namespace, target }: { kind: ResourceKind<KubeObject>; namespace: string; target: JsonObject },
  rules: readonly IgnoreDifference[],
  signal: AbortSignal,
): Promise<Compared> {
  const name = String((target['metadata'] as JsonObject)['name'] as string);
  const base = { kind, namespace, name, target };
  const live = await getLive(client, kind, namespace, name, signal);
  if (live === undefined) return base;
  const patch = await difference(client, kind, live, target, rules, signal);
  return { ...base, live, ...(patch && { patch }) };
}

export async function getLive(
  client: Client,
  kind: ResourceKind<KubeObject>,
  namespace: string,
  name: string,
  signal: AbortSignal,
): Promise<KubeObject | undefined> {
  try {
    return await client.get(kind, { namespace: kind.namespaced ? namespace : '', name }, { signal });
  } catch (error) {
    if (isNotFound(error)) return undefined;
    throw error;
  }
}

/** The three-way patch; none when the server says that it would change nothing that counts. */
async function difference(
  client: Client,
  kind: ResourceKind<KubeObject>,
  live: KubeObject,
  target: JsonObject,
  rules: readonly IgnoreDifference[],
  signal: AbortSignal,
): Promise<JsonObject | undefined> {
  // an object of the server is a JSON object
  const before = withoutIgnored(comparable(live as unknown as JsonObject), rules);
  const after = withoutIgnored(comparable(predictedOf(live, target)), rules);
  if (deepEqual(before, after)) return undefined;
  const patch = mergePatch(before, after);
  if (patch === undefined) return undefined;
  try {
    const key = { namespace: kind.namespaced ? (live.metadata.namespace ?? '') : '', name: live.metadata.name ?? '' };
    const result = await client.patch(kind, key, patch, { type: 'merge', dryRun: true, signal });
    // quantities and defaults may be written in other words
    if (deepEqual(withoutIgnored(comparable(result as unknown as JsonObject), rules), before)) return undefined;
  } catch (error) {
    if (signal.aborted) throw error;
    // a change that the server refuses is one all the same
  }
  return patch;
}

/** The live object after an apply of the target. */
export function predictedOf(live: KubeObject, target: JsonObject): JsonObject {
  const applied = live.metadata.annotations?.[Annotation.lastApplied];
  let last: unknown;
  try {
    last = applied === undefined ? {} : JSON.parse(applied);
  } catch {
    last = {};
  }
  const predicted = predict(live, target, last) as JsonObject;
  // others may add finalizers; removing one is not the business of a manifest
  const metadata: JsonObject = isObject(predicted['metadata']) ? { ...predicted['metadata'] } : {};
  if (live.metadata.finalizers) metadata['finalizers'] = live.metadata.finalizers;
  return { ...predicted, metadata };
}

export function isTrackedBy(app: Application, live: KubeObject, kind: ResourceKind<KubeObject>): boolean {
  const id = live.metadata.annotations?.[Annotation.tracking];
  return id === trackingId(app.metadata.name ?? '', kind, live.metadata.namespace ?? '', live.metadata.name ?? '');
}

export const waveOf = (object: JsonObject | KubeObject): number => {
  const annotations = annotationsOf(object as Readonly<Record<string, unknown>>);
  const wave = Number.parseInt(annotations[Annotation.wave] ?? annotations['helm.sh/hook-weight'] ?? '0', 10);
  return Number.isNaN(wave) ? 0 : wave;
};

/** Identity of a resource in lists of the status. */
export const resourceKey = ({
  group = '',
  kind,
  namespace = '',
  name,
}: Pick<ResourceStatus, 'group' | 'kind' | 'namespace' | 'name'>): string => `${group}/${kind}/${namespace}/${name}`;
