import {
  type CSIStorageCapacity,
  CSIStorageCapacityKind,
  NodeKind,
  STORAGE_POOLS_ANNOTATION,
  StorageClassKind,
} from '@slipway/api';
import { deepEqual, ignoreNotFound, keyOf } from '@slipway/apimachinery';
import { allow, type ControllerRegistration, done, watchOf } from '@slipway/runtime';
import { MANAGED_BY_LABEL, MANAGER, planCapacities } from './plan-capacity.ts';

/** One CSIStorageCapacity for each node and class of the node agents' provisioners. */
export const storageCapacityController: ControllerRegistration = {
  name: 'storage-capacity-controller',
  rules: allow('create update delete', CSIStorageCapacityKind),
  create({ client, informers, settings: { installNamespace } }) {
    const classes = informers.lister(StorageClassKind);
    const nodes = informers.lister(NodeKind);
    const capacities = informers.lister(CSIStorageCapacityKind);
    return {
      kind: StorageClassKind,
      concurrency: 1,
      watches: [
        watchOf(
          NodeKind,
          () => classes.list().map(keyOf),
          ({ type, object, old }) =>
            type !== 'updated' ||
            object.metadata.annotations?.[STORAGE_POOLS_ANNOTATION] !== old?.metadata.annotations?.[STORAGE_POOLS_ANNOTATION],
        ),
      ],
      reconciler: {
        async reconcile(key, signal) {
          const wanted = planCapacities(classes.get(key), nodes.list(), installNamespace);
          const found = capacities
            .list()
            .filter(
              ({ storageClassName, metadata }) =>
                storageClassName === key.name && metadata.labels?.[MANAGED_BY_LABEL] === MANAGER,
            );
          for (const object of wanted) {
            const current = found.find(({ metadata }) => metadata.name === object.metadata.name);
            if (current === undefined) await client.create(CSIStorageCapacityKind, object, { signal });
            else if (!isSame(current, object))
              await client.update(
                CSIStorageCapacityKind,
                { ...object, metadata: { ...current.metadata, ...object.metadata } },
                { signal },
              );
          }
          const gone = found.filter(({ metadata }) => !wanted.some((object) => object.metadata.name === metadata.name));
          for (const object of gone) await client.delete(CSIStorageCapacityKind, keyOf(object), { signal }).catch(ignoreNotFound);
          return done;
        },
      },
    };
  },
};

const isSame = (a: CSIStorageCapacity, b: CSIStorageCapacity): boolean =>
  a.capacity === b.capacity &&
  a.maximumVolumeSize === b.maximumVolumeSize &&
  deepEqual(a.metadata.annotations, b.metadata.annotations) &&
  deepEqual(a.nodeTopology, b.nodeTopology);
