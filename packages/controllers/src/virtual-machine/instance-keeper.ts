import {
  Finalizer,
  Reason,
  type VirtualMachine,
  type VirtualMachineInstance,
  VirtualMachineInstanceKind,
  VirtualMachineKind,
  VmiPhase,
} from '@slipway/api';
import { controllerOf, formatTime, isNotFound, keyOf } from '@slipway/apimachinery';
import type { Client } from '@slipway/client';
import type { Clock, EventRecorder } from '@slipway/runtime';
import type { FreshObjects } from '../virtual-machine-instance/fresh-objects.ts';
import { isDeleting, isFinal } from '../virtual-machine-instance/instance-state.ts';
import { ownerReferenceTo } from './start-revision.ts';

export interface InstanceKeeperDeps {
  readonly client: Client;
  readonly events: EventRecorder;
  readonly clock: Clock;
  readonly vms: FreshObjects<VirtualMachine>;
  readonly vmis: FreshObjects<VirtualMachineInstance>;
}

/** Whether the VM is the controller of this instance. */
export function isOwnedBy(vmi: VirtualMachineInstance, vm: VirtualMachine): boolean {
  return controllerOf(vmi)?.uid === vm.metadata.uid;
}

/** The instance with the VM's name, if it is the VM's. */
export function ownInstance({ vmis }: InstanceKeeperDeps, vm: VirtualMachine): VirtualMachineInstance | undefined {
  const vmi = vmis.get(keyOf(vm));
  return vmi !== undefined && isOwnedBy(vmi, vm) ? vmi : undefined;
}

/** The instance with the VM's name, whoever has it; one without controller becomes the VM's. */
export async function adoptedInstance(
  { client, vmis }: InstanceKeeperDeps,
  vm: VirtualMachine,
  signal: AbortSignal,
): Promise<VirtualMachineInstance | undefined> {
  const vmi = vmis.get(keyOf(vm));
  if (vmi === undefined || controllerOf(vmi) !== undefined || isDeleting(vmi)) return vmi;
  const ownerReferences = [...(vmi.metadata.ownerReferences ?? []), ownerReferenceTo(vm)];
  const patch = { metadata: { ownerReferences, resourceVersion: vmi.metadata.resourceVersion } };
  return vmis.remember(await client.patch(VirtualMachineInstanceKind, keyOf(vmi), patch, { type: 'merge', signal }));
}

/** Asks for the deletion of the instance; answers the instance as it is known from then on. */
export async function deleteInstance(
  { client, events, vmis, clock }: InstanceKeeperDeps,
  vm: VirtualMachine,
  vmi: VirtualMachineInstance,
  signal: AbortSignal,
): Promise<VirtualMachineInstance> {
  const { uid } = vmi.metadata;
  try {
    const preconditions = uid === undefined ? {} : { preconditions: { uid } };
    await client.delete(VirtualMachineInstanceKind, keyOf(vmi), { ...preconditions, signal });
  } catch (error) {
    if (isNotFound(error)) return vmi;
    events.warning(vm, Reason.failedDelete, `Error deleting virtual machine instance ${vmi.metadata.name}: ${String(error)}`);
    throw new Error(`Cannot delete the instance of ${vm.metadata.name}`, { cause: error });
  }
  const deletionTimestamp = formatTime(clock.now());
  vmis.rememberDeletion(vmi, deletionTimestamp);
  events.normal(vm, Reason.successfulDelete, `Stopped the virtual machine by deleting the virtual machine instance ${uid}`);
  return { ...vmi, metadata: { ...vmi.metadata, deletionTimestamp } };
}

/** Drops our finalizer of an ended instance that is being deleted; the VMI controller holds its own until the pod is gone. */
export async function releaseInstance(
  { client, vmis }: InstanceKeeperDeps,
  vmi: VirtualMachineInstance | undefined,
  signal: AbortSignal,
): Promise<void> {
  const finalizers = vmi?.metadata.finalizers ?? [];
  // a receiver that waits has nothing that could end
  const isOver = vmi !== undefined && (isFinal(vmi) || vmi.status?.phase === VmiPhase.waitingForSync);
  if (!isOver || !isDeleting(vmi) || !finalizers.includes(Finalizer.virtualMachineController)) return;
  const left = finalizers.filter((finalizer) => finalizer !== Finalizer.virtualMachineController);
  const patch = { metadata: { finalizers: left.length === 0 ? null : left, resourceVersion: vmi.metadata.resourceVersion } };
  try {
    vmis.remember(await client.patch(VirtualMachineInstanceKind, keyOf(vmi), patch, { type: 'merge', signal }));
  } catch (error) {
    if (!isNotFound(error)) throw error;
  }
}

/** The VM with the finalizer that lets its instance end first. */
export async function withFinalizer(deps: InstanceKeeperDeps, vm: VirtualMachine, signal: AbortSignal): Promise<VirtualMachine> {
  const finalizers = vm.metadata.finalizers ?? [];
  if (finalizers.includes(Finalizer.virtualMachineController)) return vm;
  return (await patchFinalizers(deps, vm, [...finalizers, Finalizer.virtualMachineController], signal)) ?? vm;
}

/** Lets a VM go that is being deleted. */
export async function dropFinalizer(deps: InstanceKeeperDeps, vm: VirtualMachine, signal: AbortSignal): Promise<void> {
  const finalizers = vm.metadata.finalizers ?? [];
  if (!finalizers.includes(Finalizer.virtualMachineController)) return;
  await patchFinalizers(
    deps,
    vm,
    finalizers.filter((finalizer) => finalizer !== Finalizer.virtualMachineController),
    signal,
  );
}

async function patchFinalizers(
  { client, vms }: InstanceKeeperDeps,
  vm: VirtualMachine,
  finalizers: readonly string[],
  signal: AbortSignal,
): Promise<VirtualMachine | undefined> {
  const { resourceVersion } = vm.metadata;
  const patch = { metadata: { finalizers: finalizers.length === 0 ? null : finalizers, resourceVersion } };
  try {
    return vms.remember(await client.patch(VirtualMachineKind, keyOf(vm), patch, { type: 'merge', signal }));
  } catch (error) {
    if (isNotFound(error)) return undefined;
    throw error;
  }
}
