import { DataVolumeKind, EventKind, PersistentVolumeClaimKind, StorageClassKind } from '@slipway/api';
import { isNotFound, type KubeObject, type ResourceKind, StatusError } from '@slipway/apimachinery';
import type { ActionContext } from '../context.ts';
import { CommandFailure, print } from '../io.ts';
import type { UploadFlags, UploadRequest } from './upload-flags.ts';

const STORAGE = 'cdi.kubevirt.io/storage.';
const TARGET = `${STORAGE}upload.target`;
const CONTENT_TYPE = `${STORAGE}contentType`;
const BIND = `${STORAGE}bind.immediate.requested`;
const POLL_MS = 2_000;

/** Makes the volume, or checks the one that is there. Throws CommandFailure when nothing can be uploaded to it. */
export async function ensureVolume(context: ActionContext, request: UploadRequest): Promise<void> {
  const { namespace, io } = context;
  const { kind, name, flags } = request;
  const claim = await find(context, PersistentVolumeClaimKind, name);
  if (claim === undefined) {
    if (!flags.create && kind === 'pvc') throw new CommandFailure(`persistentvolumeclaims "${name}" not found`);
    print(io, `PVC ${namespace}/${name} not found `);
    if (flags.create) return create(context, request);
    if ((await find(context, DataVolumeKind, name)) === undefined)
      throw new CommandFailure(`datavolumes.cdi.kubevirt.io "${name}" not found`);
    return print(io, `Using existing DataVolume ${namespace}/${name}`);
  }
  if (kind === 'dv' && (await find(context, DataVolumeKind, name)) === undefined)
    throw new CommandFailure(`No DataVolume is associated with the existing PVC ${namespace}/${name}`);
  await checkClaim(context, claim, request);
  print(io, `Using existing PVC ${namespace}/${name}`);
}

async function find<T extends KubeObject>(
  { client, namespace }: ActionContext,
  kind: ResourceKind<T>,
  name: string,
): Promise<T | undefined> {
  try {
    return await client.get(kind, { namespace, name });
  } catch (error) {
    if (isNotFound(error)) return undefined;
    throw error;
  }
}

async function checkClaim({ client, namespace }: ActionContext, claim: KubeObject, request: UploadRequest): Promise<void> {
  const { name, contentType, flags } = request;
  const annotations = claim.metadata.annotations ?? {};
  if (annotations[`${STORAGE}pod.phase`] === 'Succeeded')
    throw new CommandFailure(`PVC ${name} already successfully imported/cloned/updated`);
  if (contentType === 'archive' && annotations[TARGET] !== undefined && annotations[CONTENT_TYPE] !== 'archive')
    throw new CommandFailure(`PVC ${name} doesn't have archive contentType annotation`);
  if (annotations[TARGET] !== undefined) return;
  if (flags.create) throw new CommandFailure(`PVC ${name} not available for upload`);
  const marks = { [TARGET]: '', [CONTENT_TYPE]: contentType };
  await client.patch(PersistentVolumeClaimKind, { namespace, name }, { metadata: { annotations: marks } }, { type: 'merge' });
}

async function create(context: ActionContext, request: UploadRequest): Promise<void> {
  const { client, namespace, io } = context;
  const { kind, name, contentType, volumeMode, flags } = request;
  if (flags.size === undefined) throw new CommandFailure('when creating a resource, the size must be specified');
  if (flags.storageClass !== undefined) await client.get(StorageClassKind, { namespace: '', name: flags.storageClass });
  const bind = flags.forceBind === true ? { [BIND]: '' } : {};
  const labels = instancetypeLabels(flags);
  const storage = {
    ...(flags.accessMode !== undefined && { accessModes: [flags.accessMode] }),
    resources: { requests: { storage: flags.size } },
    ...(flags.storageClass !== undefined && { storageClassName: flags.storageClass }),
    ...(volumeMode !== undefined && { volumeMode }),
  };
  if (kind === 'dv') {
    try {
      await client.create(DataVolumeKind, {
        apiVersion: 'cdi.kubevirt.io/v1beta1',
        kind: 'DataVolume',
        metadata: metadata(name, namespace, labels, bind),
        spec: { contentType, source: { upload: {} }, storage },
      });
    } catch (error) {
      if (!(error instanceof StatusError) || error.reason !== 'AlreadyExists') throw error;
      return print(io, `Using existing DataVolume ${namespace}/${name}`); // its claim waits for a consumer
    }
    return print(io, `DataVolume ${namespace}/${name} created`);
  }
  await client.create(PersistentVolumeClaimKind, {
    apiVersion: 'v1',
    kind: 'PersistentVolumeClaim',
    metadata: metadata(
      name,
      namespace,
      { 'cdi.kubevirt.io/applyStorageProfile': 'true', ...labels },
      { [TARGET]: '', [CONTENT_TYPE]: contentType, ...bind },
    ),
    spec: { accessModes: ['ReadWriteOnce'], ...storage },
  });
  print(io, `PVC ${namespace}/${name} created`);
}

const metadata = (name: string, namespace: string, labels: Record<string, string>, annotations: Record<string, string>) => ({
  name,
  namespace,
  ...(Object.keys(labels).length > 0 && { labels }),
  ...(Object.keys(annotations).length > 0 && { annotations }),
});

/** Labels by which VMs infer their instance type and preference. */
export function instancetypeLabels(flags: UploadFlags): Record<string, string> {
  const group = 'instancetype.kubevirt.io/default-';
  return {
    ...(flags.defaultInstancetype !== undefined && { [`${group}instancetype`]: flags.defaultInstancetype }),
    ...(flags.defaultInstancetypeKind !== undefined && { [`${group}instancetype-kind`]: flags.defaultInstancetypeKind }),
    ...(flags.defaultPreference !== undefined && { [`${group}preference`]: flags.defaultPreference }),
    ...(flags.defaultPreferenceKind !== undefined && { [`${group}preference-kind`]: flags.defaultPreferenceKind }),
  };
}

/** Polls until the upload server of the volume answers. Throws CommandFailure with the reason when it will not. */
export async function waitUntilReady(context: ActionContext, { kind, name, waitMs, flags }: UploadRequest): Promise<void> {
  const { io } = context;
  const deadline = io.now() + waitMs;
  for (let asked = 0; ; asked++) {
    const state = kind === 'dv' ? await dataVolumeState(context, name, flags) : await claimState(context, name);
    if (state.isReady) {
      if (asked > 0) print(io, 'Pod now ready');
      return;
    }
    if (asked === 0) print(io, `Waiting for PVC ${name} upload pod to be ready...`);
    await failOnEvents(context, state.uid);
    if (io.now() >= deadline)
      throw new CommandFailure(`timed out waiting for the upload server of ${name}; it is ${state.phase}`);
    await io.sleep(POLL_MS);
  }
}

interface VolumeState {
  readonly isReady: boolean;
  readonly phase: string;
  readonly uid: string | undefined;
}

async function dataVolumeState({ client, namespace }: ActionContext, name: string, flags: UploadFlags): Promise<VolumeState> {
  const {
    metadata: { uid },
    status,
  } = await client.get(DataVolumeKind, { namespace, name });
  const phase = status?.phase ?? 'Pending';
  if ((phase === 'WaitForFirstConsumer' || phase === 'PendingPopulation') && flags.forceBind !== true)
    throw new CommandFailure(`cannot upload to DataVolume in ${phase} phase, make sure the PVC is Bound, or use force-bind flag`);
  if (phase === 'Failed' || phase === 'Succeeded') throw new CommandFailure(`cannot upload to DataVolume in ${phase} phase`);
  return { isReady: phase === 'UploadReady', phase, uid };
}

async function claimState({ client, namespace }: ActionContext, name: string): Promise<VolumeState> {
  const {
    metadata: { uid, annotations },
    status,
  } = await client.get(PersistentVolumeClaimKind, { namespace, name });
  return { isReady: annotations?.[`${STORAGE}pod.ready`] === 'true', phase: status?.phase ?? 'Pending', uid };
}

/** Some failures stand in events alone. */
async function failOnEvents({ client, namespace }: ActionContext, uid: string | undefined): Promise<void> {
  if (uid === undefined) return;
  const { items } = await client.list(EventKind, { namespace, fieldSelector: `involvedObject.uid=${uid}` });
  for (const { reason, message = '' } of items) {
    if (reason === 'ErrClaimNotValid') throw new CommandFailure(`Claim not valid: ${message}`);
    if (reason === 'ProvisioningFailed' && !message.includes('the object has been modified'))
      throw new CommandFailure(`Provisioning failed: ${message}`);
  }
}

/** Polls until the disk is complete. */
export async function waitUntilProcessed({ client, namespace, io }: ActionContext, name: string): Promise<void> {
  for (;;) {
    const {
      metadata: { annotations = {} },
    } = await client.get(PersistentVolumeClaimKind, { namespace, name });
    if (annotations[`${STORAGE}pod.phase`] === 'Succeeded') return;
    const message = annotations[`${STORAGE}condition.running.message`];
    if (annotations[`${STORAGE}pod.phase`] === 'Failed')
      throw new CommandFailure(`processing the image failed: ${message ?? 'see the events of the claim'}`);
    await io.sleep(POLL_MS);
  }
}
