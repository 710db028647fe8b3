import type { KubeObject, ResourceKind } from '@slipway/apimachinery';
import { NamespaceKind } from '@slipway/api';
import { discoverKinds } from '@slipway/client';
import { allow, type ControllerRegistration } from '@slipway/runtime';
import { NamespaceReconciler } from './namespace-reconciler.ts';

type Kinds = readonly ResourceKind<KubeObject>[];

/** Finishes the deletion of namespaces. `kinds` replaces discovery. */
export function namespaceController(kinds?: Kinds): ControllerRegistration {
  return {
    name: 'namespace-controller',
    rules: [
      { apiGroups: ['*'], resources: ['*'], verbs: ['get', 'list', 'delete', 'deletecollection'] },
      ...allow('update', [NamespaceKind, 'finalize'], [NamespaceKind, 'status']),
    ],
    create: ({ client, clock, informers }) => ({
      kind: NamespaceKind,
      predicate: ({ type, object }) => type !== 'deleted' && object.metadata.deletionTimestamp !== undefined,
      reconciler: new NamespaceReconciler({
        client,
        clock,
        namespaces: informers.lister(NamespaceKind),
        kinds: async (signal) =>
          kinds ??
          (await discoverKinds(client, signal)).filter(
            ({ namespaced, verbs }) => namespaced && ['list', 'delete', 'deletecollection'].every((verb) => verbs.includes(verb)),
          ),
      }),
    }),
  };
}
