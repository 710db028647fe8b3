import type { VirtualMachine, VirtualMachineInstance } from '@slipway/api';
import { VirtualMachineInstanceKind, VirtualMachineKind } from '@slipway/api';
import { isNotFound } from '@slipway/apimachinery';
import type { Client } from '@slipway/client';
import type { NodeConnector, RouteRequest } from '@slipway/runtime';
import type { ClusterConfig } from '@slipway/virt';
import { vmiNotFound, vmNotFound } from './errors.ts';

export interface VersionInfo {
  readonly gitVersion: string;
  readonly gitCommit: string;
  readonly gitTreeState: string;
  readonly buildDate: string;
  readonly goVersion: string;
  readonly compiler: string;
  readonly platform: string;
}

export interface SubresourceDeps {
  /** Acts with the platform's own rights: the caller's right to the subresource was checked before. */
  readonly client: Client;
  readonly nodes: NodeConnector;
  readonly version: VersionInfo;
  readonly config: () => ClusterConfig;
  /** The VM with instance type and preference applied and the matchers removed. */
  readonly expandVm: (vm: VirtualMachine, signal: AbortSignal) => Promise<VirtualMachine>;
}

export async function getVm({ client }: SubresourceDeps, { namespace, name, signal }: RouteRequest): Promise<VirtualMachine> {
  try {
    return await client.get(VirtualMachineKind, { namespace, name }, { signal });
  } catch (error) {
    throw isNotFound(error) ? vmNotFound(name) : error;
  }
}

export async function findVmi(
  { client }: SubresourceDeps,
  { namespace, name, signal }: RouteRequest,
): Promise<VirtualMachineInstance | undefined> {
  try {
    return await client.get(VirtualMachineInstanceKind, { namespace, name }, { signal });
  } catch (error) {
    if (isNotFound(error)) return undefined;
    throw error;
  }
}

export async function getVmi(deps: SubresourceDeps, request: RouteRequest): Promise<VirtualMachineInstance> {
  const vmi = await findVmi(deps, request);
  if (vmi === undefined) throw vmiNotFound(request.name);
  return vmi;
}
