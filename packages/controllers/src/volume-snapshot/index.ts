import {
  PersistentVolumeClaimKind,
  PersistentVolumeKind,
  type VolumeSnapshot,
  VolumeSnapshotClassKind,
  VolumeSnapshotContentKind,
  VolumeSnapshotKind,
} from '@slipway/api';
import { keyOf } from '@slipway/apimachinery';
import { allow, type ControllerRegistration, watchOf } from '@slipway/runtime';
import { BY_SOURCE_CLAIM, BY_SOURCE_SNAPSHOT, sourceSnapshots, VolumeSnapshotReconciler } from './snapshot-reconciler.ts';

export { chooseSnapshotClass, volumeIdentity } from './snapshot-plan.ts';

/** Binds VolumeSnapshots to their contents, as the snapshot controller of a cluster with CSI drivers does. */
export const volumeSnapshotController: ControllerRegistration = {
  name: 'snapshot-controller',
  rules: [
    ...allow('patch', VolumeSnapshotKind, [VolumeSnapshotKind, 'status'], PersistentVolumeClaimKind),
    ...allow('create patch delete', VolumeSnapshotContentKind),
  ],
  create({ client, events, clock, informers }) {
    const snapshots = informers.for(VolumeSnapshotKind);
    const claims = informers.for(PersistentVolumeClaimKind);
    snapshots.addIndex(BY_SOURCE_CLAIM, ({ metadata, spec }: VolumeSnapshot) =>
      spec.source.persistentVolumeClaimName === undefined
        ? []
        : [`${metadata.namespace}/${spec.source.persistentVolumeClaimName}`],
    );
    claims.addIndex(BY_SOURCE_SNAPSHOT, sourceSnapshots);
    return {
      kind: VolumeSnapshotKind,
      concurrency: 4,
      watches: [
        watchOf(VolumeSnapshotContentKind, ({ spec: { volumeSnapshotRef: reference } }) => [
          { namespace: reference.namespace ?? '', name: reference.name ?? '' },
        ]),
        watchOf(PersistentVolumeClaimKind, (claim) => [
          ...snapshots.lister
            .byIndex(BY_SOURCE_CLAIM, `${claim.metadata.namespace}/${claim.metadata.name}`)
            .filter(({ status }) => status?.boundVolumeSnapshotContentName === undefined)
            .map(keyOf),
          ...sourceSnapshots(claim).map((path) => ({
            namespace: path.slice(0, path.indexOf('/')),
            name: path.slice(path.indexOf('/') + 1),
          })),
        ]),
      ],
      reconciler: new VolumeSnapshotReconciler({
        client,
        events,
        clock,
        snapshots: snapshots.lister,
        claims: claims.lister,
        contents: informers.lister(VolumeSnapshotContentKind),
        classes: informers.lister(VolumeSnapshotClassKind),
        volumes: informers.lister(PersistentVolumeKind),
      }),
    };
  },
};
