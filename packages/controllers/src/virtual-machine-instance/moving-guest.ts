import type { Pod, VirtualMachineInstance } from '@slipway/api';
import { hasEnded } from './launcher-pod-state.ts';

/** The pod that a migration under way brings the guest to, as far as it can still take it. */
function receiver({ status }: VirtualMachineInstance, pods: readonly Pod[]): Pod | undefined {
  const { targetPod, completed } = status?.migrationState ?? {};
  if (completed) return undefined;
  return pods.find((pod) => pod.metadata.name === targetPod && !hasEnded(pod));
}

/** The source has given the guest away, and the target has not said yet that it has it. Pure. */
export function isOnTheWay(vmi: VirtualMachineInstance, current: Pod | undefined, pods: readonly Pod[]): boolean {
  return current !== undefined && hasEnded(current) && isSource(vmi, current) && receiver(vmi, pods) !== undefined;
}

/**
 * The source has given the guest away, and what was to take it is gone. The node agent says in the instance how a guest ended
 * before it ends the pod; a source's pod that has ended without that has given its guest away. Pure.
 */
export function isGuestLost(vmi: VirtualMachineInstance, current: Pod, pods: readonly Pod[]): boolean {
  return hasEnded(current) && isSource(vmi, current) && receiver(vmi, pods) === undefined;
}

const isSource = ({ status }: VirtualMachineInstance, { metadata }: Pod): boolean =>
  status?.migrationState?.sourcePod !== undefined && status.migrationState.sourcePod === metadata.name;
