import type { StreamAcceptor } from '@slipway/runtime';
import { resourceNotFound } from '../pipeline/resource-handler.ts';
import type { Call } from '../pipeline/server-context.ts';

/** exec, attach and port-forward of pods, and watches over WebSocket. Throws StatusError. */
export async function openSubresourceStream(_call: Call): Promise<StreamAcceptor> {
  throw resourceNotFound();
}
