import { keyOf, type ObjectKey } from '@slipway/apimachinery';
import {
  APIServiceKind,
  NodeKind,
  PersistentVolumeClaimKind,
  PersistentVolumeKind,
  type Pod,
  PodKind,
  StorageClassKind,
  VirtualMachineInstanceKind,
  VolumeSnapshotContentKind,
  VolumeSnapshotKind,
} from '@slipway/api';
import { allow, type ControllerRegistration, type Informers, watchOf } from '@slipway/runtime';
import { claimNames } from '../scheduler/pod-volumes.ts';
import { BY_CLAIM_REF, BY_FREE_CLASS, BY_NODE, ClaimReconciler } from './claim-reconciler.ts';
import { nodesOf } from './clone-source.ts';
import { BY_USED_CLAIM, claimProtection, claimsOfGuest, volumeProtection } from './protection.ts';
import { VolumeReconciler } from './volume-reconciler.ts';

export * from './claim-annotations.ts';
export { CLAIM_PROTECTION, VOLUME_PROTECTION } from './protection.ts';

/** Binds claims to volumes and asks provisioners for what is missing. */
export const claimController: ControllerRegistration = {
  name: 'persistentvolume-controller',
  rules: [
    ...allow('get create update patch delete', PersistentVolumeClaimKind, PersistentVolumeKind),
    ...allow('update', [PersistentVolumeClaimKind, 'status'], [PersistentVolumeKind, 'status']),
  ],
  create({ client, events, clock, informers }) {
    const volumes = volumeIndexes(informers);
    const claims = informers.for(PersistentVolumeClaimKind);
    claims.addIndex('persistent-volume/class', (claim) => (claim.spec?.volumeName ? [] : [claim.spec?.storageClassName ?? '']));
    const pendingOf = (storageClass: string): readonly ObjectKey[] =>
      claims.lister.byIndex('persistent-volume/class', storageClass).map(keyOf);
    return {
      kind: PersistentVolumeClaimKind,
      watches: [
        watchOf(PersistentVolumeKind, (volume) => {
          const reference = volume.spec?.claimRef;
          if (!reference) return pendingOf(volume.spec?.storageClassName ?? '');
          return [{ namespace: reference.namespace ?? '', name: reference.name ?? '' }];
        }),
        // it may be the default one now
        watchOf(StorageClassKind, ({ metadata }) => [...pendingOf(metadata.name ?? ''), ...pendingOf('')]),
        // a node may be what an Immediate claim waits for; heartbeats are not
        watchOf(
          NodeKind,
          () =>
            claims.lister
              .list()
              .filter(({ spec }) => !spec?.volumeName)
              .map(keyOf),
          ({ type, object, old }) =>
            type === 'added' || (type === 'updated' && JSON.stringify(object.spec) !== JSON.stringify(old.spec)),
        ),
      ],
      reconciler: new ClaimReconciler({
        client,
        events,
        clock,
        claims: claims.lister,
        volumes,
        storageClasses: informers.lister(StorageClassKind),
        nodes: informers.lister(NodeKind),
        apiServices: informers.lister(APIServiceKind),
        snapshots: informers.lister(VolumeSnapshotKind),
        snapshotContents: informers.lister(VolumeSnapshotContentKind),
      }),
    };
  },
};

/** Keeps the phase of volumes that no claim is bound to. */
export const volumeController: ControllerRegistration = {
  name: 'persistentvolume-phase-controller',
  rules: [
    ...allow('get', PersistentVolumeClaimKind),
    ...allow('update delete', PersistentVolumeKind),
    ...allow('update', [PersistentVolumeKind, 'status']),
  ],
  create({ client, events, informers }) {
    const volumes = volumeIndexes(informers);
    return {
      kind: PersistentVolumeKind,
      watches: [
        watchOf(
          PersistentVolumeClaimKind,
          (claim) => volumes.byIndex(BY_CLAIM_REF, `${claim.metadata.namespace}/${claim.metadata.name}`).map(keyOf),
          ({ type }) => type === 'deleted',
        ),
      ],
      reconciler: new VolumeReconciler({ client, events, volumes }),
    };
  },
};

export const claimProtectionController: ControllerRegistration = {
  name: 'pvc-protection-controller',
  rules: [...allow('update', PersistentVolumeClaimKind)],
  create({ client, informers }) {
    const pods = informers.for(PodKind);
    const claimsOf = (pod: Pod): readonly string[] => claimNames(pod).map((name) => `${pod.metadata.namespace}/${name}`);
    pods.addIndex(BY_USED_CLAIM, claimsOf);
    const guests = informers.for(VirtualMachineInstanceKind);
    guests.addIndex(BY_USED_CLAIM, (guest) => (claimsOfGuest(guest) ?? []).map((name) => `${guest.metadata.namespace}/${name}`));
    const lister = informers.lister(PersistentVolumeClaimKind);
    return {
      kind: PersistentVolumeClaimKind,
      watches: [
        watchOf(PodKind, (pod) => claimNames(pod).map((name) => ({ namespace: pod.metadata.namespace ?? '', name }))),
        watchOf(VirtualMachineInstanceKind, (guest) =>
          (claimsOfGuest(guest) ?? []).map((name) => ({ namespace: guest.metadata.namespace ?? '', name })),
        ),
      ],
      reconciler: claimProtection({ client, lister, pods: pods.lister, guests: guests.lister }),
    };
  },
};

export const volumeProtectionController: ControllerRegistration = {
  name: 'pv-protection-controller',
  rules: [...allow('update', PersistentVolumeKind)],
  create: ({ client, informers }) => ({
    kind: PersistentVolumeKind,
    reconciler: volumeProtection({ client, lister: informers.lister(PersistentVolumeKind) }),
  }),
};

function volumeIndexes(informers: Informers) {
  const volumes = informers.for(PersistentVolumeKind);
  volumes.addIndex(BY_CLAIM_REF, ({ spec }) => (spec?.claimRef ? [`${spec.claimRef.namespace}/${spec.claimRef.name}`] : []));
  volumes.addIndex(BY_FREE_CLASS, ({ spec }) => (spec?.claimRef ? [] : [spec?.storageClassName ?? '']));
  volumes.addIndex(BY_NODE, nodesOf);
  return volumes.lister;
}
