import { type Pod, UNPAUSED_GATE } from '@slipway/api';

export interface PodState {
  readonly phase: 'Running' | 'Succeeded' | 'Failed';
  readonly podIPs: readonly string[];
  readonly hostIP: string;
  /** What a readiness probe says of the running guest; true without one. */
  readonly isProbedReady?: boolean;
  /** Why the pod ended, for people. */
  readonly message?: string;
  /** RFC 3339. */
  readonly now: string;
}

type PodStatus = NonNullable<Pod['status']>;
type PodCondition = NonNullable<PodStatus['conditions']>[number];

/** Why a pod is not ready whose guest runs. */
export function unreadyText(containerName: string): { readonly reason: string; readonly message: string } {
  return { reason: 'ContainersNotReady', message: `containers with unready status: [${containerName}]` };
}

interface Why {
  readonly reason?: string;
  readonly message?: string;
}

function condition(pod: Pod, type: string, isTrue: boolean, now: string, why: Why = {}): PodCondition {
  const status = isTrue ? 'True' : 'False';
  const before = pod.status?.conditions?.find((entry) => entry.type === type);
  const lastTransitionTime = before?.status === status ? (before.lastTransitionTime ?? now) : now;
  return { type, status, lastTransitionTime, ...(!isTrue && why) };
}

/** Whether every readiness gate but ours is open; ours is opened with the first write. */
function areGatesOpen(pod: Pod, isRunning: boolean): boolean {
  return (pod.spec?.readinessGates ?? []).every(({ conditionType }) => {
    const gate = pod.status?.conditions?.find(({ type }) => type === conditionType);
    return gate === undefined ? conditionType === UNPAUSED_GATE && isRunning : gate.status === 'True';
  });
}

type PodSpec = NonNullable<Pod['spec']>;

function runningOrEnded(
  pod: Pod,
  { phase, message, now, isProbedReady = true }: PodState,
): NonNullable<PodStatus['containerStatuses']> {
  const isRunning = phase === 'Running';
  const startedAt = pod.status?.startTime ?? now;
  const reason = phase === 'Succeeded' ? 'Completed' : 'Error';
  const ended = { exitCode: phase === 'Succeeded' ? 0 : 1, reason, startedAt, finishedAt: now, ...(message && { message }) };
  return (pod.spec?.containers ?? []).map(({ name, image = '' }, index) => ({
    ...{ name, image, imageID: '', restartCount: 0, ready: isRunning && (index > 0 || isProbedReady), started: isRunning },
    containerID: `slipway://${pod.metadata.uid}/${name}`,
    state: isRunning ? { running: { startedAt } } : { terminated: ended },
  }));
}

/** Nothing runs before the guest: init containers have always completed. */
function completed(containers: PodSpec['initContainers'], startedAt: string): Pick<PodStatus, 'initContainerStatuses'> {
  if (containers === undefined || containers.length === 0) return {};
  const state = { terminated: { exitCode: 0, reason: 'Completed', startedAt, finishedAt: startedAt } };
  return {
    initContainerStatuses: containers.map(({ name, image = '' }) => ({
      ...{ name, image, imageID: '', restartCount: 0, ready: true, state },
    })),
  };
}

/** The nearest reason why a pod is not ready. */
function unreadyReason(pod: Pod, isRunning: boolean, isProbedReady: boolean): Why {
  if (!isRunning) return { reason: 'PodCompleted' };
  return isProbedReady ? { reason: 'ReadinessGatesNotReady' } : unreadyText(pod.spec?.containers[0]?.name ?? '');
}

function conditionsOf(pod: Pod, isRunning: boolean, isProbedReady: boolean, now: string): PodCondition[] {
  const isReady = isRunning && isProbedReady && areGatesOpen(pod, isRunning);
  const why = unreadyReason(pod, isRunning, isProbedReady);
  const hasGate = (pod.spec?.readinessGates ?? []).some(({ conditionType }) => conditionType === UNPAUSED_GATE);
  const knowsGate = pod.status?.conditions?.some(({ type }) => type === UNPAUSED_GATE) === true;
  return [
    condition(pod, 'Initialized', true, now),
    condition(pod, 'ContainersReady', isRunning && isProbedReady, now, why),
    condition(pod, 'Ready', isReady, now, why),
    ...(hasGate && !knowsGate && isRunning ? [condition(pod, UNPAUSED_GATE, true, now)] : []),
  ];
}

/** `status` of a pod whose containers are processes of this node. Pure. */
export function podStatus(pod: Pod, state: PodState): PodStatus {
  const { phase, podIPs, hostIP, now, isProbedReady = true } = state;
  const startTime = pod.status?.startTime ?? now;
  return {
    phase,
    startTime,
    hostIP,
    hostIPs: [{ ip: hostIP }],
    ...(podIPs[0] !== undefined && { podIP: podIPs[0], podIPs: podIPs.map((ip) => ({ ip })) }),
    conditions: conditionsOf(pod, phase === 'Running', isProbedReady, now),
    containerStatuses: runningOrEnded(pod, state),
    ...completed(pod.spec?.initContainers, startTime),
  };
}
