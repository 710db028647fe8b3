import type { kubevirt, VirtualMachineInstance } from '@slipway/api';
import { isDeleting, isFinal } from '../virtual-machine-instance/instance-state.ts';

type Request = kubevirt.VirtualMachineStateChangeRequest;

const isServed = (request: Request, vmi: VirtualMachineInstance | undefined): boolean =>
  request.action === 'Stop'
    ? vmi === undefined || request.uid === undefined || request.uid !== vmi.metadata.uid
    : vmi !== undefined && !isDeleting(vmi) && !isFinal(vmi);

/** Drops requests at the head of the queue that have come true; only the head is ever acted on. */
export function pendingRequests(queue: readonly Request[], vmi: VirtualMachineInstance | undefined): readonly Request[] {
  const [head] = queue;
  return head !== undefined && isServed(head, vmi) ? pendingRequests(queue.slice(1), vmi) : queue;
}

export function hasStopRequest(queue: readonly Request[], vmi: VirtualMachineInstance): boolean {
  return queue[0]?.action === 'Stop' && queue[0].uid === vmi.metadata.uid;
}

export function startRequest(queue: readonly Request[]): Request | undefined {
  return queue[0]?.action === 'Start' ? queue[0] : undefined;
}
