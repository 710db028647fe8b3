import type { ControllerRevision, kubevirt, VirtualMachine, VirtualMachineInstance } from '@slipway/api';
import { Annotation, ControllerRevisionKind, Finalizer, Reason, VirtualMachineInstanceKind } from '@slipway/api';
import {
  controllerOf,
  ignoreAlreadyExists,
  ignoreNotFound,
  isAlreadyExists,
  isNotFound,
  keyOf,
  TerminalError,
} from '@slipway/apimachinery';
import type { Client } from '@slipway/client';
import { type EventRecorder, type Lister } from '@slipway/runtime';
import { wishesOf } from '../virtual-machine-instance/dynamic-metadata.ts';
import type { FreshObjects } from '../virtual-machine-instance/fresh-objects.ts';
import { isStartRevision, ownerReferenceTo, startRevision, startRevisionName } from './start-revision.ts';
import type { SyncFailure } from './vm-conditions.ts';

export interface InstanceCreationDeps {
  readonly client: Client;
  readonly events: EventRecorder;
  readonly vmis: FreshObjects<VirtualMachineInstance>;
  readonly revisions: Lister<ControllerRevision>;
  /**
   * The instance a VM asks for, with instance type and preference applied. Throws TerminalError, with the reason for
   * the Failure condition, when the VM cannot be rendered.
   */
  readonly renderInstance: (vm: VirtualMachine, signal: AbortSignal) => Promise<VirtualMachineInstance>;
}

export interface StartMode {
  readonly paused: boolean;
  readonly asReceiver: boolean;
}

/** Creates the instance and the record of what it was made from. */
export async function createInstance(
  deps: InstanceCreationDeps,
  vm: VirtualMachine,
  mode: StartMode,
  signal: AbortSignal,
): Promise<{ readonly vmi: VirtualMachineInstance | undefined; readonly failure: SyncFailure | undefined }> {
  const { client, events, vmis } = deps;
  try {
    const rendered = ownedInstance(vm, await deps.renderInstance(vm, signal), mode);
    // one that goes on with its memory keeps the record of its own start
    if (rendered.status?.virtualMachineRevisionName === startRevisionName(vm)) await recordStart(deps, vm, signal);
    const vmi = vmis.remember(await client.create(VirtualMachineInstanceKind, rendered, { signal }));
    events.normal(
      vm,
      Reason.successfulCreate,
      `Started the virtual machine by creating the new virtual machine instance ${vm.metadata.name}`,
    );
    return { vmi, failure: undefined };
  } catch (error) {
    if (signal.aborted) throw error;
    if (isAlreadyExists(error)) return { vmi: await existing(deps, vm, signal), failure: undefined };
    const message = error instanceof Error ? error.message : String(error);
    events.warning(vm, Reason.failedCreate, `Error creating virtual machine instance: ${message}`);
    return { vmi: undefined, failure: { reason: error instanceof TerminalError ? error.reason : Reason.failedCreate, message } };
  }
}

/** The rendered instance as this VM's: owner, finalizer, generation, and how it is to start. */
export function ownedInstance(vm: VirtualMachine, rendered: VirtualMachineInstance, mode: StartMode): VirtualMachineInstance {
  const { metadata } = rendered;
  const status: kubevirt.VirtualMachineInstanceStatus = {
    virtualMachineRevisionName: startRevisionName(vm),
    ...rendered.status,
  };
  const isResumed = status.virtualMachineRevisionName !== startRevisionName(vm);
  return {
    ...rendered,
    metadata: {
      ...metadata,
      ...(vm.metadata.name !== undefined && { name: vm.metadata.name }),
      namespace: vm.metadata.namespace ?? '',
      annotations: {
        ...metadata.annotations,
        ...wishesOf(vm),
        ...(!isResumed && { [Annotation.vmGeneration]: String(vm.metadata.generation ?? '') }),
        ...(mode.asReceiver && { [Annotation.createMigrationTarget]: 'true' }),
      },
      finalizers: [...new Set([...(metadata.finalizers ?? []), Finalizer.virtualMachineController])],
      ownerReferences: [ownerReferenceTo(vm)],
    },
    spec: { ...rendered.spec, ...(mode.paused && { startStrategy: 'Paused' }) },
    status,
  };
}

/** Another pass was faster, or the name is taken by an instance of somebody else. */
async function existing(
  deps: InstanceCreationDeps,
  vm: VirtualMachine,
  signal: AbortSignal,
): Promise<VirtualMachineInstance | undefined> {
  try {
    const vmi = await deps.client.get(VirtualMachineInstanceKind, keyOf(vm), { signal });
    return controllerOf(vmi)?.uid === vm.metadata.uid ? deps.vmis.remember(vmi) : undefined;
  } catch (error) {
    if (isNotFound(error)) return undefined;
    throw error;
  }
}

/** Only the newest start revision is kept. */
async function recordStart({ client, revisions }: InstanceCreationDeps, vm: VirtualMachine, signal: AbortSignal): Promise<void> {
  const name = startRevisionName(vm);
  const known = revisions.ownedBy(vm.metadata.uid ?? '').filter(isStartRevision);
  if (!known.some((revision) => revision.metadata.name === name)) {
    await client.create(ControllerRevisionKind, startRevision(vm), { signal }).catch(ignoreAlreadyExists);
  }
  await Promise.all(
    known
      .filter((revision) => revision.metadata.name !== name)
      .map((revision) => client.delete(ControllerRevisionKind, keyOf(revision), { signal }).catch(ignoreNotFound)),
  );
}
