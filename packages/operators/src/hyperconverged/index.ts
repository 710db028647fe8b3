import { isAlreadyExists, type KubeObject, type ObjectKey, type ResourceKind } from '@slipway/apimachinery';
import { NamespaceKind, NodeKind } from '@slipway/api';
import { allow, type ControllerDeps, type ControllerRegistration, sleep, watchFor } from '@slipway/runtime';
import { HCO_FINALIZER, HCO_NAME, type HyperConverged, HyperConvergedKind } from '../kinds.ts';
import { HyperConvergedReconciler } from './hyperconverged-reconciler.ts';
import { OPERANDS } from './operands.ts';

const RETRY_MS = 250;

/** Installs the platform from one object, which it creates itself when it starts. */
export const hyperConvergedController: ControllerRegistration = {
  name: 'hco-operator',
  rules: [
    ...allow('create', NamespaceKind),
    ...allow('create update delete', HyperConvergedKind, ...OPERANDS.map(({ kind }) => kind)),
    ...allow('update', [HyperConvergedKind, 'status']),
  ],
  create(deps) {
    const { client, events, clock, informers, settings } = deps;
    const key: ObjectKey = { namespace: settings.installNamespace, name: HCO_NAME };
    const hcos = informers.lister(HyperConvergedKind);
    let isBootstrapped = false;
    return {
      kind: HyperConvergedKind,
      watches: [
        ...OPERANDS.map(({ kind }) => watchFor(kind, key)),
        // heartbeats of nodes do not change the topology
        watchFor(
          NodeKind,
          key,
          ({ type, object, old }) =>
            type !== 'updated' || JSON.stringify(object.metadata.labels) !== JSON.stringify(old.metadata.labels),
        ),
      ],
      concurrency: 1,
      reconciler: new HyperConvergedReconciler({
        client,
        events,
        clock,
        settings,
        hcos,
        nodes: informers.lister(NodeKind),
        listerOf: ({ kind }) => informers.lister(kind),
      }),
      isIdle: () => isBootstrapped,
      async run(queue, signal) {
        while (!signal.aborted && !isBootstrapped) {
          try {
            await bootstrap(deps, key, signal);
            isBootstrapped = true;
          } catch (error) {
            if (signal.aborted) return;
            deps.log.warn({ error: String(error) }, 'cannot create the platform objects yet');
            await sleep(clock, RETRY_MS, signal).catch(() => {});
          }
        }
        queue.add(key);
      },
    };
  },
};

/**
 * One machine runs what a rack does elsewhere, and guests rarely touch all their memory: placement counts a third of it
 * (docs/decisions/0005-memory-overcommit.md). Everything else is HyperConverged's own default.
 */
const INITIAL_SPEC = { virtualization: { higherWorkloadDensity: { memoryOvercommitPercentage: 300 } } };

async function bootstrap({ client, settings }: ControllerDeps, key: ObjectKey, signal: AbortSignal): Promise<void> {
  const create = async <T extends KubeObject>(kind: ResourceKind<T>, object: T): Promise<void> => {
    await client.create(kind, object, { signal }).catch((error: unknown) => {
      if (!isAlreadyExists(error)) throw error;
    });
  };
  await create(NamespaceKind, { apiVersion: 'v1', kind: 'Namespace', metadata: { name: settings.installNamespace } });
  const hco: HyperConverged = {
    apiVersion: 'hco.kubevirt.io/v1',
    kind: 'HyperConverged',
    metadata: { ...key, labels: { app: HCO_NAME }, finalizers: [HCO_FINALIZER] },
    spec: INITIAL_SPEC,
  };
  await create(HyperConvergedKind, hco);
}
