import { type PersistentVolumeClaim, SNAPSHOT_GROUP, type VolumeCloneSource, VolumeCloneSourceKind } from '@slipway/api';
import { ignoreAlreadyExists, type ObjectKey } from '@slipway/apimachinery';
import type { Client } from '@slipway/client';
import { Annotation, LABELS } from '../constants.ts';
import type { CloneReference } from '../data-volume/clone-authorization.ts';

const GRANT_PREFIX = 'volume-clone-source-';
/** `namespace/name` of the claim that a grant or a temporary snapshot serves. */
export const CLONE_TARGET = 'slipway.dev/clone-target';

/** What a claim asks to be filled from; undefined when it asks for no clone. */
export function requestedClone({ metadata: { annotations = {} } }: PersistentVolumeClaim): CloneReference | undefined {
  const kind = annotations[Annotation.cloneRequest] === undefined ? 'VolumeSnapshot' : 'PersistentVolumeClaim';
  const request = annotations[Annotation.cloneRequest] ?? annotations[Annotation.snapshotRequest];
  const [namespace = '', name = ''] = request?.split('/') ?? [];
  return name === '' ? undefined : { kind, namespace, name };
}

/** The object that tells the provisioner that a clone across namespaces was allowed; it is in the source's namespace. */
export const grantKey = ({ metadata }: PersistentVolumeClaim, source: ObjectKey): ObjectKey => ({
  namespace: source.namespace,
  name: `${GRANT_PREFIX}${metadata.uid}`,
});

/** Text of `CLONE_TARGET` for a claim. */
export const cloneTarget = ({ metadata }: PersistentVolumeClaim): string => `${metadata.namespace}/${metadata.name}`;

/** The source as a grant names it. */
export const grantedSource = ({ kind, name }: CloneReference): VolumeCloneSource['spec']['source'] => ({
  ...(kind === 'VolumeSnapshot' && { apiGroup: SNAPSHOT_GROUP }),
  ...{ kind, name },
});

/** Allows the clone; call it for sources that the claim's author may read. */
export async function grantClone(
  client: Client,
  claim: PersistentVolumeClaim,
  source: CloneReference,
  signal: AbortSignal,
): Promise<void> {
  const grant: VolumeCloneSource = {
    apiVersion: 'cdi.kubevirt.io/v1beta1',
    kind: 'VolumeCloneSource',
    metadata: { ...grantKey(claim, source), labels: { ...LABELS }, annotations: { [CLONE_TARGET]: cloneTarget(claim) } },
    spec: { source: grantedSource(source) },
  };
  await client.create(VolumeCloneSourceKind, grant, { signal }).catch(ignoreAlreadyExists);
}
