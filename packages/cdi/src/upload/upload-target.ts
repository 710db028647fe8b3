import { type PersistentVolumeClaim, PersistentVolumeClaimKind, PodKind } from '@slipway/api';
import { isNotFound, type KubeObject, type ObjectKey, type ResourceKind } from '@slipway/apimachinery';
import type { Client } from '@slipway/client';
import { sleep, type TimerClock } from '@slipway/runtime';
import { Annotation } from '../constants.ts';
import { UPLOAD_IMAGE, uploadPodName } from './upload-pod.ts';
import type { UploadGrant } from './upload-token.ts';

/** Where an upload goes. */
export interface UploadTarget {
  readonly node: string;
  readonly podUid: string;
}

/** Why nothing can be uploaded; the text is for the client. */
export class UploadRefusal extends Error {
  readonly status: number;

  constructor(status: number, message: string) {
    super(message);
    this.status = status;
  }
}

export interface TargetDeps {
  readonly client: Client;
  readonly clock: TimerClock;
}

const POLL_MS = 250;
const WAIT_MS = 10_000;

/** The upload server of a claim, as soon as it is ready. Throws UploadRefusal. */
export async function uploadTarget(deps: TargetDeps, grant: UploadGrant, signal: AbortSignal): Promise<UploadTarget> {
  const deadline = deps.clock.now() + WAIT_MS;
  for (;;) {
    const claim = await find(deps.client, PersistentVolumeClaimKind, grant, signal);
    const target = isReady(claim, grant) ? await serverOf(deps.client, claim, signal) : undefined;
    if (target !== undefined) return target;
    if (deps.clock.now() >= deadline) throw refused(grant, 'timed out waiting for its upload server to be ready');
    await sleep(deps.clock, POLL_MS, signal);
  }
}

const refused = ({ name }: UploadGrant, why: string): UploadRefusal =>
  new UploadRefusal(503, `rejecting Upload Request for PVC ${name} ${why}`);

function isReady(claim: PersistentVolumeClaim | undefined, grant: UploadGrant): claim is PersistentVolumeClaim {
  if (claim === undefined) throw refused(grant, "that doesn't exist");
  const { uid, annotations = {} } = claim.metadata;
  if (grant.uid !== undefined && grant.uid !== uid) throw new UploadRefusal(401, 'the token is for another claim of this name');
  if (annotations[Annotation.podPhase] === 'Succeeded') throw refused(grant, 'that already finished uploading');
  if (annotations[Annotation.uploadTarget] === undefined)
    throw new UploadRefusal(503, `PVC ${grant.name} is not an upload target`);
  const contentType = annotations[Annotation.contentType] ?? '';
  if (!['', 'kubevirt', 'archive'].includes(contentType)) throw refused(grant, `- upload content-type ${contentType} is invalid`);
  return annotations[Annotation.podReady] === 'true';
}

async function serverOf(client: Client, claim: PersistentVolumeClaim, signal: AbortSignal): Promise<UploadTarget | undefined> {
  const { namespace = '', name = '', uid } = claim.metadata;
  const pod = await find(client, PodKind, { namespace, name: uploadPodName(name) }, signal);
  if (pod?.spec?.nodeName === undefined || pod.metadata.uid === undefined) return undefined;
  // a pod of that name that somebody else made takes no uploads
  const isOurs = pod.metadata.ownerReferences?.some((owner) => owner.uid === uid && owner.controller === true) ?? false;
  const isServer = pod.spec.containers[0]?.image === UPLOAD_IMAGE;
  return isOurs && isServer ? { node: pod.spec.nodeName, podUid: pod.metadata.uid } : undefined;
}

async function find<T extends KubeObject>(
  client: Client,
  kind: ResourceKind<T>,
  { namespace, name }: ObjectKey,
  signal: AbortSignal,
): Promise<T | undefined> {
  try {
    return await client.get(kind, { namespace, name }, { signal });
  } catch (error) {
    if (isNotFound(error)) return undefined;
    throw error;
  }
}
