import {
  type core,
  type kubevirt,
  MEMORY_STATE,
  type PersistentVolumeClaim,
  parseLocalHandle,
  SNAPSHOT_GROUP,
  type VirtualMachine,
  type VolumeSnapshot,
  type VolumeSnapshotContent,
} from '@slipway/api';
import { applyJsonPatch, quantityValue, TerminalError, tryParseQuantity } from '@slipway/apimachinery';
import { IDENTITY_ANNOTATION, identityOf } from '@slipway/virt';
import { claimedVolumes } from '../virtual-machine-instance/claims.ts';
import type { VmSnapshotContent } from '../vm-snapshot/snapshot-state.ts';
import { PERSISTENT_STATE_FOR } from '../vm-snapshot/source-volumes.ts';
import { type MemoryState, memoryStateOf } from '../vm-suspend/memory-state.ts';

export type VmRestore = kubevirt.VirtualMachineRestore;
type Volume = kubevirt.Volume;

export const RESTORE_NAME = 'restore.kubevirt.io/name';
export const LAST_RESTORE_UID = 'restore.kubevirt.io/lastRestoreUID';
const PRE_POPULATED = 'cdi.kubevirt.io/storage.prePopulated';
const POPULATED_FOR = 'cdi.kubevirt.io/storage.populatedFor';
const SELECTED_NODE = 'volume.kubernetes.io/selected-node';

/** Name of the claim that a volume is restored into. */
function claimName(restore: VmRestore, backup: kubevirt.VolumeBackup): string {
  const { volumeName, persistentVolumeClaim } = backup;
  const override = restore.spec.volumeRestoreOverrides?.find((item) => item.volumeName === volumeName)?.restoreName;
  if (override) return override;
  switch (restore.spec.volumeRestorePolicy) {
    case 'InPlace':
      return persistentVolumeClaim.metadata?.name ?? '';
    case 'PrefixTargetName':
      return `${restore.spec.target.name}-${volumeName}`;
    default:
      return `restore-${restore.metadata.uid}-${volumeName}`;
  }
}

/** Names of the templates whose disks are in the snapshot, by volume. */
function templateOf(content: VmSnapshotContent, volumeName: string): string | undefined {
  const spec = content.spec.source.virtualMachine?.spec;
  const volume = spec?.template.spec?.volumes?.find(({ name }) => name === volumeName);
  const name = volume === undefined ? undefined : claimedVolumes({ volumes: [volume] })[0]?.claimName;
  return spec?.dataVolumeTemplates?.some(({ metadata }) => metadata.name === name) ? name : undefined;
}

/** What is restored into which claim; made once and kept in the status. Pure. */
export function planRestores(restore: VmRestore, content: VmSnapshotContent): kubevirt.VolumeRestore[] {
  return (content.spec.volumeBackups ?? [])
    .filter((backup) => !isMemoryDump(content, backup.volumeName) && !isForeignMemory(restore, content, backup))
    .map((backup) => {
      const name = claimName(restore, backup);
      return {
        volumeName: backup.volumeName,
        persistentVolumeClaim: name,
        volumeSnapshotName: backup.volumeSnapshotName ?? '',
        ...(templateOf(content, backup.volumeName) !== undefined && { dataVolumeName: name }),
      };
    });
}

const isMemoryDump = (content: VmSnapshotContent, volumeName: string): boolean =>
  content.spec.source.virtualMachine?.spec?.template.spec?.volumes?.some(
    ({ name, memoryDump }) => name === volumeName && memoryDump !== undefined,
  ) ?? false;

const stateIn = ({ persistentVolumeClaim }: kubevirt.VolumeBackup): MemoryState | undefined =>
  memoryStateOf(persistentVolumeClaim as PersistentVolumeClaim); // the same shapes, generated once per group

/** The memory of a guest knows its name and addresses: another VM boots. */
const isForeignMemory = ({ spec }: VmRestore, content: VmSnapshotContent, backup: kubevirt.VolumeBackup): boolean =>
  spec.target.name !== content.spec.source.virtualMachine?.metadata?.name && stateIn(backup) !== undefined;

/** Labels and annotations of a claim that belongs to the VM although none of its volumes names it. Pure. */
export function stateMarks(
  target: string,
  backup: kubevirt.VolumeBackup,
  restores: readonly kubevirt.VolumeRestore[],
): { readonly labels: Readonly<Record<string, string>>; readonly annotations: Readonly<Record<string, string>> } {
  const state = stateIn(backup);
  const byVolume = new Map(restores.map((restore) => [restore.volumeName, restore]));
  const volumes = (state?.spec.volumes ?? []).map((volume) => onClaim(volume, byVolume.get(volume.name)));
  const { labels } = (backup.persistentVolumeClaim as PersistentVolumeClaim).metadata;
  return {
    labels: labels?.[PERSISTENT_STATE_FOR] === undefined ? {} : { [PERSISTENT_STATE_FOR]: target },
    annotations: state === undefined ? {} : { [MEMORY_STATE]: JSON.stringify({ ...state, spec: { ...state.spec, volumes } }) },
  };
}

export interface ClaimSource {
  readonly backup: kubevirt.VolumeBackup;
  readonly snapshot: VolumeSnapshot;
  readonly content: VolumeSnapshotContent | undefined;
}

/** A new claim that is filled from a volume snapshot, as it was and at least as large. Pure. */
export function claimFromSnapshot(
  target: { readonly name: string; readonly namespace: string },
  { backup, snapshot, content }: ClaimSource,
  extra: { readonly labels?: Readonly<Record<string, string>>; readonly annotations?: Readonly<Record<string, string>> },
): PersistentVolumeClaim {
  // the same shapes, generated once per group
  const { metadata, spec } = backup.persistentVolumeClaim as PersistentVolumeClaim;
  const node = parseLocalHandle(content?.status?.snapshotHandle)?.node;
  const { volumeName: _, dataSource: __, dataSourceRef: ___, ...kept } = spec ?? {};
  return {
    apiVersion: 'v1',
    kind: 'PersistentVolumeClaim',
    metadata: {
      ...target,
      labels: { ...metadata?.labels, ...extra.labels },
      annotations: {
        ...ownAnnotations(metadata?.annotations),
        [POPULATED_FOR]: target.name,
        // its content lies on one node: there is nothing to wait for
        ...(node !== undefined && { [SELECTED_NODE]: node }),
        ...extra.annotations,
      },
    },
    spec: {
      ...kept,
      dataSource: { apiGroup: SNAPSHOT_GROUP, kind: 'VolumeSnapshot', name: snapshot.metadata.name ?? '' },
      resources: { ...spec?.resources, requests: { ...spec?.resources?.requests, storage: sizeOf(spec, snapshot) } },
    },
  };
}

function sizeOf(spec: core.PersistentVolumeClaimSpec | undefined, { status }: VolumeSnapshot): string {
  const requested = spec?.resources?.requests?.['storage'] ?? '0';
  const restored = status?.restoreSize ?? '0';
  const value = (text: string): bigint => {
    const parsed = tryParseQuantity(text);
    return parsed === undefined ? 0n : quantityValue(parsed);
  };
  return value(restored) > value(requested) ? restored : requested;
}

const FOREIGN = [
  /^pv\.kubernetes\.io\//,
  /^volume\.(beta\.)?kubernetes\.io\//,
  /cdi\.kubevirt\.io\//,
  /^k8s\.io\/Clone/,
  /^slipway\.dev\//,
];
const KEPT = ['cdi.kubevirt.io/storage.contentType', 'cdi.kubevirt.io/storage.preallocation.requested'];

/** Without what provisioners and CDI wrote about the life of the old claim. */
function ownAnnotations(annotations: Readonly<Record<string, string>> = {}): Record<string, string> {
  const isKept = (key: string): boolean => KEPT.includes(key) || !FOREIGN.some((pattern) => pattern.test(key));
  return Object.fromEntries(Object.entries(annotations).filter(([key]) => isKept(key)));
}

/** The spec of the snapshot with its volumes on the restored claims. Pure. */
export function restoredSpec(
  content: VmSnapshotContent,
  restores: readonly kubevirt.VolumeRestore[],
): kubevirt.VirtualMachineSpec {
  const spec = content.spec.source.virtualMachine?.spec;
  if (spec === undefined) throw new TerminalError('InvalidSnapshot', 'The snapshot content holds no virtual machine');
  const byVolume = new Map(restores.map((restore) => [restore.volumeName, restore]));
  const names = new Map(
    restores.flatMap(({ volumeName, persistentVolumeClaim }): [string, string][] => {
      const template = templateOf(content, volumeName);
      return template === undefined ? [] : [[template, persistentVolumeClaim]];
    }),
  );
  const { template, dataVolumeTemplates, ...rest } = spec;
  const templates = (dataVolumeTemplates ?? []).map((item) => {
    const name = names.get(item.metadata.name ?? '');
    if (name === undefined) return item;
    // in its old place the claim is found by its name, and the VM's manifest stays what its author wrote
    if (name === item.metadata.name) return item;
    const annotations = { ...(item.metadata.annotations as Record<string, string> | undefined), [PRE_POPULATED]: name }; // string map
    return { ...item, metadata: { ...item.metadata, name, annotations } };
  });
  const volumes = (template.spec?.volumes ?? []).filter(({ memoryDump }) => memoryDump === undefined);
  return {
    ...rest,
    ...(templates.length > 0 && { dataVolumeTemplates: templates }),
    template: {
      ...template,
      ...(template.spec && {
        spec: { ...template.spec, volumes: volumes.map((volume) => onClaim(volume, byVolume.get(volume.name))) },
      }),
    },
  };
}

function onClaim(volume: Volume, restore: kubevirt.VolumeRestore | undefined): Volume {
  if (restore === undefined) return volume;
  const name = restore.persistentVolumeClaim;
  // in its old place: the manifest stays what its author wrote
  if (claimedVolumes({ volumes: [volume] })[0]?.claimName === name) return volume;
  if (volume.dataVolume !== undefined && restore.dataVolumeName !== undefined)
    return { ...volume, dataVolume: { ...volume.dataVolume, name } };
  const { dataVolume, persistentVolumeClaim, ...rest } = volume;
  const hotpluggable = dataVolume?.hotpluggable === true ? { hotpluggable: true } : {};
  return { ...rest, persistentVolumeClaim: { ...hotpluggable, ...persistentVolumeClaim, claimName: name } };
}

/** The VM that exists, as it was at the snapshot; whether it runs stays its owner's choice. Pure. */
export function restoredVm(vm: VirtualMachine, spec: kubevirt.VirtualMachineSpec, restore: VmRestore): VirtualMachine {
  const { running: _, runStrategy: __, ...rest } = spec;
  const power =
    vm.spec.running !== undefined
      ? { running: false }
      : vm.spec.runStrategy === undefined
        ? {}
        : { runStrategy: vm.spec.runStrategy };
  const annotations = { ...vm.metadata.annotations, [LAST_RESTORE_UID]: restore.metadata.uid ?? '' };
  return { ...vm, metadata: { ...vm.metadata, annotations }, spec: { ...rest, ...power } };
}

/** A new VM like the one of the snapshot, switched off, with the patches of the restore. Pure; throws TerminalError. */
export function newVm(restore: VmRestore, content: VmSnapshotContent, spec: kubevirt.VirtualMachineSpec): VirtualMachine {
  const { metadata } = content.spec.source.virtualMachine ?? {};
  const { running, runStrategy: _, ...rest } = spec;
  const source = (metadata ?? {}) as VirtualMachine['metadata']; // the same shape
  const { labels } = source;
  const vm: VirtualMachine = {
    apiVersion: 'kubevirt.io/v1',
    kind: 'VirtualMachine',
    metadata: {
      name: restore.spec.target.name,
      namespace: restore.metadata.namespace ?? '',
      ...(labels && { labels }),
      annotations: { ...identity(source, restore.spec.target.name), [LAST_RESTORE_UID]: restore.metadata.uid ?? '' },
    },
    spec: { ...rest, ...(running === undefined ? { runStrategy: 'Halted' } : { running: false }) },
  };
  return patched(vm, restore.spec.patches ?? []);
}

/** A VM that was deleted comes back with the addresses it had; one of another name gets its own. */
function identity(source: VirtualMachine['metadata'], target: string): Record<string, string> {
  const { [IDENTITY_ANNOTATION]: _, ...annotations } = source.annotations ?? {};
  const uid = identityOf(source);
  return target === source.name && uid !== undefined ? { ...annotations, [IDENTITY_ANNOTATION]: uid } : annotations;
}

/** Applies the patches of a restore, each one JSON patch operation, or several. */
function patched(vm: VirtualMachine, patches: readonly string[]): VirtualMachine {
  try {
    const operations: unknown[] = patches.flatMap((text) => {
      const parsed: unknown = JSON.parse(text);
      return Array.isArray(parsed) ? parsed : [parsed];
    });
    return applyJsonPatch(vm, operations) as VirtualMachine; // the API server checks what came of it
  } catch (error) {
    const cause = error instanceof Error ? error.message : String(error);
    throw new TerminalError('InvalidPatch', `Cannot apply the patches of the restore: ${cause}`, error);
  }
}

/** Names of the VM's disks from templates that the restored spec no longer has. */
export function droppedDataVolumes(vm: VirtualMachine, spec: kubevirt.VirtualMachineSpec): string[] {
  const kept = new Set((spec.dataVolumeTemplates ?? []).map(({ metadata }) => metadata.name));
  return (vm.spec.dataVolumeTemplates ?? []).flatMap(({ metadata: { name } }) =>
    name === undefined || kept.has(name) ? [] : [name],
  );
}
