import type { ControllerRevision, kubevirt, VirtualMachine, VirtualMachineInstance, VolumeSnapshot } from '@slipway/api';
import { VirtualMachineSnapshotContentKind, VirtualMachineSnapshotKind } from '@slipway/api';
import { controllerReference } from '@slipway/apimachinery';
import { recordedSpec } from '../virtual-machine/start-revision.ts';
import { isRunning, type VmSnapshot, type VmSnapshotContent, VmSnapshotFinalizer } from './snapshot-state.ts';
import type { SourceVolume, SourceVolumes } from './source-volumes.ts';

/** Name of the content that belongs to a snapshot. */
export const contentNameOf = (snapshot: VmSnapshot): string => `vmsnapshot-content-${snapshot.metadata.uid}`;

/** Name of the volume snapshot of one volume. */
const volumeSnapshotName = (snapshot: VmSnapshot, volume: string): string =>
  `vmsnapshot-${snapshot.metadata.uid}-volume-${volume}`;

export interface ContentSource {
  readonly vm: VirtualMachine;
  readonly vmi: VirtualMachineInstance | undefined;
  /** What the VM looked like when its running instance was started. */
  readonly startRevision: ControllerRevision | undefined;
  readonly volumes: SourceVolumes;
}

/** The record of a VM and its volumes. Pure. */
export function renderContent(snapshot: VmSnapshot, source: ContentSource): VmSnapshotContent {
  const { name: snapshotName = '', namespace = '' } = snapshot.metadata;
  return {
    apiVersion: 'snapshot.kubevirt.io/v1beta1',
    kind: 'VirtualMachineSnapshotContent',
    metadata: {
      name: contentNameOf(snapshot),
      namespace,
      finalizers: [VmSnapshotFinalizer.content],
      // a kept content outlives its snapshot
      ...(snapshot.spec.deletionPolicy !== 'Retain' && {
        ownerReferences: [controllerReference(snapshot, VirtualMachineSnapshotKind)],
      }),
    },
    spec: {
      virtualMachineSnapshotName: snapshotName,
      source: { virtualMachine: recordedVm(source) },
      volumeBackups: source.volumes.included.map((volume) => volumeBackup(snapshot, volume)),
    },
  };
}

function recordedVm({ vm, vmi, startRevision, volumes }: ContentSource): kubevirt.V1beta1VirtualMachine {
  const { name, namespace, uid, labels, annotations, generation } = vm.metadata;
  const started = isRunning(vmi) ? recordedSpec(startRevision) : undefined;
  const { instancetypeRef, preferenceRef } = vm.status ?? {};
  return {
    // the same shape as every object's metadata
    metadata: {
      ...{ name, namespace, uid, generation },
      ...(labels && { labels: { ...labels } }),
      ...(annotations && { annotations: withoutLastApplied(annotations) }),
    } as NonNullable<kubevirt.V1beta1VirtualMachine['metadata']>,
    spec: withPlugged(started === undefined ? vm.spec : { ...started, ...powerOf(vm) }, vmi, volumes),
    ...((instancetypeRef ?? preferenceRef) && {
      status: { ...(instancetypeRef && { instancetypeRef }), ...(preferenceRef && { preferenceRef }) },
    }),
  };
}

const powerOf = ({ spec }: VirtualMachine): Pick<VirtualMachine['spec'], 'runStrategy' | 'running'> => ({
  ...(spec.runStrategy !== undefined && { runStrategy: spec.runStrategy }),
  ...(spec.running !== undefined && { running: spec.running }),
});

/** Volumes that were plugged into the running instance alone are part of the snapshot. */
function withPlugged(
  spec: VirtualMachine['spec'],
  vmi: VirtualMachineInstance | undefined,
  { included }: SourceVolumes,
): VirtualMachine['spec'] {
  const template = spec.template.spec;
  if (!isRunning(vmi) || template === undefined) return spec;
  const known = new Set((template.volumes ?? []).map(({ name }) => name));
  const isPlugged = ({ name }: { readonly name: string }): boolean =>
    !known.has(name) && included.some(({ volumeName }) => volumeName === name);
  const volumes = (vmi.spec.volumes ?? []).filter(isPlugged);
  if (volumes.length === 0) return spec;
  const disks = (vmi.spec.domain.devices.disks ?? []).filter(isPlugged);
  const { domain } = template;
  const devices = { ...domain.devices, disks: [...(domain.devices.disks ?? []), ...disks] };
  const next = { ...template, domain: { ...domain, devices }, volumes: [...(template.volumes ?? []), ...volumes] };
  return { ...spec, template: { ...spec.template, spec: next } };
}

function volumeBackup(snapshot: VmSnapshot, { volumeName, claim }: SourceVolume): kubevirt.VolumeBackup {
  const { name, namespace, labels, annotations } = claim.metadata;
  return {
    volumeName,
    volumeSnapshotName: volumeSnapshotName(snapshot, volumeName),
    // the same shapes, generated once per group
    persistentVolumeClaim: {
      metadata: {
        ...{ name, namespace },
        ...(labels && { labels: { ...labels } }),
        ...(annotations && { annotations: withoutLastApplied(annotations) }),
      },
      spec: claim.spec,
    } as kubevirt.PersistentVolumeClaim,
  };
}

function withoutLastApplied(annotations: Readonly<Record<string, string>>): Record<string, string> {
  const { 'kubectl.kubernetes.io/last-applied-configuration': _, ...rest } = annotations;
  return rest;
}

/** The snapshot of one volume that a content asks for; `classes` by volume name. */
export function renderVolumeSnapshot(
  content: VmSnapshotContent,
  backup: kubevirt.VolumeBackup,
  snapshotClass: string,
): VolumeSnapshot {
  const { metadata } = content.spec.source.virtualMachine ?? {};
  return {
    apiVersion: 'snapshot.storage.k8s.io/v1',
    kind: 'VolumeSnapshot',
    metadata: {
      name: backup.volumeSnapshotName ?? '',
      namespace: content.metadata.namespace ?? '',
      labels: {
        'snapshot.kubevirt.io/source-vm-name': metadata?.name ?? '',
        'snapshot.kubevirt.io/source-vm-namespace': metadata?.namespace ?? '',
      },
      ownerReferences: [controllerReference(content, VirtualMachineSnapshotContentKind)],
    },
    spec: {
      source: { persistentVolumeClaimName: backup.persistentVolumeClaim.metadata?.name ?? '' },
      volumeSnapshotClassName: snapshotClass,
    },
  };
}

/** What the content says of its volume snapshots. */
export function contentStatus(
  content: VmSnapshotContent,
  find: (name: string) => VolumeSnapshot | undefined,
  times: { readonly creationTime: string | undefined; readonly isReady: boolean },
): NonNullable<VmSnapshotContent['status']> {
  const names = (content.spec.volumeBackups ?? []).flatMap(({ volumeSnapshotName: name }) => name ?? []);
  const volumeSnapshotStatus = names.map((name) => {
    const { creationTime, readyToUse = false, error } = find(name)?.status ?? {};
    return { volumeSnapshotName: name, readyToUse, ...(creationTime && { creationTime }), ...(error && { error }) };
  });
  const error = volumeSnapshotStatus.find((status) => status.error !== undefined)?.error;
  return {
    readyToUse: times.isReady,
    ...(times.creationTime !== undefined && { creationTime: times.creationTime }),
    ...(volumeSnapshotStatus.length > 0 && { volumeSnapshotStatus }),
    ...(error && { error }),
  };
}
