import { type KubeObject, keyOf, keyString, type ObjectKey } from '@slipway/apimachinery';
import type { Lister, MetricFamily, Reconciler } from '@slipway/runtime';

/** Counts how often each instance that exists has been reconciled. */
export function countingSyncs(
  reconciler: Reconciler,
  instances: Lister<KubeObject>,
): { readonly reconciler: Reconciler; readonly metrics: () => readonly MetricFamily[] } {
  const syncs = new Map<string, number>();
  return {
    reconciler: {
      reconcile(key: ObjectKey, signal) {
        const id = keyString(key);
        if (instances.get(key) === undefined) syncs.delete(id);
        else syncs.set(id, (syncs.get(id) ?? 0) + 1);
        return reconciler.reconcile(key, signal);
      },
    },
    metrics: () => [
      {
        name: 'kubevirt_vmi_sync_total',
        help: 'The total number of syncs of a VirtualMachineInstance.',
        type: 'counter',
        samples: instances.list().map((object) => {
          const { namespace, name } = keyOf(object);
          return { labels: { namespace, name }, value: syncs.get(keyString({ namespace, name })) ?? 0 };
        }),
      },
    ],
  };
}
