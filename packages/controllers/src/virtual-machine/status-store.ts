import {
  type DataVolume,
  type kubevirt,
  type PersistentVolumeClaim,
  type VirtualMachine,
  type VirtualMachineInstance,
  VirtualMachineKind,
} from '@slipway/api';
import { deepEqual, formatTime, isNotFound, keyOf } from '@slipway/apimachinery';
import type { Client } from '@slipway/client';
import type { Clock, Lister } from '@slipway/runtime';
import { claimedVolumes } from '../virtual-machine-instance/claims.ts';
import type { FreshObjects } from '../virtual-machine-instance/fresh-objects.ts';
import type { PowerPlan } from './power-plan.ts';
import type { TemplateChange } from './restart-required.ts';
import type { SyncFailure } from './vm-conditions.ts';
import { vmStatus } from './vm-status.ts';

export interface StatusStoreDeps {
  readonly client: Client;
  readonly clock: Clock;
  readonly vms: FreshObjects<VirtualMachine>;
  readonly dataVolumes: Lister<DataVolume> | FreshObjects<DataVolume>;
  readonly claims: Lister<PersistentVolumeClaim>;
  /** Which volumes a snapshot would hold. */
  readonly snapshotStatuses?: (vm: VirtualMachine, vmi: VirtualMachineInstance | undefined) => kubevirt.VolumeSnapshotStatus[];
}

/** What one pass has done so far; becomes the status. */
export interface Outcome {
  vmi: VirtualMachineInstance | undefined;
  isStarting: boolean;
  isStopping: boolean;
  /** The VM shall start as soon as its disks are there. */
  isHeldBack?: boolean;
  failure: SyncFailure | undefined;
  requeueAfterMs: number | undefined;
}

/** Writes the status if the pass has changed it. */
export async function storeStatus(
  deps: StatusStoreDeps,
  vm: VirtualMachine,
  outcome: Outcome,
  { requests }: Pick<PowerPlan, 'requests'>,
  { restartReason }: TemplateChange,
  signal: AbortSignal,
): Promise<void> {
  const { client, clock, vms, snapshotStatuses } = deps;
  const status = vmStatus({
    ...outcome,
    vm,
    requests,
    startFailure: vm.status?.startFailure,
    restartReason,
    ...storageOf(deps, vm),
    now: formatTime(clock.now()),
  });
  const volumeSnapshotStatuses = snapshotStatuses?.(vm, outcome.vmi) ?? [];
  if (volumeSnapshotStatuses.length > 0) status.volumeSnapshotStatuses = volumeSnapshotStatuses;
  else delete status.volumeSnapshotStatuses;
  if (deepEqual(status, vms.get(keyOf(vm))?.status ?? {})) return;
  try {
    vms.remember(await client.update(VirtualMachineKind, { ...vm, status }, { subresource: 'status', signal }));
  } catch (error) {
    if (!isNotFound(error)) throw error;
  }
}

interface VmStorage {
  readonly dataVolumes: readonly DataVolume[];
  readonly claims: readonly PersistentVolumeClaim[];
}

/** DataVolumes and claims that the VM uses, as far as they exist. */
function storageOf({ dataVolumes, claims }: StatusStoreDeps, vm: VirtualMachine): VmStorage {
  const namespace = vm.metadata.namespace ?? '';
  const names = new Set(claimedVolumes(vm.spec.template.spec).map(({ claimName }) => claimName));
  for (const { metadata } of vm.spec.dataVolumeTemplates ?? []) names.add(metadata.name ?? '');
  const isThere = <T>(object: T | undefined): object is T => object !== undefined;
  return {
    dataVolumes: [...names].map((name) => dataVolumes.get({ namespace, name })).filter(isThere),
    claims: [...names].map((name) => claims.get({ namespace, name })).filter(isThere),
  };
}
