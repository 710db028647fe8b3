import { CSIDriverKind, HOSTPATH_PROVISIONERS, HostPathProvisionerKind, NodeKind, STORAGE_POOLS_ANNOTATION } from '@slipway/api';
import {
  type Condition,
  deepEqual,
  formatTime,
  ignoreNotFound,
  keyOf,
  type KubeObject,
  setCondition,
} from '@slipway/apimachinery';
import { allow, type ControllerRegistration, done, watchOf } from '@slipway/runtime';
import { createOnce } from '../components/create-once.ts';
import { planHostPathStatus } from './plan-status.ts';

export { hostPathAdmission } from './host-path-admission.ts';
export { storageCapacityController } from './storage-capacity.ts';

export const HOST_PATH_FINALIZER = 'finalizer.delete.hostpath-provisioner';

const [DRIVER] = HOSTPATH_PROVISIONERS;
/** Clients look for it to learn what the provisioner can do. */
const CSI_DRIVER: KubeObject & { spec: object } = {
  apiVersion: 'storage.k8s.io/v1',
  kind: 'CSIDriver',
  metadata: { name: DRIVER },
  spec: {
    attachRequired: false,
    podInfoOnMount: true,
    fsGroupPolicy: 'File',
    storageCapacity: true,
    volumeLifecycleModes: ['Persistent', 'Ephemeral'],
  },
};

/** Says of each HostPathProvisioner whether its pools are there. The agents of the nodes make them. */
export const hostPathOperator: ControllerRegistration = {
  name: 'hostpath-provisioner-operator',
  rules: [
    ...allow('update', HostPathProvisionerKind, [HostPathProvisionerKind, 'finalizers']),
    ...allow('get create delete', CSIDriverKind),
  ],
  create({ client, clock, informers, settings: { version } }) {
    const provisioners = informers.lister(HostPathProvisionerKind);
    const nodes = informers.lister(NodeKind);
    return {
      kind: HostPathProvisionerKind,
      concurrency: 1,
      watches: [
        watchOf(
          NodeKind,
          () => provisioners.list().map(keyOf),
          ({ type, object, old }) =>
            type !== 'updated' ||
            object.metadata.annotations?.[STORAGE_POOLS_ANNOTATION] !== old?.metadata.annotations?.[STORAGE_POOLS_ANNOTATION] ||
            !deepEqual(object.metadata.labels, old?.metadata.labels),
        ),
      ],
      reconciler: {
        async reconcile(key, signal) {
          const object = provisioners.get(key);
          if (object === undefined) return done;
          const { finalizers = [], deletionTimestamp } = object.metadata;
          const others = finalizers.filter((name) => name !== HOST_PATH_FINALIZER);
          if (deletionTimestamp !== undefined) {
            if (others.length === finalizers.length) return done;
            const isLast = provisioners.list().every(({ metadata }) => metadata.uid === object.metadata.uid);
            if (isLast) await client.delete(CSIDriverKind, keyOf(CSI_DRIVER), { signal }).catch(ignoreNotFound);
            const metadata = { ...object.metadata, finalizers: others };
            await client.update(HostPathProvisionerKind, { ...object, metadata }, { signal });
            return done;
          }
          await createOnce(client, CSIDriverKind, CSI_DRIVER, signal);
          const { conditions: updates, storagePoolStatuses } = planHostPathStatus(object, nodes.list());
          const now = formatTime(clock.now());
          const before: readonly Condition[] = object.status?.conditions ?? [];
          const conditions = [...updates.reduce((all, update) => setCondition(all, update, now), before)];
          const versions = { operatorVersion: version, targetVersion: version, observedVersion: version };
          // the kind has no status subresource: one write carries all
          const next = {
            ...object,
            metadata: { ...object.metadata, finalizers: [...others, HOST_PATH_FINALIZER] },
            status: { ...object.status, ...versions, conditions, storagePoolStatuses },
          };
          const isSame = deepEqual(next.status, object.status) && others.length < finalizers.length;
          if (!isSame) await client.update(HostPathProvisionerKind, next, { signal });
          return done;
        },
      },
    };
  },
};
