import {
  deepEqual,
  ignoreNotFound,
  isConflict,
  isNotFound,
  keyOf,
  type KubeObject,
  type ResourceKind,
  StatusError,
} from '@slipway/apimachinery';
import { type Node, NodeKind, PodKind } from '@slipway/api';
import type { Client } from '@slipway/client';
import { UserError } from '../report-failure.ts';
import { type LayerFacts, layerFaults, shortPools } from './check-layer.ts';
import { ClusterServiceVersionKind, HCO_NAME, HyperConvergedKind, OperatorGroupKind, SubscriptionKind } from './layer-kinds.ts';
import { type LayerObject, layerObjects, NAMESPACE } from './layer-objects.ts';
import type { LayerVariables } from './layer-variables.ts';
import { type PlannedNode, planPools, POOL_TAINTS } from './plan-pools.ts';

const FIELD_MANAGER = 'slipway-layer';
const ROUND_MS = 500;
/** Another writer of a node's taints is let through so many times. */
const ATTEMPTS = 5;

export interface ApplyDeps {
  readonly client: Client;
  /** Progress, one line at a time. */
  readonly say: (line: string) => void;
  /** Takes over fields that others have set. */
  readonly force: boolean;
}

/** Gives nodes their labels and taints and applies the objects of the layer. Returns when all of it is stored. */
export async function applyLayer(variables: LayerVariables, deps: ApplyDeps): Promise<void> {
  const { items: nodes } = await deps.client.list(NodeKind);
  const plan = planPools(variables.pools, nodes);
  for (const planned of plan.nodes) await applyNode(planned, deps);
  for (const text of shortPools(plan)) deps.say(text);
  for (const layerObject of layerObjects(variables)) await applyObject(layerObject, deps);
}

async function applyNode(planned: PlannedNode, deps: ApplyDeps): Promise<void> {
  const { node, pool, labels } = planned;
  const name = node.metadata.name ?? '';
  const configuration = { apiVersion: 'v1', kind: 'Node', metadata: { name, labels: { ...labels } } };
  const labelled: Node = await apply(NodeKind, configuration, deps);
  const isTainted = !planned.hasTaints && (await writeTaints(planned, deps.client));
  const isChanged = isTainted || !deepEqual(node.metadata.labels, labelled.metadata.labels);
  const where = pool === undefined ? 'in no machine pool' : `in machine pool ${pool.name}`;
  deps.say(`node/${name} ${isChanged ? 'configured' : 'unchanged'} (${where})`);
}

/** Taints are one list that several parts write, so that it is replaced as it was read, and not applied. */
async function writeTaints({ node, pool }: PlannedNode, client: Client): Promise<boolean> {
  const key = keyOf(node);
  for (let attempt = 1; ; attempt++) {
    const current = await client.get(NodeKind, key);
    const [planned] = planPools(pool === undefined ? [] : [{ ...pool, replicas: 1 }], [current]).nodes;
    if (planned === undefined || planned.hasTaints) return false;
    const { resourceVersion } = current.metadata;
    const annotations = { [POOL_TAINTS]: pool === undefined ? null : JSON.stringify(planned.poolTaints) };
    const patch = {
      metadata: { resourceVersion, annotations },
      spec: { taints: planned.taints.length > 0 ? planned.taints : null },
    };
    try {
      await client.patch(NodeKind, key, patch, { type: 'merge', fieldManager: FIELD_MANAGER });
      return true;
    } catch (error) {
      if (!isConflict(error) || attempt === ATTEMPTS) throw error;
    }
  }
}

async function applyObject({ kind, object }: LayerObject, deps: ApplyDeps): Promise<void> {
  const title = `${kind.kind}/${object.metadata.name}`;
  const other = await rivalOf(kind, object, deps.client);
  if (other !== undefined) return deps.say(`${title} not needed: ${NAMESPACE} has ${other}`);
  const before = await deps.client.get(kind, keyOf(object)).catch(ignoreNotFound);
  const after = await apply(kind, object, deps);
  deps.say(`${title} ${before === undefined ? 'created' : isSame(before, after) ? 'unchanged' : 'configured'}`);
}

/** Whether nothing but the status differs, which operators write all the time. */
function isSame(before: KubeObject, after: KubeObject): boolean {
  const wanted = (object: KubeObject): object => {
    const { status: _status, metadata, ...rest } = object as KubeObject & { status?: unknown };
    return { ...rest, labels: metadata.labels ?? {}, annotations: metadata.annotations ?? {} };
  };
  return deepEqual(wanted(before), wanted(after));
}

/** A namespace has one OperatorGroup, and the operator one Subscription: what an administrator made is left alone. */
async function rivalOf(kind: ResourceKind<KubeObject>, object: KubeObject, client: Client): Promise<string | undefined> {
  if (kind.plural !== OperatorGroupKind.plural && kind.plural !== SubscriptionKind.plural) return undefined;
  const { items } = await client.list(kind, { namespace: NAMESPACE });
  const name = items.find(({ metadata }) => metadata.name !== object.metadata.name)?.metadata.name;
  return name === undefined ? undefined : `${kind.kind}/${name}`;
}

async function apply<T extends KubeObject>(kind: ResourceKind<T>, object: KubeObject, { client, force }: ApplyDeps): Promise<T> {
  try {
    return await client.patch(kind, keyOf(object), object, { type: 'apply', fieldManager: FIELD_MANAGER, force });
  } catch (error) {
    const title = `${kind.kind}/${object.metadata.name}`;
    if (!(error instanceof StatusError)) throw error;
    if (isNotFound(error))
      throw new UserError(`${title}: the cluster does not know this kind; is ${kind.group || 'the platform'} installed?`);
    const remedy = isConflict(error) ? '; --force-conflicts takes these fields over' : '';
    throw new UserError(`${title}: ${error.message}${remedy}`);
  }
}

/** What `check` and the wait look at. */
export async function readLayerFacts(client: Client): Promise<LayerFacts> {
  const orMissing = async <T>(read: Promise<T>): Promise<T | undefined> => read.catch(ignoreNotFound);
  const [nodes, pods, hco, subscriptions, versions] = await Promise.all([
    client.list(NodeKind),
    client.list(PodKind),
    orMissing(client.get(HyperConvergedKind, { namespace: NAMESPACE, name: HCO_NAME })),
    orMissing(client.list(SubscriptionKind, { namespace: NAMESPACE })),
    orMissing(client.list(ClusterServiceVersionKind, { namespace: NAMESPACE })),
  ]);
  return { nodes: nodes.items, pods: pods.items, hco, subscription: subscriptions?.items[0], versions: versions?.items ?? [] };
}

export interface AwaitDeps extends Pick<ApplyDeps, 'client' | 'say'> {
  readonly wait: (ms: number, signal: AbortSignal) => Promise<void>;
}

/** Waits until nodes and objects are as the variables say; returns what is still missing when the signal ends it. */
export async function awaitLayer(variables: LayerVariables, deps: AwaitDeps, signal: AbortSignal): Promise<readonly string[]> {
  let said = '';
  for (;;) {
    const facts = await readLayerFacts(deps.client);
    const missing = [...unobserved(variables, facts), ...layerFaults(variables, facts)];
    if (missing.length === 0 || signal.aborted) return missing;
    const [first = ''] = missing;
    if (first !== said) deps.say(`waiting: ${first}${missing.length > 1 ? ` (and ${missing.length - 1} more)` : ''}`);
    said = first;
    await deps.wait(ROUND_MS, signal).catch(() => {}); // looked at above
  }
}

function unobserved({ isEnabled }: LayerVariables, { hco }: LayerFacts): readonly string[] {
  if (!isEnabled || hco === undefined || hco.status?.observedGeneration === hco.metadata.generation) return [];
  return ['HyperConverged has not been looked at yet'];
}
