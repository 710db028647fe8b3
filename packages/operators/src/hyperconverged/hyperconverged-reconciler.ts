import {
  type Condition,
  deepEqual,
  formatTime,
  hasFinalizer,
  ignoreNotFound,
  isConflict,
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
import { HCO_FINALIZER, HCO_NAME, type HyperConverged, HyperConvergedKind } from '../kinds.ts';
import {
  aggregateConditions,
  areAllGood,
  areUpgraded,
  type ComponentState,
  failedConditions,
  initialConditions,
  systemHealth,
  upgradingConditions,
} from './aggregate-conditions.ts';
import { bootImageTemplates, scheduleFor } from './boot-images.ts';
import { unsafeAnnotations } from './json-patch-annotation.ts';
import { isWanted, type Operand, OPERANDS, OperandWriter, operandKey, UNINSTALL_ORDER } from './operands.ts';
import { relatedObject } from './related-objects.ts';
import { nodeInfo, type Topology, topologyOf } from './topology.ts';

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
const AGAIN_MS = 100;

/** Writes KubeVirt, CDI, the network add-ons and SSP as the HyperConverged asks, and sums up their state. */
export class HyperConvergedReconciler implements Reconciler {
  private readonly deps: HyperConvergedDeps;
  readonly writer: OperandWriter;

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
    const { settings, nodes, clock } = this.deps;
    const topology = topologyOf(nodes.list(), hco, settings.installNamespace, settings.version);
    if (isBeforeUpgrade(hco, topology.version)) return this.announceUpgrade(hco, topology, signal);
    const operands: Found[] = [];
    try {
      for (const operand of OPERANDS) {
        if (isWanted(operand, hco)) operands.push({ operand, object: await this.writer.ensure(operand, hco, topology, signal) });
        else await this.remove(operand, hco, signal);
      }
    } catch (error) {
      if (!isConflict(error)) await this.reportFailure(hco, error, topology, signal);
      throw error;
    }
    const states = this.states(operands);
    const isUpgrading = versionOf(hco) !== undefined && versionOf(hco) !== topology.version;
    const isHeld = isUpgrading && !areUpgraded(states, topology.version);
    const conditions = isHeld ? upgradingConditions(states, topology.version) : aggregateConditions(states);
    const ageMs = clock.now() - Date.parse(hco.metadata.creationTimestamp ?? '');
    if (!areAllGood(conditions) && !hco.status?.conditions) {
      return ageMs < QUIET_START_MS ? after(QUIET_START_MS) : this.announceStart(hco, topology, signal);
    }
    await this.writeStatus(hco, { conditions, operands, topology }, signal);
    return done;
  }

  /** Of a start that takes its time: others show this at each start. */
  private async announceStart(hco: HyperConverged, topology: Topology, signal: AbortSignal): Promise<Result> {
    this.deps.events.normal(hco, 'InitHCO', 'Initiating the HyperConverged');
    await this.writeStatus(hco, { conditions: initialConditions(), topology }, signal);
    return after(AGAIN_MS);
  }

  private async announceUpgrade(hco: HyperConverged, topology: Topology, signal: AbortSignal): Promise<Result> {
    const { version } = topology;
    this.deps.events.normal(hco, 'UpgradeHCO', `Upgrading the HyperConverged to version ${version}`);
    await this.writeStatus(
      hco,
      { conditions: upgradingConditions(this.states(this.found(topology)), version), topology },
      signal,
    );
    return after(AGAIN_MS);
  }

  private async reportFailure(hco: HyperConverged, error: unknown, topology: Topology, signal: AbortSignal): Promise<void> {
    const message = error instanceof Error ? error.message : String(error);
    if (hco.status?.observedGeneration !== hco.metadata.generation) this.deps.events.warning(hco, 'ReconcileError', message);
    await this.writeStatus(hco, { conditions: failedConditions(message), topology }, signal);
  }

  /** Operands that exist. */
  private found({ installNamespace }: Topology): readonly Found[] {
    return OPERANDS.flatMap((operand) => {
      const object = this.deps.listerOf(operand).get(operandKey(operand, installNamespace));
      return object === undefined ? [] : [{ operand, object }];
    });
  }

  private states(operands: readonly Found[]): readonly ComponentState[] {
    return operands.map(({ operand, object }) => ({
      component: operand.component,
      conditions: object.status?.conditions,
      observedVersion: object.status?.observedVersion ?? object.status?.observedKubeVirtVersion,
    }));
  }

  private async adopt(hco: HyperConverged, signal: AbortSignal): Promise<HyperConverged> {
    const { labels = {}, finalizers = [] } = hco.metadata;
    if (hasFinalizer(hco, HCO_FINALIZER) && labels['app']) return hco;
    const metadata = {
      ...hco.metadata,
      labels: { app: HCO_NAME, ...labels },
      finalizers: [...new Set([...finalizers, HCO_FINALIZER])],
    };
    return this.deps.client.update(HyperConvergedKind, { ...hco, metadata }, { signal });
  }

  /** Each gone before the next; then the object itself may go. */
  private async uninstall(hco: HyperConverged, signal: AbortSignal): Promise<Result> {
    if (!hasFinalizer(hco, HCO_FINALIZER)) return done;
    const { client } = this.deps;
    for (const operand of UNINSTALL_ORDER) if (await this.remove(operand, hco, signal)) return done;
    const finalizers = (hco.metadata.finalizers ?? []).filter((finalizer) => finalizer !== HCO_FINALIZER);
    await client.update(HyperConvergedKind, { ...hco, metadata: { ...hco.metadata, finalizers } }, { signal });
    return done;
  }

  /** True as long as it is there. */
  private async remove(operand: Operand, hco: HyperConverged, signal: AbortSignal): Promise<boolean> {
    const { client, events, settings, listerOf } = this.deps;
    const key = operandKey(operand, settings.installNamespace);
    const object = listerOf(operand).get(key);
    if (object === undefined) return false;
    if (isTerminating(object)) return true;
    await client.delete(operand.kind, key, { signal }).catch(ignoreNotFound);
    events.normal(hco, 'Killing', `Removed ${operand.component} ${operand.name}`);
    return true;
  }

  private async refuse(hco: HyperConverged, signal: AbortSignal): Promise<void> {
    const message = `Request does not match expected name (${HCO_NAME}) and namespace (${this.deps.settings.installNamespace})`;
    const condition = { type: 'ReconcileComplete', status: 'False', reason: 'InvalidRequest', message } as const;
    const conditions = setCondition(hco.status?.conditions, condition, formatTime(this.deps.clock.now()));
    await this.write(hco, { ...hco.status, conditions: [...conditions] }, signal);
  }

  private async writeStatus(hco: HyperConverged, outcome: Outcome, signal: AbortSignal): Promise<void> {
    const { conditions: updates } = outcome;
    const isComplete = areAllGood(updates);
    const before = hco.status?.conditions?.filter(({ type }) => type !== TAINTED.type);
    const wasComplete = before !== undefined && areAllGood(before);
    await this.write(hco, statusOf(hco, outcome, formatTime(this.deps.clock.now())), signal);
    if (isComplete && !wasComplete) this.deps.events.normal(hco, 'ReconcileHCO', 'HCO Reconcile completed successfully');
    else if (!isComplete && wasComplete) this.deps.events.warning(hco, 'ReconcileHCO', 'Not all the operators are ready');
  }

  private async write(hco: HyperConverged, status: NonNullable<HyperConverged['status']>, signal: AbortSignal): Promise<void> {
    if (deepEqual(status, hco.status)) return;
    await this.deps.client.update(HyperConvergedKind, { ...hco, status }, { subresource: 'status', signal });
  }
}

interface Found {
  readonly operand: Operand;
  readonly object: KubeObject & {
    status?: { conditions?: Condition[]; observedVersion?: string; observedKubeVirtVersion?: string };
  };
}

interface Outcome {
  readonly conditions: readonly Omit<Condition, 'lastTransitionTime'>[];
  /** Absent when they could not be written. */
  readonly operands?: readonly Found[];
  readonly topology: Topology;
}

function statusOf(
  hco: HyperConverged,
  { conditions: updates, operands, topology }: Outcome,
  now: string,
): NonNullable<HyperConverged['status']> {
  const { generation = 0, uid = '' } = hco.metadata;
  const tainted = unsafeAnnotations(hco).length > 0 ? [TAINTED] : [];
  const before = hco.status?.conditions ?? [];
  const kept = tainted.length > 0 ? before : before.filter(({ type }) => type !== TAINTED.type);
  const conditions = [...updates, ...tainted]
    .map((update) => ({ ...update, observedGeneration: generation }))
    .reduce<readonly Condition[]>((all, update) => setCondition(all, update, now), kept);
  return {
    ...hco.status,
    conditions: [...conditions],
    observedGeneration: generation,
    systemHealthStatus: systemHealth(updates),
    infrastructureHighlyAvailable: topology.workers >= 2,
    nodeInfo: nodeInfo(topology),
    dataImportSchedule: hco.status?.dataImportSchedule ?? scheduleFor(uid),
    ...(operands && {
      relatedObjects: operands.map(({ operand, object }) => relatedObject(operand, object)),
      dataImportCronTemplates: bootImageTemplates(hco, topology.workloadArchitectures).listed,
    }),
    ...(areAllGood(updates) && { versions: [{ name: 'operator', version: topology.version }] }),
  };
}

const TAINTED = {
  type: 'TaintedConfiguration',
  status: 'True',
  reason: 'UnsupportedFeatureAnnotation',
  message: 'Unsupported feature was activated via an HCO annotation',
} as const;

const versionOf = ({ status }: HyperConverged): string | undefined =>
  status?.versions?.find(({ name }) => name === 'operator')?.version;

/** Another version than the one that completed last, and the status does not say so yet. */
function isBeforeUpgrade(hco: HyperConverged, version: string): boolean {
  const last = versionOf(hco);
  if (last === undefined || last === version) return false;
  return !hco.status?.conditions?.some(({ reason, message }) => reason === 'HCOUpgrading' && message?.endsWith(version));
}
