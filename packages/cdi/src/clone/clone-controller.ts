import {
  type PersistentVolumeClaim,
  PersistentVolumeClaimKind,
  type StorageClass,
  StorageClassKind,
  StorageProfileKind,
  type StorageProfile,
  type VolumeCloneSource,
  VolumeCloneSourceKind,
  type VolumeSnapshot,
  VolumeSnapshotKind,
} from '@slipway/api';
import {
  ignoreAlreadyExists,
  ignoreNotFound,
  keyOf,
  type KubeObject,
  type ObjectKey,
  type ResourceKind,
} from '@slipway/apimachinery';
import type { Client } from '@slipway/client';
import { allow, type ControllerRegistration, done, type EventRecorder, type Lister, watchOf } from '@slipway/runtime';
import { Annotation, LABELS } from '../constants.ts';
import { kindOf, waitsForConsumer } from '../data-volume/data-volume-status.ts';
import { CLONE_TARGET, cloneTarget, grantedSource, grantKey, requestedClone } from './clone-grants.ts';
import { nextStep, type Step } from './clone-steps.ts';

/** Label of temporary objects: uid of the claim that they are for. */
const OWNED_BY = 'cdi.kubevirt.io/OwnedByUID';

interface Deps {
  readonly client: Client;
  readonly events: EventRecorder;
  readonly claims: Lister<PersistentVolumeClaim>;
  readonly classes: Lister<StorageClass>;
  readonly profiles: Lister<StorageProfile>;
  readonly snapshots: Lister<VolumeSnapshot>;
  readonly grants: Lister<VolumeCloneSource>;
}

const claimOf = ({ metadata }: KubeObject): readonly ObjectKey[] => {
  const [namespace = '', name = ''] = metadata.annotations?.[CLONE_TARGET]?.split('/') ?? [];
  return name === '' ? [] : [{ namespace, name }];
};

/** Leads claims that are clones through their steps, tells which one it is, and removes what they needed meanwhile. */
export const cloneController: ControllerRegistration = {
  name: 'clone-controller',
  rules: [
    ...allow('patch', PersistentVolumeClaimKind),
    ...allow('create delete', VolumeSnapshotKind),
    ...allow('patch delete', VolumeCloneSourceKind),
  ],
  create: ({ client, events, informers }) => {
    const deps: Deps = {
      ...{ client, events },
      claims: informers.lister(PersistentVolumeClaimKind),
      classes: informers.lister(StorageClassKind),
      profiles: informers.lister(StorageProfileKind),
      snapshots: informers.lister(VolumeSnapshotKind),
      grants: informers.lister(VolumeCloneSourceKind),
    };
    return {
      kind: PersistentVolumeClaimKind,
      concurrency: 3,
      watches: [watchOf(VolumeSnapshotKind, claimOf), watchOf(VolumeCloneSourceKind, claimOf)],
      reconciler: {
        async reconcile(key, signal) {
          const claim = deps.claims.get(key);
          if (claim === undefined) await cleanUp(deps, `${key.namespace}/${key.name}`, undefined, signal);
          else if (kindOf(claim) === 'clone') await advance(deps, claim, signal);
          return done;
        },
      },
    };
  },
};

async function advance(deps: Deps, claim: PersistentVolumeClaim, signal: AbortSignal): Promise<void> {
  const source = requestedClone(claim);
  if (source === undefined) return;
  const { classes, snapshots, grants } = deps;
  const isElsewhere = source.namespace !== claim.metadata.namespace;
  const step = nextStep(claim, {
    isWaiting: waitsForConsumer(claim, classes.get({ namespace: '', name: claim.spec?.storageClassName ?? '' })),
    isAllowed: !isElsewhere || grants.get(grantKey(claim, source)) !== undefined,
    snapshot: snapshots.get({ namespace: source.namespace, name: snapshotName(claim) }),
  });
  await act(deps, claim, source.namespace, step, signal);
}

async function act(
  deps: Deps,
  claim: PersistentVolumeClaim,
  sourceNamespace: string,
  { phase, action }: Step,
  signal: AbortSignal,
): Promise<void> {
  const key = { namespace: sourceNamespace, name: snapshotName(claim) };
  if (action === 'snapshot') await takeSnapshot(deps, claim, key, signal);
  if (action === 'restore') {
    const grant = deps.grants.get(grantKey(claim, key));
    const spec = { source: grantedSource({ kind: 'VolumeSnapshot', ...key }) };
    if (grant !== undefined) await deps.client.patch(VolumeCloneSourceKind, keyOf(grant), { spec }, { type: 'merge', signal });
  }
  if (action === 'finish') await cleanUp(deps, cloneTarget(claim), claim.metadata.uid, signal);
  if (phase === undefined) return;
  const annotations = {
    [Annotation.clonePhase]: phase,
    ...(action === 'restore' && { [Annotation.snapshotRequest]: `${key.namespace}/${key.name}` }),
  };
  await deps.client.patch(PersistentVolumeClaimKind, keyOf(claim), { metadata: { annotations } }, { type: 'merge', signal });
  if (action === 'finish') deps.events.normal(claim, 'CloneSucceeded', 'Clone Complete');
}

const snapshotName = ({ metadata }: PersistentVolumeClaim): string => `tmp-snapshot-${metadata.uid}`;

async function takeSnapshot(deps: Deps, claim: PersistentVolumeClaim, key: ObjectKey, signal: AbortSignal): Promise<void> {
  const { client, profiles } = deps;
  const source = requestedClone(claim);
  const profile = profiles.get({ namespace: '', name: claim.spec?.storageClassName ?? '' });
  const volumeSnapshotClassName = profile?.status?.snapshotClass;
  const snapshot: VolumeSnapshot = {
    apiVersion: 'snapshot.storage.k8s.io/v1',
    kind: 'VolumeSnapshot',
    metadata: {
      ...key,
      labels: { ...LABELS, [OWNED_BY]: claim.metadata.uid ?? '', 'velero.io/exclude-from-backup': 'true' },
      annotations: { [CLONE_TARGET]: cloneTarget(claim) },
    },
    spec: {
      source: { persistentVolumeClaimName: source?.name ?? '' },
      ...(volumeSnapshotClassName && { volumeSnapshotClassName }),
    },
  };
  await client.create(VolumeSnapshotKind, snapshot, { signal }).catch(ignoreAlreadyExists);
  if (volumeSnapshotClassName)
    deps.events.normal(claim, 'VolumeSnapshotClassSelected', `VolumeSnapshotClass selected is ${volumeSnapshotClassName}`);
}

/** Removes grants and snapshots for a claim; `uid` leaves those alone that serve another claim of the same name. */
async function cleanUp({ client, grants, snapshots }: Deps, target: string, uid: string | undefined, signal: AbortSignal) {
  const isOf = ({ metadata }: KubeObject): boolean =>
    metadata.annotations?.[CLONE_TARGET] === target && metadata.deletionTimestamp === undefined;
  const remove = async <T extends KubeObject>(kind: ResourceKind<T>, objects: readonly T[]): Promise<void> => {
    for (const object of objects.filter(isOf)) {
      if (uid !== undefined && !object.metadata.name?.endsWith(uid)) continue;
      await client.delete(kind, keyOf(object), { signal }).catch(ignoreNotFound);
    }
  };
  await remove(VolumeCloneSourceKind, grants.list());
  await remove(VolumeSnapshotKind, snapshots.list());
}
