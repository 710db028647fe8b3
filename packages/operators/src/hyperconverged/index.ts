import type { ObjectKey } from '@slipway/apimachinery';
import { NamespaceKind, NodeKind } from '@slipway/api';
import { allow, type ControllerRegistration, watchFor } from '@slipway/runtime';
import { HCO_NAME, HyperConvergedKind } from '../kinds.ts';
import { makeFirstObjects } from './first-objects.ts';
import { HyperConvergedReconciler } from './hyperconverged-reconciler.ts';
import { hyperConvergedMetrics } from './metrics.ts';
import { OPERANDS } from './operands.ts';

/** Installs the platform from one object, which it creates itself when it starts for the first time. */
export const hyperConvergedController: ControllerRegistration = {
  name: 'hco-operator',
  rules: [
    ...allow('get create patch', NamespaceKind),
    ...allow('create update delete', HyperConvergedKind, ...OPERANDS.map(({ kind }) => kind)),
    ...allow('update', [HyperConvergedKind, 'status']),
  ],
  create(deps) {
    const { client, events, clock, informers, settings } = deps;
    const key: ObjectKey = { namespace: settings.installNamespace, name: HCO_NAME };
    const hcos = informers.lister(HyperConvergedKind);
    const reconciler = new HyperConvergedReconciler({
      ...{ client, events, clock, settings, hcos },
      nodes: informers.lister(NodeKind),
      listerOf: ({ kind }) => informers.lister(kind),
    });
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
      reconciler,
      metrics: () => hyperConvergedMetrics(hcos.get(key), reconciler.writer.overwritten),
      install: (signal) => makeFirstObjects(client, settings, signal),
      run: async (queue) => queue.add(key),
    };
  },
};
