import { ignoreNotFound } from '@slipway/apimachinery';
import { DataVolumeKind, type PersistentVolumeClaim } from '@slipway/api';
import type { Client } from '@slipway/client';
import { volumeUidOf } from './local-volume.ts';
import { boundVolume } from './mover-pod-runner.ts';
import { VolumeError } from './volume-error.ts';
import type { VolumeRecord } from './volume-record.ts';
import type { VolumeStore } from './volume-store.ts';

const IMPORT_SOURCE = 'cdi.kubevirt.io/storage.import.source';
const IMPORT_ENDPOINT = 'cdi.kubevirt.io/storage.import.endpoint';
const UPLOAD_TARGET = 'cdi.kubevirt.io/storage.upload.target';
const POD_PHASE = 'cdi.kubevirt.io/storage.pod.phase';
const POPULATED_FOR = 'cdi.kubevirt.io/storage.populatedFor';

export interface FilledVolumeDeps {
  readonly client: Client;
  readonly store: VolumeStore;
}

export interface FilledVolume {
  readonly claim: PersistentVolumeClaim;
  readonly volumeUid: string;
  readonly record: VolumeRecord;
}

/** The disk of a claim on this node. Throws VolumeError unless it has its content. */
export async function filledVolume(
  deps: FilledVolumeDeps,
  claimed: { readonly namespace: string; readonly name: string },
  signal: AbortSignal,
): Promise<FilledVolume> {
  const { claim, volume } = await boundVolume(deps.client, claimed, signal);
  await checkPopulated(deps, claim, signal);
  const volumeUid = volumeUidOf(volume);
  const record = await deps.store.get(volumeUid);
  if (record.state === 'filling')
    throw new VolumeError('FailedMount', `The disk of claim "${claimed.name}" is still being filled`);
  return { claim, volumeUid, record };
}

/** The launcher may be the first consumer of a claim: then the disk is here before its content is. */
async function checkPopulated(deps: FilledVolumeDeps, { metadata }: PersistentVolumeClaim, signal: AbortSignal): Promise<void> {
  const { name = '', namespace = '', annotations = {} } = metadata;
  const isImport = [IMPORT_SOURCE, IMPORT_ENDPOINT, UPLOAD_TARGET].some((key) => annotations[key] !== undefined);
  if (isImport && annotations[POD_PHASE] === 'Succeeded') return;
  const isPending = isImport && annotations[POPULATED_FOR] === undefined;
  const owner = metadata.ownerReferences?.find(({ kind }) => kind === 'DataVolume');
  const dataVolume =
    owner && (await deps.client.get(DataVolumeKind, { namespace, name: owner.name }, { signal }).catch(ignoreNotFound));
  const isFilling = dataVolume !== undefined && dataVolume.status?.phase !== 'Succeeded';
  if (isPending || isFilling) throw new VolumeError('FailedMount', `The disk of claim "${name}" is still being filled`);
}
