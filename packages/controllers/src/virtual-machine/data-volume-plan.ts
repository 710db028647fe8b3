import type { DataVolume, kubevirt, PersistentVolumeClaim, VirtualMachine } from '@slipway/api';
import { Annotation, Label } from '@slipway/api';
import { controllerOf, type ObjectMeta } from '@slipway/apimachinery';
import { destinations } from '../volume-migration/migration-record.ts';
import { ownerReferenceTo } from './start-revision.ts';

export interface DataVolumePlan {
  readonly create: readonly DataVolume[];
  /** Exist without a controlling owner: become the VM's. */
  readonly adopt: readonly DataVolume[];
  readonly failed: readonly DataVolume[];
  /** Whether an instance may be created as far as the templates are concerned. */
  readonly areReady: boolean;
}

/** Phases in which the launcher pod may consume the volume. */
const READY: readonly string[] = ['Succeeded', 'WaitForFirstConsumer', 'PendingPopulation'];

/** What is to be done about `spec.dataVolumeTemplates`; lookups are by name in the VM's namespace. */
export function planDataVolumes(
  vm: VirtualMachine,
  dataVolumeOf: (name: string) => DataVolume | undefined,
  claimOf: (name: string) => PersistentVolumeClaim | undefined,
): DataVolumePlan {
  const isImmediate = vm.metadata.annotations?.[Annotation.immediateDataVolumeCreation] !== 'false';
  const templates = (vm.spec.dataVolumeTemplates ?? []).map((template) => ({
    template,
    existing: dataVolumeOf(template.metadata.name ?? ''),
  }));
  const existing = templates.flatMap((entry) => (entry.existing === undefined ? [] : [entry.existing]));
  // a claim without DataVolume was populated earlier, or restored: it is used as it is
  // what is moved to another claim is made, and filled, by the migration of volumes
  const pending = new Set(destinations(vm).values());
  const missing = templates.filter(
    (entry) =>
      !pending.has(entry.template.metadata.name ?? '') &&
      entry.existing === undefined &&
      claimOf(entry.template.metadata.name ?? '') === undefined,
  );
  return {
    // a restore may have taken the old disk away and not yet put the other one in its place
    create:
      isImmediate && vm.status?.restoreInProgress === undefined
        ? missing.map(({ template }) => dataVolumeFrom(vm, template))
        : [],
    adopt: existing.filter(
      ({ metadata }) => metadata.deletionTimestamp === undefined && controllerOf({ metadata }) === undefined,
    ),
    failed: existing.filter(({ status }) => status?.phase === 'Failed'),
    areReady: pending.size === 0 && missing.length === 0 && existing.every(({ status }) => READY.includes(status?.phase ?? '')),
  };
}

function dataVolumeFrom(vm: VirtualMachine, template: kubevirt.DataVolumeTemplateSpec): DataVolume {
  const { name, labels, annotations } = template.metadata;
  const metadata: ObjectMeta = {
    ...(name !== undefined && { name }),
    namespace: vm.metadata.namespace ?? '',
    labels: { ...labels, [Label.createdBy]: vm.metadata.uid ?? '' },
    ...(annotations && { annotations: { ...annotations } }),
    ownerReferences: [ownerReferenceTo(vm)],
  };
  // both kinds carry the same CDI spec; the generator typed it once per group
  return { apiVersion: 'cdi.kubevirt.io/v1beta1', kind: 'DataVolume', metadata, spec: template.spec as DataVolume['spec'] };
}

/** A source in another namespace that the VM's service account must be allowed to clone from. */
export interface CloneSource {
  readonly namespace: string;
  readonly name: string;
  readonly serviceAccount: string;
}

/** The other namespace from which the DataVolume clones directly (claim or snapshot). */
export function directCloneSource(vm: VirtualMachine, dataVolume: DataVolume): CloneSource | undefined {
  const spec: { source?: { pvc?: SourceName; snapshot?: SourceName } } = dataVolume.spec;
  return cloneSource(vm, spec.source?.pvc ?? spec.source?.snapshot);
}

/** As `directCloneSource`, for a source found behind a DataSource. */
export function cloneSource(vm: VirtualMachine, source: SourceName | undefined): CloneSource | undefined {
  if (source?.namespace === undefined || source.namespace === vm.metadata.namespace) return undefined;
  return { namespace: source.namespace, name: source.name ?? '', serviceAccount: serviceAccountOf(vm) };
}

export interface SourceName {
  readonly namespace?: string;
  readonly name?: string;
}

function serviceAccountOf(vm: VirtualMachine): string {
  const volume = vm.spec.template.spec?.volumes?.find(({ serviceAccount }) => serviceAccount?.serviceAccountName !== undefined);
  return volume?.serviceAccount?.serviceAccountName ?? 'default';
}
