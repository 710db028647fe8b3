import type { kubevirt, VirtualMachine, VirtualMachineInstance } from '@slipway/api';
import { VirtualMachineInstanceKind, VirtualMachineKind, VmiPhase } from '@slipway/api';
import { deepEqual, keyOf } from '@slipway/apimachinery';
import type { Client } from '@slipway/client';
import type { FreshObjects } from '../virtual-machine-instance/fresh-objects.ts';
import { VolumeConflict, withoutVolume, withVolume } from './volume-requests.ts';

type Spec = kubevirt.VirtualMachineInstanceSpec;

export interface VolumeRequestDeps {
  readonly client: Client;
  readonly vms: FreshObjects<VirtualMachine>;
  readonly vmis: FreshObjects<VirtualMachineInstance>;
}

/** What all requests together make of a spec; those that are followed already change nothing. */
export function withRequests(spec: Spec, requests: readonly kubevirt.VirtualMachineVolumeRequest[]): Spec {
  return requests.reduce((now, { addVolumeOptions: add, removeVolumeOptions: remove }) => {
    try {
      if (add) return withVolume(now, { ...add, disk: { ...add.disk, name: add.name } });
      return remove ? withoutVolume(now, remove.name) : now;
    } catch (error) {
      if (error instanceof VolumeConflict) return now;
      throw error;
    }
  }, spec);
}

/**
 * Follows `status.volumeRequests`: the template first, so that the request outlives the instance, then the running
 * instance. Answers both as they are now; the VM without the requests, which the caller stores.
 */
export async function followVolumeRequests(
  { client, vms, vmis }: VolumeRequestDeps,
  vm: VirtualMachine,
  vmi: VirtualMachineInstance | undefined,
  signal: AbortSignal,
): Promise<{ readonly vm: VirtualMachine; readonly vmi: VirtualMachineInstance | undefined }> {
  const requests = vm.status?.volumeRequests ?? [];
  if (requests.length === 0) return { vm, vmi };
  const template = vm.spec.template.spec ?? { domain: { devices: {} } };
  const next = withRequests(template, requests);
  let changed = vm;
  if (!deepEqual(next, template)) {
    const patch = { metadata: { resourceVersion: vm.metadata.resourceVersion }, spec: { template: { spec: listsOf(next) } } };
    changed = vms.remember(await client.patch(VirtualMachineKind, keyOf(vm), patch, { type: 'merge', signal }));
  }
  const instance = await changedInstance({ client, vms, vmis }, vmi, requests, signal);
  const { volumeRequests: _, ...status } = changed.status ?? {};
  return { vm: { ...changed, status }, vmi: instance };
}

async function changedInstance(
  { client, vmis }: VolumeRequestDeps,
  vmi: VirtualMachineInstance | undefined,
  requests: readonly kubevirt.VirtualMachineVolumeRequest[],
  signal: AbortSignal,
): Promise<VirtualMachineInstance | undefined> {
  if (vmi?.status?.phase !== VmiPhase.running) return vmi;
  const next = withRequests(vmi.spec, requests);
  if (deepEqual(next, vmi.spec)) return vmi;
  const patch = { metadata: { resourceVersion: vmi.metadata.resourceVersion }, spec: listsOf(next) };
  return vmis.remember(await client.patch(VirtualMachineInstanceKind, keyOf(vmi), patch, { type: 'merge', signal }));
}

/** The two lists that a change of volumes touches, as a merge patch. */
function listsOf({ volumes = [], domain }: Spec): object {
  return { volumes, domain: { devices: { disks: domain.devices.disks ?? [] } } };
}
