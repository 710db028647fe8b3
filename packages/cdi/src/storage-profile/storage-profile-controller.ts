import { StorageClassKind, type StorageProfile, StorageProfileKind } from '@slipway/api';
import { formatTime, isAlreadyExists, isNotFound, setCondition } from '@slipway/apimachinery';
import { type ControllerRegistration, done, watchSameKey } from '@slipway/runtime';
import { LABELS } from '../constants.ts';
import { judgeClass } from './storage-profile.ts';

/** One StorageProfile for each StorageClass, with what DataVolumes may expect of it. */
export const storageProfileController: ControllerRegistration = {
  name: 'storageprofile-controller',
  create: ({ client, informers, clock }) => {
    const classes = informers.lister(StorageClassKind);
    const profiles = informers.lister(StorageProfileKind);
    return {
      kind: StorageClassKind,
      watches: [watchSameKey(StorageProfileKind)],
      reconciler: {
        async reconcile(key, signal) {
          const storageClass = classes.get(key);
          const profile = profiles.get(key);
          if (storageClass === undefined) {
            if (profile !== undefined)
              await client.delete(StorageProfileKind, key, { signal }).catch((error: unknown) => {
                if (!isNotFound(error)) throw error;
              });
            return done;
          }
          if (profile === undefined) {
            const created: StorageProfile = {
              apiVersion: 'cdi.kubevirt.io/v1beta1',
              kind: 'StorageProfile',
              metadata: { name: key.name, labels: { ...LABELS, 'cdi.kubevirt.io': '' } },
              spec: {},
            };
            await client.create(StorageProfileKind, created, { signal }).catch((error: unknown) => {
              if (!isAlreadyExists(error)) throw error;
            });
            return done; // its status is set when it is seen
          }
          const verdict = judgeClass(storageClass, profile);
          const conditions = setCondition(
            profile.status?.conditions as Parameters<typeof setCondition>[0], // statuses are the three of the schema
            verdict.isRecognized
              ? { type: 'Recognized', status: 'True', reason: 'RecognizedProvisioner', message: 'Provisioner is recognized' }
              : {
                  type: 'Recognized',
                  status: 'False',
                  reason: 'UnrecognizedProvisioner',
                  message: 'Provisioner is not recognized: set spec.claimPropertySets',
                },
            formatTime(clock.now()),
          );
          const status = {
            storageClass: key.name,
            provisioner: storageClass.provisioner,
            claimPropertySets: verdict.sets,
            cloneStrategy: verdict.cloneStrategy,
            dataImportCronSourceFormat: profile.spec.dataImportCronSourceFormat ?? 'pvc',
            conditions,
          };
          if (JSON.stringify(status) !== JSON.stringify(pick(profile.status, Object.keys(status))))
            await client.patch(StorageProfileKind, key, { status }, { type: 'merge', subresource: 'status', signal });
          return done;
        },
      },
    };
  },
};

const pick = (value: object | undefined, keys: readonly string[]): object =>
  Object.fromEntries(keys.map((key) => [key, (value as Record<string, unknown> | undefined)?.[key]]));
