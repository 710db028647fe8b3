import {
  PersistentVolumeKind,
  type StorageClass,
  StorageClassKind,
  type StorageProfile,
  StorageProfileKind,
  VolumeSnapshotClassKind,
} from '@slipway/api';
import {
  deepEqual,
  formatTime,
  ignoreNotFound,
  keyOf,
  type KubeObject,
  type ObjectKey,
  setCondition,
} from '@slipway/apimachinery';
import { allow, type ControllerRegistration, done, watchOf, watchSameKey } from '@slipway/runtime';
import { planProfile } from './profile-status.ts';

/** Keeps a StorageProfile for every StorageClass. */
export const storageProfileController: ControllerRegistration = {
  name: 'storageprofile-controller',
  rules: [...allow('create update delete', StorageProfileKind), ...allow('update', [StorageProfileKind, 'status'])],
  create({ client, clock, informers }) {
    const classes = informers.lister(StorageClassKind);
    const profiles = informers.lister(StorageProfileKind);
    const volumes = informers.lister(PersistentVolumeKind);
    const snapshotClasses = informers.lister(VolumeSnapshotClassKind);
    const classesWhere = (matches: (storageClass: StorageClass) => boolean): readonly ObjectKey[] =>
      classes.list().filter(matches).map(keyOf);
    return {
      kind: StorageClassKind,
      watches: [
        watchSameKey(StorageProfileKind),
        watchOf(VolumeSnapshotClassKind, ({ driver }) => classesWhere(({ provisioner }) => provisioner === driver)),
        // only where volumes are made by hand do they say what the class can do
        watchOf(PersistentVolumeKind, ({ spec }) =>
          classesWhere(
            ({ metadata, provisioner }) =>
              provisioner === 'kubernetes.io/no-provisioner' && metadata.name === spec?.storageClassName,
          ),
        ),
      ],
      reconciler: {
        async reconcile(key, signal) {
          const storageClass = classes.get(key);
          const profile = profiles.get(key);
          if (storageClass === undefined) {
            if (profile) await client.delete(StorageProfileKind, key, { signal }).catch(ignoreNotFound);
            return done;
          }
          const facts = { volumes: volumes.list(), snapshotClasses: snapshotClasses.list() };
          const { status, recognized, annotations } = planProfile(storageClass, profile, facts);
          let current = profile ?? (await client.create(StorageProfileKind, newProfile(key.name, annotations), { signal }));
          if (lacks(current, annotations)) {
            const metadata = { ...current.metadata, annotations: { ...annotations, ...current.metadata.annotations } };
            current = await client.update(StorageProfileKind, { ...current, metadata }, { signal });
          }
          const before = current.status?.conditions as Parameters<typeof setCondition>[0]; // statuses are the three of the schema
          const conditions = setCondition(before, recognized, formatTime(clock.now()));
          const next = { ...status, conditions } as NonNullable<StorageProfile['status']>;
          if (!deepEqual(next, current.status))
            await client.update(StorageProfileKind, { ...current, status: next }, { subresource: 'status', signal });
          return done;
        },
      },
    };
  },
};

const lacks = ({ metadata }: KubeObject, annotations: Readonly<Record<string, string>>): boolean =>
  Object.keys(annotations).some((name) => metadata.annotations?.[name] === undefined);

const newProfile = (name: string, annotations: Readonly<Record<string, string>>): StorageProfile => ({
  apiVersion: 'cdi.kubevirt.io/v1beta1',
  kind: 'StorageProfile',
  metadata: {
    name,
    labels: { app: 'containerized-data-importer', 'cdi.kubevirt.io': '' },
    ...(Object.keys(annotations).length > 0 && { annotations: { ...annotations } }),
  },
  spec: {},
});
