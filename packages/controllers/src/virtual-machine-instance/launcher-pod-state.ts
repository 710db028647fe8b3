import type { Pod, VirtualMachineInstance } from '@slipway/api';
import { Label, Reason } from '@slipway/api';
import { MIGRATION_JOB_UID } from '@slipway/virt';
import { isDeleting } from './instance-state.ts';

type ContainerStatus = NonNullable<NonNullable<Pod['status']>['containerStatuses']>[number];

/** Pods that carry (or carried) the guest of this instance, migration targets included. */
export function launcherPods(vmi: VirtualMachineInstance, pods: readonly Pod[]): readonly Pod[] {
  return pods.filter(
    (pod) =>
      pod.metadata.labels?.[Label.app] === 'virt-launcher' &&
      (pod.metadata.ownerReferences ?? []).some((owner) => owner.uid === vmi.metadata.uid),
  );
}

/**
 * The pod in which the guest runs: one on the instance's node, else the newest. While a guest moves there is a second pod, on
 * the node that it moves to; it is the guest's once the instance is on that node.
 */
export function currentPod(vmi: VirtualMachineInstance, pods: readonly Pod[]): Pod | undefined {
  const newestFirst = [...pods].sort((left, right) =>
    (right.metadata.creationTimestamp ?? '').localeCompare(left.metadata.creationTimestamp ?? ''),
  );
  const node = vmi.status?.nodeName;
  if (node === undefined) return newestFirst.find((pod) => !isMigrationTarget(pod)) ?? newestFirst[0];
  const here = newestFirst.filter((pod) => pod.spec?.nodeName === node);
  // a guest that has come back to a node may have left a pod there when it went
  return here.find((pod) => !isGoingDown(pod)) ?? here[0] ?? newestFirst.find(({ spec }) => spec?.nodeName === undefined);
}

export const isMigrationTarget = ({ metadata }: Pod): boolean => metadata.labels?.[MIGRATION_JOB_UID] !== undefined;

/** Its processes have ended. */
export function hasEnded({ status }: Pod): boolean {
  return status?.phase === 'Failed' || status?.phase === 'Succeeded';
}

/**
 * Running with every container ready: the sandbox can take the guest. The readiness gate opens only later, and so does the
 * container that runs the guest when it has a readiness probe: there it is enough that it has started.
 */
export function canTakeGuest(pod: Pod): boolean {
  const containers = pod.status?.containerStatuses ?? [];
  return pod.status?.phase === 'Running' && containers.length > 0 && containers.every(isUp);
}

const isUp = ({ name, ready, state }: ContainerStatus): boolean => ready || (name === 'compute' && state?.running !== undefined);

/** Ended, or about to. */
export function isGoingDown(pod: Pod): boolean {
  return isDeleting(pod) || hasEnded(pod);
}

export function podCondition(pod: Pod | undefined, type: string) {
  return pod?.status?.conditions?.find((condition) => condition.type === type);
}

export interface PodProblem {
  readonly reason: string;
  readonly message: string;
}

/** A container that waits for an image that does not come. */
export function imageProblem(pod: Pod): PodProblem | undefined {
  const statuses = [...(pod.status?.initContainerStatuses ?? []), ...(pod.status?.containerStatuses ?? [])];
  for (const { state } of statuses) {
    const { reason, message } = state?.waiting ?? {};
    if (reason === Reason.errImagePull || reason === Reason.imagePullBackOff) return { reason, message: message ?? reason };
  }
  return undefined;
}
