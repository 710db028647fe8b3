import type { kubevirt, Node, Pod, VirtualMachineInstance } from '@slipway/api';
import { Reason, VmiCondition, VmiPhase } from '@slipway/api';
import type { StorageState } from './claims.ts';
import { conditionOf, type ConditionText, hasCondition, transition } from './instance-state.ts';
import { schedulingHint } from './scheduling-hints.ts';
import { imageProblem, isGoingDown, podCondition } from './launcher-pod-state.ts';

type VmiCond = kubevirt.VirtualMachineInstanceCondition;

export interface SyncProblem {
  readonly reason: string;
  readonly message: string;
}

export interface InstanceConditionsInput {
  readonly vmi: VirtualMachineInstance;
  /** Phase after this pass. */
  readonly phase: string;
  readonly pod: Pod | undefined;
  /** Node of the instance, when it has one. */
  readonly node?: Node | undefined;
  /** Nodes that take no pods because they are not ready. */
  readonly unreadyNodes?: readonly Node[];
  readonly storage: StorageState;
  /** The guest has left its pod and is taken by the next one at this moment. */
  readonly isMoving?: boolean;
  /** What went wrong in this pass (creating the pod, for example). */
  readonly problem: SyncProblem | undefined;
  /** RFC 3339. */
  readonly now: string;
}

/** `Synchronized` reasons that this controller sets and therefore may clear; others belong to the node agent. */
const OWN_SYNC_REASONS: readonly string[] = [
  Reason.failedCreate,
  Reason.failedDelete,
  Reason.failedPvcNotFound,
  Reason.errImagePull,
  Reason.imagePullBackOff,
];

/** Conditions of which this controller decides whether they exist at all. */
function ownConditions(input: InstanceConditionsInput): Map<string, ConditionText | undefined> {
  const { vmi, storage, phase } = input;
  const problem = syncProblem(input);
  const synchronized = conditionOf(vmi, VmiCondition.synchronized);
  const isForeign = synchronized !== undefined && !OWN_SYNC_REASONS.includes(synchronized.reason ?? '');
  const isWaiting = phase === VmiPhase.pending || phase === VmiPhase.scheduling;
  return new Map<string, ConditionText | undefined>([
    [VmiCondition.ready, (input.isMoving ? conditionOf(vmi, VmiCondition.ready) : undefined) ?? readyCondition(input)],
    [
      VmiCondition.synchronized,
      problem === undefined
        ? isForeign
          ? synchronized
          : undefined
        : { type: VmiCondition.synchronized, status: 'False', ...problem },
    ],
    [VmiCondition.podScheduled, podScheduled(input)],
    [VmiCondition.evictionRequested, evictionRequested(vmi)],
    [
      VmiCondition.provisioning,
      isWaiting && input.pod !== undefined && !storage.canRun ? { type: VmiCondition.provisioning, status: 'True' } : undefined,
    ],
    [VmiCondition.dataVolumesReady, storage.usesDataVolumes ? dataVolumesReady(storage) : undefined],
  ]);
}

function evictionRequested({ status }: VirtualMachineInstance): ConditionText | undefined {
  const { evacuationNodeName, nodeName } = status ?? {};
  if (!evacuationNodeName || evacuationNodeName !== nodeName) return undefined;
  const type = VmiCondition.evictionRequested;
  return { type, status: 'True', reason: 'EvictionRequested', message: `The guest is asked to leave node ${nodeName}` };
}

function syncProblem({ storage, pod, problem, phase }: InstanceConditionsInput): SyncProblem | undefined {
  if (phase === VmiPhase.succeeded || phase === VmiPhase.failed) return undefined;
  if (storage.missingClaim !== undefined && pod === undefined)
    return {
      reason: Reason.failedPvcNotFound,
      message: `PVC ${storage.missingClaim} does not exist, create it or correct the volume`,
    };
  return problem ?? (pod === undefined ? undefined : imageProblem(pod));
}

function podScheduled({ pod, storage, phase, unreadyNodes }: InstanceConditionsInput): ConditionText | undefined {
  const isWaiting = phase === VmiPhase.unset || phase === VmiPhase.pending || phase === VmiPhase.scheduling;
  if (!isWaiting) return undefined;
  const type = VmiCondition.podScheduled;
  if (pod === undefined && storage.missingClaim !== undefined)
    return { type, status: 'False', reason: Reason.unschedulable, message: `PVC ${storage.missingClaim} does not exist` };
  const condition = podCondition(pod, 'PodScheduled');
  if (condition?.status !== 'False') return undefined;
  const { message = '' } = condition;
  const why = [message, schedulingHint(pod, message), ...(unreadyNodes ?? []).map(notReadyText)].filter((text) => text !== '');
  return {
    type,
    status: 'False',
    reason: condition.reason ?? Reason.unschedulable,
    ...(why.length > 0 && { message: why.join('; ') }),
  };
}

const readinessOf = (node: Node | undefined) => node?.status?.conditions?.find(({ type }) => type === 'Ready');

/** Whether the node says of itself, or its controller says of it, that it runs no pods now. */
export function isUnready(node: Node | undefined): node is Node {
  const ready = readinessOf(node);
  return ready !== undefined && ready.status !== 'True';
}

function notReadyText(node: Node): string {
  const { message, reason } = readinessOf(node) ?? {};
  return `node ${node.metadata.name} is not ready: ${message || reason || 'it does not say why'}`;
}

function dataVolumesReady({ canRun }: StorageState): ConditionText {
  return canRun
    ? {
        type: VmiCondition.dataVolumesReady,
        status: 'True',
        reason: Reason.allDvsReady,
        message: "All of the VMI's DVs are bound and ready",
      }
    : {
        type: VmiCondition.dataVolumesReady,
        status: 'False',
        reason: Reason.notAllDvsReady,
        message: "Not all of the VMI's DVs are ready",
      };
}

/** `Ready`: False with the nearest reason, or what the launcher pod says about itself. */
export function readyCondition({
  vmi,
  phase,
  pod,
  node,
}: Pick<InstanceConditionsInput, 'vmi' | 'phase' | 'pod' | 'node'>): ConditionText {
  const notReady = (reason: string, message: string): ConditionText => ({
    type: VmiCondition.ready,
    status: 'False',
    reason,
    message,
  });
  if (pod === undefined) return notReady(Reason.podNotExists, 'virt-launcher pod does not exist');
  if (isGoingDown(pod)) return notReady(Reason.podTerminating, 'virt-launcher pod is terminating');
  if (phase !== VmiPhase.running) return notReady(Reason.guestNotRunning, 'Guest VM is not reported as running');
  // the pod's Ready follows its readiness gate only a write later; a paused guest is not ready from now on
  if (hasCondition(vmi, VmiCondition.paused)) return notReady('ReadinessGatesNotReady', 'The guest is paused');
  if (isUnready(node)) return notReady('NodeNotReady', notReadyText(node));
  const ready = podCondition(pod, 'Ready');
  if (ready === undefined) return notReady(Reason.podConditionMissing, 'virt-launcher pod is missing the Ready condition');
  return {
    type: VmiCondition.ready,
    status: ready.status,
    ...(ready.reason !== undefined && { reason: ready.reason }),
    ...(ready.message !== undefined && { message: ready.message }),
  };
}

/** `status.conditions`: ours brought up to date in place, the node agent's untouched. */
export function instanceConditions(input: InstanceConditionsInput): VmiCond[] {
  const own = ownConditions(input);
  const previous = input.vmi.status?.conditions ?? [];
  const kept = previous.flatMap((condition): VmiCond[] => {
    if (!own.has(condition.type)) return [condition];
    const next = own.get(condition.type);
    return next === undefined ? [] : [transition(condition, next, input.now)];
  });
  const present = new Set(previous.map((condition) => condition.type));
  const added = [...own.values()].flatMap((next): VmiCond[] =>
    next === undefined || present.has(next.type) ? [] : [transition<VmiCond>(undefined, next, input.now)],
  );
  return [...kept, ...added];
}
