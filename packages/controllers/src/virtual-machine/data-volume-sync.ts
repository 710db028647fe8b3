import type { DataSource, DataVolume, PersistentVolumeClaim, VirtualMachine } from '@slipway/api';
import { DataVolumeKind, Reason } from '@slipway/api';
import { isAlreadyExists, keyOf } from '@slipway/apimachinery';
import type { Client } from '@slipway/client';
import { type EventRecorder, isAllowed, type Lister, serviceAccountUser } from '@slipway/runtime';
import type { FreshObjects } from '../virtual-machine-instance/fresh-objects.ts';
import { type CloneSource, cloneSource, type DataVolumePlan, directCloneSource, planDataVolumes } from './data-volume-plan.ts';
import { ownerReferenceTo } from './start-revision.ts';
import type { SyncFailure } from './vm-conditions.ts';

export interface DataVolumeSyncDeps {
  readonly client: Client;
  readonly events: EventRecorder;
  readonly dataVolumes: FreshObjects<DataVolume>;
  readonly dataSources: Lister<DataSource>;
  readonly claims: Lister<PersistentVolumeClaim>;
  /** Storage class that the VM's preference wants for templates without one. */
  readonly preferredStorageClass?: (vm: VirtualMachine, signal: AbortSignal) => Promise<string | undefined>;
}

export interface DataVolumeSync {
  readonly areReady: boolean;
  readonly failure: SyncFailure | undefined;
}

/** Brings `spec.dataVolumeTemplates` into being; a refusal becomes a failure that the next pass tries again. */
export async function syncDataVolumes(
  deps: DataVolumeSyncDeps,
  vm: VirtualMachine,
  signal: AbortSignal,
): Promise<DataVolumeSync> {
  const namespace = vm.metadata.namespace ?? '';
  const plan = planDataVolumes(
    vm,
    (name) => deps.dataVolumes.get({ namespace, name }),
    (name) => deps.claims.get({ namespace, name }),
  );
  reportFailed(deps, vm, plan);
  for (const dataVolume of plan.adopt) await adopt(deps, vm, dataVolume, signal);
  let areReady = plan.areReady;
  for (const planned of plan.create) {
    const dataVolume = await withPreferredClass(deps, vm, planned, signal);
    const failure = await create(deps, vm, dataVolume, signal);
    if (failure !== undefined) return { areReady: false, failure };
    areReady = false;
  }
  return { areReady, failure: undefined };
}

function reportFailed({ events }: DataVolumeSyncDeps, vm: VirtualMachine, { failed }: DataVolumePlan): void {
  for (const { metadata } of failed)
    events.warning(vm, Reason.failedDataVolumeImport, `DataVolume ${metadata.name} failed to import disk image`);
}

async function adopt(
  { client, dataVolumes }: DataVolumeSyncDeps,
  vm: VirtualMachine,
  dataVolume: DataVolume,
  signal: AbortSignal,
): Promise<void> {
  const ownerReferences = [...(dataVolume.metadata.ownerReferences ?? []), ownerReferenceTo(vm)];
  const patch = { metadata: { ownerReferences, resourceVersion: dataVolume.metadata.resourceVersion } };
  dataVolumes.remember(await client.patch(DataVolumeKind, keyOf(dataVolume), patch, { type: 'merge', signal }));
}

async function create(
  deps: DataVolumeSyncDeps,
  vm: VirtualMachine,
  dataVolume: DataVolume,
  signal: AbortSignal,
): Promise<SyncFailure | undefined> {
  const { client, events, dataVolumes } = deps;
  const { name } = dataVolume.metadata;
  try {
    const source = sourceOf(deps, vm, dataVolume);
    if (source !== undefined && !(await mayClone(client, vm, source, signal))) {
      const message = `Service account ${source.serviceAccount} of namespace ${vm.metadata.namespace} may not clone from namespace ${source.namespace}; grant it "create" on datavolumes/source there`;
      events.warning(vm, Reason.unauthorizedDataVolumeCreate, `Not authorized to create DataVolume ${name}: ${message}`);
      return { reason: Reason.failedCreate, message };
    }
    dataVolumes.remember(await client.create(DataVolumeKind, dataVolume, { signal }));
    events.normal(vm, Reason.successfulDataVolumeCreate, `Created DataVolume ${name}`);
    return undefined;
  } catch (error) {
    if (isAlreadyExists(error)) return undefined;
    if (signal.aborted) throw error;
    const message = `Error creating DataVolume ${name}: ${error instanceof Error ? error.message : String(error)}`;
    events.warning(vm, Reason.failedDataVolumeCreate, message);
    return { reason: Reason.failedCreate, message };
  }
}

async function withPreferredClass(
  deps: DataVolumeSyncDeps,
  vm: VirtualMachine,
  dataVolume: DataVolume,
  signal: AbortSignal,
): Promise<DataVolume> {
  const { pvc, storage } = dataVolume.spec;
  if (vm.spec.preference === undefined || (pvc ?? storage)?.storageClassName !== undefined) return dataVolume;
  const storageClassName = await deps.preferredStorageClass?.(vm, signal);
  if (storageClassName === undefined || storageClassName === '') return dataVolume;
  const spec = {
    ...dataVolume.spec,
    ...(pvc && { pvc: { ...pvc, storageClassName } }),
    ...(storage && { storage: { ...storage, storageClassName } }),
  };
  return { ...dataVolume, spec };
}

function sourceOf(deps: DataVolumeSyncDeps, vm: VirtualMachine, dataVolume: DataVolume): CloneSource | undefined {
  const { sourceRef } = dataVolume.spec;
  if (sourceRef?.kind !== 'DataSource') return directCloneSource(vm, dataVolume);
  const key = { namespace: sourceRef.namespace ?? vm.metadata.namespace ?? '', name: sourceRef.name };
  const dataSource = deps.dataSources.get(key);
  // a DataSource that does not exist yet is refused by nobody: the DataVolume waits for it and CDI checks again
  const resolved = dataSource?.status?.source ?? dataSource?.spec.source;
  return cloneSource(vm, resolved?.pvc ?? resolved?.snapshot);
}

/** Asks the API server whether the VM's service account may clone from that namespace. */
function mayClone(client: Client, vm: VirtualMachine, source: CloneSource, signal: AbortSignal): Promise<boolean> {
  const { serviceAccount, namespace, name } = source;
  const question = { verb: 'create', group: 'cdi.kubevirt.io', resource: 'datavolumes', subresource: 'source', namespace, name };
  return isAllowed(client, serviceAccountUser(vm.metadata.namespace ?? '', serviceAccount), question, signal);
}
