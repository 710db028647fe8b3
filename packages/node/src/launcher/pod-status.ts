import { type Pod, UNPAUSED_GATE } from '@slipway/api';

export interface PodState {
  readonly phase: 'Running' | 'Succeeded' | 'Failed';
  readonly podIPs: readonly string[];
  readonly hostIP: string;
  /** Why the pod ended, for people. */
  readonly message?: string;
  /** RFC 3339. */
  readonly now: string;
}

type PodStatus = NonNullable<Pod['status']>;
type PodCondition = NonNullable<PodStatus['conditions']>[number];

function condition(pod: Pod, type: string, isTrue: boolean, now: string, reason?: string): PodCondition {
  const status = isTrue ? 'True' : 'False';
  const before = pod.status?.conditions?.find((entry) => entry.type === type);
  const lastTransitionTime = before?.status === status ? (before.lastTransitionTime ?? now) : now;
  return { type, status, lastTransitionTime, ...(reason !== undefined && !isTrue && { reason }) };
}

/** Whether every readiness gate but ours is open; ours is opened with the first write. */
function areGatesOpen(pod: Pod, isRunning: boolean): boolean {
  return (pod.spec?.readinessGates ?? []).every(({ conditionType }) => {
    const gate = pod.status?.conditions?.find(({ type }) => type === conditionType);
    return gate === undefined ? conditionType === UNPAUSED_GATE && isRunning : gate.status === 'True';
  });
}

/** `status` of a pod whose containers are processes of this node. Pure. */
export function podStatus(pod: Pod, { phase, podIPs, hostIP, message, now }: PodState): PodStatus {
  const isRunning = phase === 'Running';
  const startTime = pod.status?.startTime ?? now;
  const reason = phase === 'Succeeded' ? 'Completed' : 'Error';
  const ended = {
    exitCode: phase === 'Succeeded' ? 0 : 1,
    reason,
    startedAt: startTime,
    finishedAt: now,
    ...(message && { message }),
  };
  const isReady = isRunning && areGatesOpen(pod, isRunning);
  const hasGate = (pod.spec?.readinessGates ?? []).some(({ conditionType }) => conditionType === UNPAUSED_GATE);
  const knowsGate = pod.status?.conditions?.some(({ type }) => type === UNPAUSED_GATE);
  const containers = (pod.spec?.containers ?? []).map(({ name, image = '' }) => ({
    ...{ name, image, imageID: '', restartCount: 0, ready: isRunning, started: isRunning },
    containerID: `slipway://${pod.metadata.uid}/${name}`,
    state: isRunning ? { running: { startedAt: startTime } } : { terminated: ended },
  }));
  const init = (pod.spec?.initContainers ?? []).map(({ name, image = '' }) => ({
    ...{ name, image, imageID: '', restartCount: 0, ready: true },
    state: { terminated: { exitCode: 0, reason: 'Completed', startedAt: startTime, finishedAt: startTime } },
  }));
  return {
    phase,
    startTime,
    hostIP,
    hostIPs: [{ ip: hostIP }],
    ...(podIPs[0] !== undefined && { podIP: podIPs[0], podIPs: podIPs.map((ip) => ({ ip })) }),
    conditions: [
      condition(pod, 'Initialized', true, now),
      condition(pod, 'ContainersReady', isRunning, now, isRunning ? undefined : 'PodCompleted'),
      condition(pod, 'Ready', isReady, now, isRunning ? 'ReadinessGatesNotReady' : 'PodCompleted'),
      ...(hasGate && !knowsGate && isRunning ? [condition(pod, UNPAUSED_GATE, true, now)] : []),
    ],
    containerStatuses: containers,
    ...(init.length > 0 && { initContainerStatuses: init }),
  };
}
