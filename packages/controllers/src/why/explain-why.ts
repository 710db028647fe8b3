import { ageOf } from '@slipway/apimachinery';
import {
  type CoreEvent,
  type DataVolume,
  type PersistentVolumeClaim,
  type Pod,
  type StorageClass,
  type VirtualMachine,
  type VirtualMachineInstance,
  type VirtualMachineInstanceMigration,
  VmCondition,
  VmiCondition,
  VmiPhase,
} from '@slipway/api';
import type { SchedulingFacts } from '../scheduler/explain-scheduling.ts';
import { needsNode } from '../scheduler/scheduler-reconciler.ts';
import { runStrategyOf } from '../virtual-machine/run-strategy.ts';
import { conditionOf, isFinal } from '../virtual-machine-instance/instance-state.ts';
import { instanceCauses, machineCauses, podCauses } from './object-causes.ts';
import { type NodeVerdict, nodeVerdicts } from './node-verdicts.ts';
import { storageCauses } from './storage-causes.ts';

/** The objects that an explanation is made from; what does not exist is absent. */
export interface WhyFacts {
  readonly vm?: VirtualMachine;
  readonly vmi?: VirtualMachineInstance;
  /** The launcher pod, or the pod that was asked about. */
  readonly pod?: Pod;
  /** In the namespace, by name. */
  readonly dataVolumes: readonly DataVolume[];
  readonly claims: readonly PersistentVolumeClaim[];
  readonly storageClasses: readonly StorageClass[];
  readonly migrations: readonly VirtualMachineInstanceMigration[];
  readonly events: readonly CoreEvent[];
  /** Undefined: whoever asks may not see nodes. */
  readonly scheduling: SchedulingFacts | undefined;
  readonly nowMs: number;
}

/** One thing that stands in the way. */
export interface Cause {
  /** `DataVolume web-root`, `Pod virt-launcher-web-abcde` … */
  readonly about: string;
  readonly reason: string;
  readonly message: string;
}

export type WhyState = 'running' | 'stopped' | 'waiting';

export interface WhyReport {
  readonly state: WhyState;
  readonly summary: string;
  readonly causes: readonly Cause[];
  /** Of a pod that has no node; empty otherwise. */
  readonly nodes: readonly NodeVerdict[];
  /** What the scheduler says of all nodes. */
  readonly scheduling: string;
  /** Of a guest that runs. */
  readonly migration: { readonly isPossible: boolean; readonly causes: readonly Cause[] } | undefined;
  /** Warnings, newest first. */
  readonly warnings: readonly {
    readonly age: string;
    readonly about: string;
    readonly reason: string;
    readonly message: string;
  }[];
}

const MAX_WARNINGS = 5;

/** Why a machine, an instance or a pod is not running, and why a running guest cannot move. Pure. */
export function explainWhy(facts: WhyFacts): WhyReport {
  const { pod, scheduling } = facts;
  const state = stateOf(facts);
  const isOurs = pod !== undefined && needsNode(pod) && (pod.spec?.schedulingGates?.length ?? 0) === 0;
  const placing = state === 'waiting' && isOurs && scheduling ? nodeVerdicts(pod, scheduling) : { verdicts: [], message: '' };
  const causes = state === 'waiting' ? causesOf(facts, placing.message) : [];
  return {
    state,
    summary: summaryOf(facts, { state, causes, nodes: placing.verdicts }),
    causes,
    nodes: placing.verdicts,
    scheduling: placing.message,
    migration: facts.vmi?.status?.phase === VmiPhase.running ? migrationOf(facts.vmi, facts.migrations) : undefined,
    warnings: state === 'running' ? [] : warningsOf(facts, new Set([placing.message, ...causes.map(({ message }) => message)])),
  };
}

const isGone = ({ status, metadata }: Pod): boolean =>
  metadata.deletionTimestamp !== undefined || status?.phase === 'Succeeded' || status?.phase === 'Failed';

function stateOf({ vm, vmi, pod }: WhyFacts): WhyState {
  if (vmi !== undefined && !isFinal(vmi)) return vmi.status?.phase === VmiPhase.running ? 'running' : 'waiting';
  if (vm !== undefined) return isStoppedOnPurpose(vm) ? 'stopped' : 'waiting';
  if (vmi !== undefined) return 'stopped';
  if (pod === undefined || isGone(pod)) return 'stopped';
  return pod.status?.phase === 'Running' ? 'running' : 'waiting';
}

function isStoppedOnPurpose(vm: VirtualMachine): boolean {
  const strategy = runStrategyOf(vm);
  const isAskedToStart = (vm.status?.stateChangeRequests ?? []).some(({ action }) => action === 'Start');
  if (isAskedToStart || conditionOf(vm, VmCondition.failure)?.status === 'True') return false;
  if (strategy === 'Halted' || strategy === 'Manual') return true;
  // done for good, or asleep
  return vm.status?.printableStatus === 'Suspended' || (strategy !== 'Always' && vm.status?.printableStatus === 'Stopped');
}

function causesOf(facts: WhyFacts, scheduling: string): readonly Cause[] {
  const { vm, vmi, pod } = facts;
  const causes = [
    ...(vm ? machineCauses(vm, facts.nowMs) : []),
    ...storageCauses(facts),
    ...(vmi ? instanceCauses(vmi) : []),
    ...(pod && !isGone(pod) ? podCauses(pod, facts.scheduling, scheduling) : []),
  ];
  const seen = new Set<string>();
  // one thing is often said by several objects: the first is the nearest to it
  return causes.filter(({ message }) => !seen.has(message) && seen.add(message));
}

function migrationOf(
  vmi: VirtualMachineInstance,
  migrations: readonly VirtualMachineInstanceMigration[],
): WhyReport['migration'] {
  const about = `VirtualMachineInstance ${vmi.metadata.name}`;
  const condition = conditionOf(vmi, VmiCondition.liveMigratable);
  const isPossible = condition?.status === 'True';
  const refused: readonly Cause[] = isPossible
    ? []
    : [
        {
          about,
          reason: condition?.reason ?? 'Unknown',
          message: condition?.message ?? 'the agent of its node has not said yet whether it can be migrated',
        },
      ];
  const failed = migrations
    .filter(({ spec, status }) => spec.vmiName === vmi.metadata.name && status?.phase === 'Failed')
    .sort((a, b) => (b.metadata.creationTimestamp ?? '').localeCompare(a.metadata.creationTimestamp ?? ''))
    .slice(0, 1)
    .map(({ metadata, status }) => ({
      about: `VirtualMachineInstanceMigration ${metadata.name}`,
      reason: 'Failed',
      message: status?.migrationState?.failureReason ?? 'it has failed',
    }));
  return { isPossible, causes: [...refused, ...failed] };
}

/** `said`: what stands elsewhere already. */
function warningsOf({ events, nowMs }: WhyFacts, said: ReadonlySet<string>): WhyReport['warnings'] {
  const timeOf = ({ lastTimestamp, eventTime, metadata }: CoreEvent): string =>
    lastTimestamp ?? eventTime ?? metadata.creationTimestamp ?? '';
  const seen = new Set<string>();
  return events
    .filter(({ type, message }) => type === 'Warning' && !said.has(message ?? ''))
    .sort((a, b) => timeOf(b).localeCompare(timeOf(a)))
    .filter(({ reason, message }) => !seen.has(`${reason} ${message}`) && seen.add(`${reason} ${message}`))
    .slice(0, MAX_WARNINGS)
    .map((event) => ({
      age: ageOf(timeOf(event), nowMs),
      about: `${event.involvedObject.kind} ${event.involvedObject.name}`,
      reason: event.reason ?? '',
      message: event.message ?? '',
    }));
}

interface Summed {
  readonly state: WhyState;
  readonly causes: readonly Cause[];
  readonly nodes: readonly NodeVerdict[];
}

function summaryOf(facts: WhyFacts, { state, causes, nodes }: Summed): string {
  const { vm, vmi, pod } = facts;
  if (state === 'running') return `runs on ${vmi?.status?.nodeName ?? pod?.spec?.nodeName ?? 'a node'}`;
  const status = statusText(facts);
  if (state === 'stopped')
    return vm === undefined ? `has ended${status}` : `is stopped${status}, as its run strategy ${runStrategyOf(vm)} says`;
  return `waits${status}: ${waitText(causes, nodes)}`;
}

function statusText({ vm, vmi, pod }: WhyFacts): string {
  const status = vm?.status?.printableStatus ?? vmi?.status?.phase ?? pod?.status?.phase;
  return status ? ` (${status})` : '';
}

function waitText([first]: readonly Cause[], nodes: readonly NodeVerdict[]): string {
  if (nodes.some(({ isPossible }) => isPossible)) return 'a node can take it now';
  if (nodes.length > 0) return `none of ${nodes.length} nodes takes it`;
  return first === undefined ? 'it is on its way' : `${first.about}, ${first.reason}`;
}
