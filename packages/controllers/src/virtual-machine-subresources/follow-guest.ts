import type { VirtualMachineInstance } from '@slipway/api';
import { VirtualMachineInstanceKind, VmiPhase } from '@slipway/api';
import { isNotFound, keyOf } from '@slipway/apimachinery';
import type { Client } from '@slipway/client';

/** So long a guest may be between two nodes: each of them says within seconds who has it. */
const MAX_WAIT_MS = 60_000;

/**
 * Where a guest is whose node has just ended a stream: the node that it has moved to, or the same one when a migration that
 * was under way has failed. Undefined: it has ended, or the stream has ended for another reason. Waits while the guest is on
 * its way.
 */
export async function nodeAfter(
  client: Client,
  vmi: VirtualMachineInstance,
  from: string,
  signal: AbortSignal,
): Promise<string | undefined> {
  const key = keyOf(vmi);
  const bounded = AbortSignal.any([signal, AbortSignal.timeout(MAX_WAIT_MS)]);
  try {
    const now = await client.get(VirtualMachineInstanceKind, key, { signal: bounded });
    const first = whereabouts(vmi, now, from);
    if (first !== 'moving') return first.node;
    const options = {
      namespace: key.namespace,
      fieldSelector: `metadata.name=${key.name}`,
      resourceVersion: now.metadata.resourceVersion ?? '',
      signal: bounded,
    };
    for await (const { type, object } of client.watch(VirtualMachineInstanceKind, options)) {
      if (type === 'DELETED' || type === 'ERROR') return undefined;
      const next = type === 'BOOKMARK' ? 'moving' : whereabouts(vmi, object, from);
      // a migration was under way: the guest that is still there has stayed
      if (next !== 'moving') return next.node ?? (isRunning(vmi, object) ? from : undefined);
    }
    return undefined;
  } catch (error) {
    if (isNotFound(error) || bounded.aborted) return undefined;
    throw error;
  }
}

const isRunning = (vmi: VirtualMachineInstance, { metadata, status }: VirtualMachineInstance): boolean =>
  metadata.uid === vmi.metadata.uid && status?.phase === VmiPhase.running;

function whereabouts(
  vmi: VirtualMachineInstance,
  now: VirtualMachineInstance,
  from: string,
): 'moving' | { readonly node: string | undefined } {
  const { nodeName, migrationState: state } = now.status ?? {};
  if (!isRunning(vmi, now)) return { node: undefined };
  if (nodeName !== undefined && nodeName !== from) return { node: nodeName };
  return state?.startTimestamp !== undefined && !state.completed ? 'moving' : { node: undefined };
}
