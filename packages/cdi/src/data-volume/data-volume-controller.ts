import {
  CDIConfigKind,
  DataSourceKind,
  type DataVolume,
  DataVolumeKind,
  type PersistentVolumeClaim,
  PersistentVolumeClaimKind,
  PersistentVolumeKind,
  type Pod,
  PodKind,
  StorageClassKind,
  StorageProfileKind,
  VirtualMachineKind,
  VolumeCloneSourceKind,
  VolumeSnapshotContentKind,
  VolumeSnapshotKind,
} from '@slipway/api';
import { keyOf, type ObjectKey } from '@slipway/apimachinery';
import { accessReviewRules, allow, type ControllerRegistration, watchOf } from '@slipway/runtime';
import { ClonePlanner, plannerDeps } from '../clone/clone-planner.ts';
import { Annotation, IMPORTER_IMAGE } from '../constants.ts';
import { UPLOAD_IMAGE } from '../upload/upload-pod.ts';
import { DataVolumeReconciler } from './data-volume-reconciler.ts';

/** Keeps DataVolumes: their claims, phases, conditions and progress. */
export const dataVolumeController: ControllerRegistration = {
  name: 'datavolume-controller',
  rules: [
    ...allow('update patch', DataVolumeKind, [DataVolumeKind, 'status']),
    ...allow('get create update patch', PersistentVolumeClaimKind),
    ...allow('create', VolumeCloneSourceKind),
    ...allow('get', VirtualMachineKind),
    ...accessReviewRules,
  ],
  create: ({ client, events, clock, informers }) => {
    const dataVolumes = informers.lister(DataVolumeKind);
    const unfinished = (matches: (dataVolume: DataVolume) => boolean): readonly ObjectKey[] =>
      dataVolumes
        .list()
        .filter((item) => item.status?.phase !== 'Succeeded' && matches(item))
        .map(keyOf);
    /** Its own DataVolume, and those that want to clone it. */
    const ofClaim = (claim: PersistentVolumeClaim): readonly ObjectKey[] => {
      const { namespace, name } = claim.metadata;
      const clones = unfinished(({ spec, status }) => {
        const source = spec.source?.pvc;
        return (source?.namespace === namespace && source?.name === name) || (spec.sourceRef !== undefined && !status?.claimName);
      });
      return [keyOf(claim), ...clones];
    };
    const waiting = (): readonly ObjectKey[] => unfinished(({ status }) => !status?.claimName);
    return {
      kind: DataVolumeKind,
      concurrency: 3,
      watches: [
        watchOf(PersistentVolumeClaimKind, ofClaim),
        watchOf(PodKind, claimOfWorker, ({ object }) => WORKERS.includes(object.spec?.containers[0]?.image ?? '')),
        watchOf(DataSourceKind, waiting),
        watchOf(VolumeSnapshotKind, waiting),
        watchOf(StorageClassKind, waiting),
        watchOf(StorageProfileKind, waiting),
      ],
      reconciler: new DataVolumeReconciler({
        client,
        events,
        clock,
        dataVolumes,
        dataSources: informers.lister(DataSourceKind),
        claims: informers.lister(PersistentVolumeClaimKind),
        volumes: informers.lister(PersistentVolumeKind),
        pods: informers.lister(PodKind),
        classes: informers.lister(StorageClassKind),
        profiles: informers.lister(StorageProfileKind),
        configs: informers.lister(CDIConfigKind),
        planner: new ClonePlanner(plannerDeps(informers)),
        snapshots: informers.lister(VolumeSnapshotKind),
        snapshotContents: informers.lister(VolumeSnapshotContentKind),
      }),
    };
  },
};

const WORKERS: readonly string[] = [IMPORTER_IMAGE, UPLOAD_IMAGE];

/** Progress is an annotation of the worker, so its changes matter although the claim stays as it is. */
function claimOfWorker({ metadata }: Pod): readonly ObjectKey[] {
  const owner = metadata.ownerReferences?.find(({ kind }) => kind === 'PersistentVolumeClaim');
  if (owner === undefined || metadata.annotations?.[Annotation.progress] === undefined) return [];
  return [{ namespace: metadata.namespace ?? '', name: owner.name }];
}
