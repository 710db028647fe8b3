import {
  type kubevirt,
  type PersistentVolumeClaim,
  PersistentVolumeClaimKind,
  type VirtualMachine,
  type VirtualMachineInstance,
  VirtualMachineKind,
  VmiPhase,
} from '@slipway/api';
import { badRequest, isNotFound, notFound, parseQuantity, quantityValue } from '@slipway/apimachinery';
import type { RouteRequest, RouteResponse } from '@slipway/runtime';
import { findVmi, getVm, type SubresourceDeps } from './deps.ts';
import { gateClosed, vmConflict } from './errors.ts';
import { isDryRun, optionsOf } from './request-body.ts';

type DumpRequest = kubevirt.VirtualMachineMemoryDumpRequest;

const ACCEPTED: RouteResponse = { status: 202 };
/** What a dump needs beyond the guest's memory. */
const OVERHEAD_BYTES = 100 * 1024 * 1024;

const bytesOf = (quantity: string | number | undefined): number =>
  quantity === undefined ? 0 : Number(quantityValue(parseQuantity(String(quantity))));

/** PUT memorydump: asks for the guest's memory in a claim; a controller does the work. */
export async function requestMemoryDump(deps: SubresourceDeps, request: RouteRequest): Promise<RouteResponse> {
  const { hasGate } = deps.config();
  if (!hasGate('DeclarativeHotplugVolumes') && !hasGate('HotplugVolumes')) throw gateClosed('HotplugVolumes');
  const options = optionsOf(request.body);
  const vm = await getVm(deps, request);
  const before = vm.status?.memoryDumpRequest;
  const claimName = claimOf(request.name, options['claimName'], before);
  const vmi = await findVmi(deps, request);
  if (vmi?.status?.phase !== VmiPhase.running) throw vmConflict(request.name, 'VM is not running');
  checkSize(request.name, await claim(deps, request, claimName), vmi);
  await store(deps, vm, { claimName, phase: 'Associating' }, isDryRun(options), request.signal);
  return ACCEPTED;
}

function claimOf(vmName: string, asked: unknown, before: DumpRequest | undefined): string {
  const wanted = typeof asked === 'string' && asked !== '' ? asked : undefined;
  if (before === undefined) {
    if (wanted === undefined) throw badRequest('Claim name is required on initial memory dump');
    return wanted;
  }
  if (wanted !== undefined && wanted !== before.claimName)
    throw vmConflict(vmName, `unable to complete request: the VM is already associated with claim ${before.claimName}`);
  if (before.phase !== 'Completed' && before.phase !== 'Failed')
    throw vmConflict(vmName, `unable to complete request: a memory dump is in phase ${before.phase}`);
  return before.claimName;
}

async function claim(
  { client }: SubresourceDeps,
  { namespace, signal }: RouteRequest,
  name: string,
): Promise<PersistentVolumeClaim> {
  try {
    return await client.get(PersistentVolumeClaimKind, { namespace, name }, { signal });
  } catch (error) {
    if (isNotFound(error)) throw notFound({ resource: 'persistentvolumeclaims', group: '' }, name);
    throw error;
  }
}

function checkSize(vmName: string, { metadata, spec, status }: PersistentVolumeClaim, vmi: VirtualMachineInstance): void {
  if (spec?.volumeMode === 'Block') throw vmConflict(vmName, `pvc ${metadata.name} should be filesystem pvc`);
  if (spec?.accessModes?.every((mode) => mode === 'ReadOnlyMany') === true)
    throw vmConflict(vmName, `pvc ${metadata.name} can only be read`);
  const needed = guestBytes(vmi) + OVERHEAD_BYTES;
  if (bytesOf(status?.capacity?.['storage'] ?? spec?.resources?.requests?.['storage']) < needed)
    throw vmConflict(vmName, `pvc ${metadata.name} size should be at least ${needed} bytes for this guest's memory`);
}

const guestBytes = ({ spec: { domain } }: VirtualMachineInstance): number =>
  bytesOf(domain.memory?.guest ?? domain.resources?.requests?.['memory']);

/** PUT removememorydump: ends the association with the claim; what was written stays there. */
export async function removeMemoryDump(deps: SubresourceDeps, request: RouteRequest): Promise<RouteResponse> {
  const vm = await getVm(deps, request);
  const before = vm.status?.memoryDumpRequest;
  if (before === undefined) throw vmConflict(request.name, 'unable to complete request: the VM has no memory dump');
  if (before.remove === true) throw vmConflict(request.name, 'unable to complete request: the memory dump is being removed');
  const removal = { ...before, phase: 'Dissociating', remove: true };
  await store(deps, vm, removal, isDryRun(optionsOf(request.body)), request.signal);
  return ACCEPTED;
}

async function store(
  { client }: SubresourceDeps,
  vm: VirtualMachine,
  memoryDumpRequest: DumpRequest,
  dryRun: boolean,
  signal: AbortSignal,
): Promise<void> {
  const { namespace = '', name = '', resourceVersion } = vm.metadata;
  const before = vm.status?.memoryDumpRequest;
  // fields of the dump before must go
  const cleared = Object.fromEntries(Object.keys(before ?? {}).map((key) => [key, null]));
  const patch = { metadata: { resourceVersion }, status: { memoryDumpRequest: { ...cleared, ...memoryDumpRequest } } };
  await client.patch(VirtualMachineKind, { namespace, name }, patch, { type: 'merge', subresource: 'status', dryRun, signal });
}
