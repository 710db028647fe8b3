import {
  apiVersionOf,
  type Condition,
  deepEqual,
  formatTime,
  hasFinalizer,
  isConflict,
  isNotFound,
  isTerminating,
  type KubeObject,
  type ObjectKey,
  setCondition,
} from '@slipway/apimachinery';
import type { Node } from '@slipway/api';
import type { Client } from '@slipway/client';
import {
  after,
  type Clock,
  done,
  type EventRecorder,
  type Lister,
  type PlatformSettings,
  type Reconciler,
  type Result,
} from '@slipway/runtime';
import { HCO_FINALIZER, HCO_NAME, type HyperConverged, type RelatedObject } from '../kinds.ts';
import { aggregateConditions, areAllGood, failedConditions, systemHealth } from './aggregate-conditions.ts';
import type { Topology } from './operand-specs.ts';
import { type Operand, OPERANDS, OperandWriter, operandKey, UNINSTALL_ORDER } from './operands.ts';
import { writtenKind } from './read-spec.ts';

export interface HyperConvergedDeps {
  readonly client: Client;
  readonly events: EventRecorder;
  readonly clock: Clock;
  readonly settings: PlatformSettings;
  readonly hcos: Lister<HyperConverged>;
  readonly nodes: Lister<Node>;
  readonly listerOf: (operand: Operand) => Lister<KubeObject>;
}

/** A first installation that takes no longer than this shows no unready conditions at all. */
const QUIET_START_MS = 5_000;

/** Writes KubeVirt, CDI and SSP as the HyperConverged asks, and sums up their state. */
export class HyperConvergedReconciler implements Reconciler {
  private readonly deps: HyperConvergedDeps;
  private readonly writer: OperandWriter;

  constructor(deps: HyperConvergedDeps) {
    this.deps = deps;
    this.writer = new OperandWriter(deps);
  }

  async reconcile(key: ObjectKey, signal: AbortSignal): Promise<Result> {
    const hco = this.deps.hcos.get(key);
    if (hco === undefined) return done;
    const { installNamespace } = this.deps.settings;
    if (key.name !== HCO_NAME || key.namespace !== installNamespace) {
      await this.refuse(hco, signal);
      return done;
    }
    if (isTerminating(hco)) return this.uninstall(hco, signal);
    const labelled = await this.adopt(hco, signal);
    return this.install(labelled, signal);
  }

  private async install(hco: HyperConverged, signal: AbortSignal): Promise<Result> {
    const topology = this.topology();
    const operands: { operand: Operand; object: KubeObject & { status?: { conditions?: Condition[] } } }[] = [];
    try {
      for (const operand of OPERANDS)
        operands.push({ operand, object: await this.writer.ensure(operand, hco, topology, signal) });
    } catch (error) {
      if (isConflict(error)) throw error;
      await this.writeStatus(hco, failedConditions(error instanceof Error ? error.message : String(error)), [], topology, signal);
      throw error;
    }
    const conditions = aggregateConditions(
      operands.map(({ operand, object }) => ({ component: operand.component, conditions: object.status?.conditions })),
    );
    const ageMs = this.deps.clock.now() - Date.parse(hco.metadata.creationTimestamp ?? '');
    if (!areAllGood(conditions) && !hco.status?.conditions && ageMs < QUIET_START_MS) return after(QUIET_START_MS);
    const related = operands.map(({ operand, object }) => relatedObject(operand, object));
    await this.writeStatus(hco, conditions, related, topology, signal);
    return done;
  }

  private topology(): Topology {
    const { settings, nodes } = this.deps;
    const withRole = (role: string): number =>
      nodes.list().filter(({ metadata }) => metadata.labels?.[`node-role.kubernetes.io/${role}`] !== undefined).length;
    return {
      installNamespace: settings.installNamespace,
      version: settings.version,
      controlPlaneNodes: withRole('control-plane') || withRole('master'),
      workers: withRole('worker'),
    };
  }

  private async adopt(hco: HyperConverged, signal: AbortSignal): Promise<HyperConverged> {
    const { labels = {}, finalizers = [] } = hco.metadata;
    if (hasFinalizer(hco, HCO_FINALIZER) && labels['app']) return hco;
    const metadata = {
      ...hco.metadata,
      labels: { app: HCO_NAME, ...labels },
      finalizers: [...new Set([...finalizers, HCO_FINALIZER])],
    };
    const kind = writtenKind(hco);
    return this.deps.client.update(kind, { ...hco, apiVersion: apiVersionOf(kind), metadata }, { signal });
  }

  /** Each gone before the next; then the object itself may go. */
  private async uninstall(hco: HyperConverged, signal: AbortSignal): Promise<Result> {
    if (!hasFinalizer(hco, HCO_FINALIZER)) return done;
    const { client, events, settings, listerOf } = this.deps;
    for (const operand of UNINSTALL_ORDER) {
      const key = operandKey(operand, settings.installNamespace);
      const object = listerOf(operand).get(key);
      if (object === undefined) continue;
      if (!isTerminating(object)) {
        await client.delete(operand.kind, key, { signal }).catch((error: unknown) => {
          if (!isNotFound(error)) throw error;
        });
        events.normal(hco, 'Killing', `Removed ${operand.component} ${operand.name}`);
      }
      return done;
    }
    const finalizers = (hco.metadata.finalizers ?? []).filter((finalizer) => finalizer !== HCO_FINALIZER);
    const kind = writtenKind(hco);
    await client.update(kind, { ...hco, apiVersion: apiVersionOf(kind), metadata: { ...hco.metadata, finalizers } }, { signal });
    return done;
  }

  private async refuse(hco: HyperConverged, signal: AbortSignal): Promise<void> {
    const message = `Request does not match expected name (${HCO_NAME}) and namespace (${this.deps.settings.installNamespace})`;
    const condition = { type: 'ReconcileComplete', status: 'False', reason: 'InvalidRequest', message } as const;
    const conditions = setCondition(hco.status?.conditions, condition, formatTime(this.deps.clock.now()));
    await this.write(hco, { ...hco.status, conditions: [...conditions] }, signal);
  }

  private async writeStatus(
    hco: HyperConverged,
    updates: readonly Omit<Condition, 'lastTransitionTime'>[],
    relatedObjects: readonly RelatedObject[],
    { version, workers }: Topology,
    signal: AbortSignal,
  ): Promise<void> {
    const now = formatTime(this.deps.clock.now());
    const { generation = 0 } = hco.metadata;
    const conditions = updates
      .map((update) => ({ ...update, observedGeneration: generation }))
      .reduce<readonly Condition[]>((all, update) => setCondition(all, update, now), hco.status?.conditions ?? []);
    const isComplete = areAllGood(updates);
    const wasComplete = hco.status?.conditions !== undefined && areAllGood(hco.status.conditions);
    await this.write(
      hco,
      {
        ...hco.status,
        conditions: [...conditions],
        relatedObjects: [...relatedObjects],
        observedGeneration: generation,
        systemHealthStatus: systemHealth(updates),
        infrastructureHighlyAvailable: workers >= 2,
        nodeInfo: nodeInfo(this.deps.nodes.list()),
        ...(isComplete && { versions: [{ name: 'operator', version }] }),
      },
      signal,
    );
    if (isComplete && !wasComplete) this.deps.events.normal(hco, 'ReconcileHCO', 'HCO Reconcile completed successfully');
  }

  private async write(hco: HyperConverged, status: NonNullable<HyperConverged['status']>, signal: AbortSignal): Promise<void> {
    if (deepEqual(status, hco.status)) return;
    const kind = writtenKind(hco);
    await this.deps.client.update(kind, { ...hco, apiVersion: apiVersionOf(kind), status }, { subresource: 'status', signal });
  }
}

function relatedObject({ kind }: Operand, { metadata }: KubeObject): RelatedObject {
  const { name = '', namespace, uid, resourceVersion } = metadata;
  return {
    apiVersion: apiVersionOf(kind),
    kind: kind.kind,
    name,
    ...(namespace && { namespace }),
    ...(uid && { uid }),
    ...(resourceVersion && { resourceVersion }),
  };
}

function nodeInfo(nodes: readonly Node[]) {
  const architectures = [...new Set(nodes.flatMap(({ metadata }) => metadata.labels?.['kubernetes.io/arch'] ?? []))].sort();
  return { workloadsArchitectures: architectures, controlPlaneArchitectures: architectures };
}
