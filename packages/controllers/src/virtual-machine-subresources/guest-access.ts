import type { VirtualMachineInstance } from '@slipway/api';
import { VmiPhase } from '@slipway/api';
import { badRequest } from '@slipway/apimachinery';
import type { RouteRequest } from '@slipway/runtime';
import type { SubresourceDeps } from './deps.ts';

/** The node that holds the guest. Throws 400 unless the instance has been handed to a node. */
export function nodeOf(vmi: VirtualMachineInstance): string {
  const phase = vmi.status?.phase ?? '';
  const nodeName = vmi.status?.nodeName;
  if ((phase !== VmiPhase.running && phase !== VmiPhase.scheduled) || nodeName === undefined)
    throw badRequest(`Unable to connect to VirtualMachineInstance because phase is ${phase} instead of ${VmiPhase.running}`);
  return nodeName;
}

export function callParams(vmi: VirtualMachineInstance): { namespace: string; name: string; uid: string } {
  const { namespace = '', name = '', uid = '' } = vmi.metadata;
  return { namespace, name, uid };
}

/** Asks the agent of the guest's node. */
export function callAgent(
  { nodes }: SubresourceDeps,
  vmi: VirtualMachineInstance,
  verb: string,
  { signal }: RouteRequest,
  params: Readonly<Record<string, unknown>> = {},
): Promise<unknown> {
  return nodes.call(nodeOf(vmi), { verb, params: { ...callParams(vmi), ...params } }, signal);
}
