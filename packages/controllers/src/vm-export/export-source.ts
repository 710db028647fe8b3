import {
  type kubevirt,
  type PersistentVolumeClaim,
  PersistentVolumeClaimKind,
  type Pod,
  type VirtualMachine,
  type VirtualMachineInstance,
  VirtualMachineExportKind,
  type VolumeSnapshot,
  type VolumeSnapshotContent,
} from '@slipway/api';
import { controllerReference, isAlreadyExists, keyOf } from '@slipway/apimachinery';
import type { Client } from '@slipway/client';
import type { Lister } from '@slipway/runtime';
import { claimedVolumes } from '../virtual-machine-instance/claims.ts';
import { claimFromSnapshot } from '../vm-restore/restore-plan.ts';
import { isRunning, type VmSnapshot, type VmSnapshotContent } from '../vm-snapshot/snapshot-state.ts';
import { isStateClaim } from '../vm-snapshot/source-volumes.ts';
import { podName, says, type SourceState, type VmExport } from './export-plan.ts';

export interface ExportSourceDeps {
  readonly client: Client;
  readonly claims: Lister<PersistentVolumeClaim>;
  readonly vms: Lister<VirtualMachine>;
  readonly vmis: Lister<VirtualMachineInstance>;
  readonly snapshots: Lister<VmSnapshot>;
  readonly contents: Lister<VmSnapshotContent>;
  readonly volumeSnapshots: Lister<VolumeSnapshot>;
  readonly volumeContents: Lister<VolumeSnapshotContent>;
  /** Pods that use a claim and have not ended. */
  readonly usersOf: (claim: PersistentVolumeClaim) => readonly Pod[];
}

const UNKNOWN = says('Unknown', '');

/** Finds the claims of an export's source; those of a snapshot are made. */
export async function findSource(deps: ExportSourceDeps, vmExport: VmExport, signal: AbortSignal): Promise<SourceState> {
  const namespace = vmExport.metadata.namespace ?? '';
  const { kind, name } = vmExport.spec.source;
  switch (kind) {
    case 'PersistentVolumeClaim':
      return bound(deps, vmExport, [{ name, claim: deps.claims.get({ namespace, name }) }]);
    case 'VirtualMachine':
      return ofMachine(deps, vmExport);
    case 'VirtualMachineSnapshot':
      return ofSnapshot(deps, vmExport, signal);
    default:
      return { state: 'pending', ready: says('Unknown', `Sources of kind ${kind} cannot be exported yet`), claims: UNKNOWN };
  }
}

function ofMachine(deps: ExportSourceDeps, vmExport: VmExport): SourceState {
  const key = { namespace: vmExport.metadata.namespace ?? '', name: vmExport.spec.source.name };
  const vm = deps.vms.get(key);
  if (vm === undefined)
    return { state: 'pending', ready: says('VMNotFound', `VirtualMachine ${key.name} not found`), claims: UNKNOWN };
  const volumes = claimedVolumes(vm.spec.template.spec);
  if (volumes.length === 0)
    return { state: 'empty', volumes: says('VMNoVolumes', 'VirtualMachine contains no volumes that can be exported') };
  if (isRunning(deps.vmis.get(key)))
    return {
      state: 'pending',
      ready: says('InUse', `VirtualMachine ${key.name} is running: stop it, or export a snapshot of it`),
      claims: UNKNOWN,
    };
  const named = volumes.map(({ claimName: name }) => ({ name, claim: deps.claims.get({ namespace: key.namespace, name }) }));
  const found = bound(deps, vmExport, named);
  return found.state === 'ready' ? { ...found, vmName: key.name } : found;
}

async function ofSnapshot(deps: ExportSourceDeps, vmExport: VmExport, signal: AbortSignal): Promise<SourceState> {
  const content = contentOf(deps, vmExport);
  if (content === undefined) {
    const message = `VirtualMachineSnapshot ${vmExport.spec.source.name} does not exist or is not ready`;
    return { state: 'pending', ready: says('VMSnapshotNotFound', message), claims: UNKNOWN };
  }
  // memory and firmware state are no disks that anybody could import
  const isState = ({ persistentVolumeClaim }: kubevirt.VolumeBackup): boolean =>
    isStateClaim(persistentVolumeClaim as PersistentVolumeClaim); // the same shapes, generated once per group
  const backups = (content.spec.volumeBackups ?? []).filter((backup) => !isState(backup));
  if (backups.length === 0)
    return { state: 'empty', volumes: says('VMSnapshotNoVolumes', 'VirtualMachineSnapshot contains no volumes') };
  const claims: { name: string; claim: PersistentVolumeClaim | undefined }[] = [];
  for (const backup of backups) {
    const claim = await temporaryClaim(deps, vmExport, backup, signal);
    claims.push({ name: claim?.metadata.name ?? '', claim });
  }
  const found = bound(deps, vmExport, claims);
  const vmName = content.spec.source.virtualMachine?.metadata?.name;
  return found.state === 'ready' && vmName !== undefined ? { ...found, vmName } : found;
}

function contentOf({ snapshots, contents }: ExportSourceDeps, { metadata, spec }: VmExport): VmSnapshotContent | undefined {
  const namespace = metadata.namespace ?? '';
  const { virtualMachineSnapshotContentName: name, readyToUse } =
    snapshots.get({ namespace, name: spec.source.name })?.status ?? {};
  return name !== undefined && readyToUse === true ? contents.get({ namespace, name }) : undefined;
}

/** A claim with the content of one volume of a snapshot; it goes with the export. */
async function temporaryClaim(
  { client, claims, volumeSnapshots, volumeContents }: ExportSourceDeps,
  vmExport: VmExport,
  backup: kubevirt.VolumeBackup,
  signal: AbortSignal,
): Promise<PersistentVolumeClaim | undefined> {
  const namespace = vmExport.metadata.namespace ?? '';
  const name = `${vmExport.metadata.name}-${backup.persistentVolumeClaim.metadata?.name}`;
  const known = claims.get({ namespace, name });
  if (known !== undefined) return known;
  const snapshot = volumeSnapshots.get({ namespace, name: backup.volumeSnapshotName ?? '' });
  if (snapshot === undefined) return undefined;
  const content = volumeContents.get({ namespace: '', name: snapshot.status?.boundVolumeSnapshotContentName ?? '' });
  const claim = claimFromSnapshot({ name, namespace }, { backup, snapshot, content }, {});
  const ownerReferences = [controllerReference(vmExport, VirtualMachineExportKind)];
  const annotations = { 'cdi.kubevirt.io/storage.contentType': 'kubevirt', ...claim.metadata.annotations };
  const owned = { ...claim, metadata: { ...claim.metadata, annotations, ownerReferences } };
  return client.create(PersistentVolumeClaimKind, owned, { signal }).catch((error: unknown) => {
    if (isAlreadyExists(error)) return client.get(PersistentVolumeClaimKind, keyOf(owned), { signal });
    throw error;
  });
}

function bound(
  { usersOf }: ExportSourceDeps,
  vmExport: VmExport,
  claims: readonly { readonly name: string; readonly claim: PersistentVolumeClaim | undefined }[],
): SourceState {
  const isLost = ({ claim }: (typeof claims)[number]): boolean =>
    claim === undefined || claim.metadata.deletionTimestamp !== undefined;
  const missing = claims.find(isLost);
  if (missing !== undefined)
    return {
      state: 'pending',
      ready: says('Initializing', ''),
      claims: says('PVCNotFound', `pvc ${vmExport.metadata.namespace}/${missing.name} not found`),
      volumes: says('NotAllPVCsCreated', `pvc ${missing.name} does not exist`),
    };
  const found = claims.flatMap(({ claim }) => claim ?? []);
  const pending = found.find(({ status }) => status?.phase !== 'Bound');
  if (pending !== undefined)
    return {
      state: 'pending',
      ready: says('Initializing', ''),
      claims: says('PVCPending', `pvc ${pending.metadata.name} is not bound yet`),
    };
  const own = podName(vmExport);
  for (const claim of found) {
    const user = usersOf(claim).find(({ metadata }) => metadata.name !== own);
    if (user !== undefined)
      return {
        state: 'pending',
        ready: says('InUse', `pvc ${claim.metadata.namespace}/${claim.metadata.name} is used by pod ${user.metadata.name}`),
        claims: says('PVCBound', '', true),
      };
  }
  return { state: 'ready', claims: found };
}
