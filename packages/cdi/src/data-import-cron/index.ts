import {
  DataImportCronKind,
  DataSourceKind,
  DataVolumeKind,
  PersistentVolumeClaimKind,
  PodKind,
  StorageClassKind,
  StorageProfileKind,
  VolumeSnapshotKind,
} from '@slipway/api';
import { type KubeObject, keyOf, type ObjectKey } from '@slipway/apimachinery';
import { accessReviewRules, allow, type ControllerRegistration, owned, watchOf } from '@slipway/runtime';
import { CronLabel } from '../constants.ts';
import { DataImportCronReconciler } from './data-import-cron-reconciler.ts';

export { dataImportCronAdmission } from './cron-admission.ts';

/** Keeps golden images up to date. */
export const dataImportCronController: ControllerRegistration = {
  name: 'dataimportcron-controller',
  rules: [
    ...allow('patch', DataImportCronKind),
    ...allow('create patch delete', DataSourceKind),
    ...allow('create delete', DataVolumeKind, VolumeSnapshotKind, PodKind),
    ...allow('create', [DataVolumeKind, 'source']),
    ...allow('delete', PersistentVolumeClaimKind),
    ...accessReviewRules,
  ],
  create: ({ client, events, clock, informers }) => {
    const crons = informers.lister(DataImportCronKind);
    /** The cron of an object by its label: also one that is gone, whose objects may have to go too. */
    const byLabel = ({ metadata }: KubeObject): readonly ObjectKey[] => {
      const name = metadata.labels?.[CronLabel.cron];
      return name === undefined ? [] : [{ namespace: metadata.namespace ?? '', name }];
    };
    const bySource = ({ metadata }: KubeObject): readonly ObjectKey[] =>
      crons
        .list()
        .filter(({ spec }) => {
          const pvc = spec.template.spec.source?.pvc;
          return pvc?.name === metadata.name && pvc?.namespace === metadata.namespace;
        })
        .map(keyOf);
    return {
      kind: DataImportCronKind,
      concurrency: 3,
      watches: [
        owned(PodKind, DataImportCronKind),
        watchOf(DataSourceKind, byLabel),
        watchOf(DataVolumeKind, byLabel),
        watchOf(VolumeSnapshotKind, byLabel),
        watchOf(StorageClassKind, () => crons.list().map(keyOf)),
        watchOf(PersistentVolumeClaimKind, (claim) => [...byLabel(claim), ...bySource(claim)]),
      ],
      reconciler: new DataImportCronReconciler({
        ...{ client, events, clock, crons },
        dataSources: informers.lister(DataSourceKind),
        dataVolumes: informers.lister(DataVolumeKind),
        claims: informers.lister(PersistentVolumeClaimKind),
        snapshots: informers.lister(VolumeSnapshotKind),
        pods: informers.lister(PodKind),
        classes: informers.lister(StorageClassKind),
        profiles: informers.lister(StorageProfileKind),
      }),
    };
  },
};
