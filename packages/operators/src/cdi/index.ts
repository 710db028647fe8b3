import { CDIConfigKind, CDIKind, EndpointsKind, ServiceKind } from '@slipway/api';
import { keyOf } from '@slipway/apimachinery';
import { allow, type ControllerRegistration, watchOf } from '@slipway/runtime';
import { CDI_WORKLOADS, CdiReconciler } from './cdi-reconciler.ts';

/** Keeps the CDI object: its phase, its upload Service, and what goes with it. */
export const cdiOperator: ControllerRegistration = {
  name: 'cdi-operator',
  rules: [
    ...allow('update', CDIKind, [CDIKind, 'finalizers']),
    ...allow('get create', ServiceKind),
    ...allow('get create update', EndpointsKind),
    ...allow('delete', ...CDI_WORKLOADS),
  ],
  create({ client, clock, events, informers, settings }) {
    const cdis = informers.lister(CDIKind);
    const configs = informers.lister(CDIConfigKind);
    return {
      kind: CDIKind,
      concurrency: 1,
      watches: [
        // when the active one goes, the next takes its place
        watchOf(
          CDIKind,
          () => cdis.list().map(keyOf),
          ({ type }) => type === 'deleted',
        ),
      ],
      reconciler: new CdiReconciler({
        ...{ client, clock, events, settings, cdis },
        config: () => configs.get({ namespace: '', name: 'config' }),
        workloads: CDI_WORKLOADS.map((kind) => ({ kind, objects: informers.lister(kind) })),
      }),
    };
  },
};
