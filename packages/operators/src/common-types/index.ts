import { KubeVirtKind, VirtualMachineClusterInstancetypeKind, VirtualMachineClusterPreferenceKind } from '@slipway/api';
import { ignoreNotFound, keyOf, type KubeObject, type ObjectKey, type ResourceKind } from '@slipway/apimachinery';
import { allow, type ControllerRegistration, done, sleep, watchOf } from '@slipway/runtime';
import { ensureObject } from '../monitoring/ensure-object.ts';
import { type CommonType, instanceTypes } from './instance-types.ts';
import { preferences } from './preferences.ts';

const START_AFTER_MS = 2_000;
/** All of them are one thing, switched by KubeVirt's configuration. */
const ALL: ObjectKey = { namespace: '', name: 'all' };
const MANAGED = 'app.kubernetes.io/managed-by';
const VERSION = 'instancetype.kubevirt.io/common-instancetypes-version';

/** Keeps the common instance types and preferences, unless the KubeVirt object says that they are not wanted. */
export const commonTypesController: ControllerRegistration = {
  name: 'common-instancetypes',
  rules: allow('create update delete', VirtualMachineClusterInstancetypeKind, VirtualMachineClusterPreferenceKind),
  create({ client, clock, informers }) {
    const kubevirts = informers.lister(KubeVirtKind);
    const bundles: readonly (readonly [ResourceKind<KubeObject>, () => readonly CommonType[]])[] = [
      [VirtualMachineClusterInstancetypeKind, instanceTypes],
      [VirtualMachineClusterPreferenceKind, preferences],
    ];
    const listers = bundles.map(([kind]) => informers.lister(kind));
    let isStarted = false;
    const isOurs = ({ metadata }: KubeObject): boolean =>
      metadata.labels?.[MANAGED] === 'virt-operator' && metadata.labels[VERSION] !== undefined;
    return {
      concurrency: 1,
      watches: [
        watchOf(
          KubeVirtKind,
          () => [ALL],
          ({ type, object, old }) => type !== 'updated' || object.metadata.generation !== old.metadata.generation,
        ),
        ...bundles.map(([kind]) =>
          watchOf(
            kind,
            (object) => (isOurs(object) ? [ALL] : []),
            ({ type }) => isStarted && type !== 'added',
          ),
        ),
      ],
      reconciler: {
        async reconcile(_, signal) {
          const [kubevirt] = kubevirts.list();
          if (!isStarted || kubevirt === undefined || kubevirt.metadata.deletionTimestamp) return done;
          const isWanted = kubevirt.spec.configuration?.commonInstancetypesDeployment?.enabled !== false;
          for (const [index, [kind, objects]] of bundles.entries()) {
            const lister = listers[index];
            if (isWanted)
              for (const object of objects())
                await ensureObject(client, kind, object as KubeObject, lister?.get(keyOf(object as KubeObject)), signal);
            else
              for (const object of lister?.list().filter(isOurs) ?? [])
                await client.delete(kind, keyOf(object), { signal }).catch(ignoreNotFound);
          }
          return done;
        },
      },
      async run(queue, signal) {
        await sleep(clock, START_AFTER_MS, signal).catch(() => {});
        isStarted = true;
        queue.add(ALL);
      },
    };
  },
};
