import { controllerOf, keyOf } from '@slipway/apimachinery';
import { DeploymentKind, type Pod, PodKind, type ReplicaSet, ReplicaSetKind } from '@slipway/api';
import { allow, type ControllerRegistration, owned, watchOf } from '@slipway/runtime';
import { DeploymentReconciler } from './deployment-reconciler.ts';

/** Rolls out Deployments. */
export const deploymentController: ControllerRegistration = {
  name: 'deployment-controller',
  rules: [
    ...allow('get patch', DeploymentKind),
    ...allow('update', [DeploymentKind, 'status']),
    ...allow('get create update patch delete', ReplicaSetKind),
  ],
  create({ client, events, clock, informers }) {
    const sets = informers.lister(ReplicaSetKind);
    const deployments = informers.lister(DeploymentKind);
    const adopters = (set: ReplicaSet) => (controllerOf(set) ? [] : deployments.list(set.metadata.namespace).map(keyOf));
    /** Recreate waits for the last pod of the old template. */
    const deploymentOf = (pod: Pod) => {
      const set = controllerOf(pod);
      const owner = set?.kind === ReplicaSetKind.kind && sets.get({ ...keyOf(pod), name: set.name });
      const above = owner ? controllerOf(owner) : undefined;
      return above?.kind === DeploymentKind.kind ? [{ namespace: pod.metadata.namespace ?? '', name: above.name }] : [];
    };
    return {
      kind: DeploymentKind,
      watches: [
        owned(ReplicaSetKind, DeploymentKind),
        watchOf(ReplicaSetKind, adopters),
        watchOf(PodKind, deploymentOf, ({ type }) => type === 'deleted'),
      ],
      reconciler: new DeploymentReconciler({
        client,
        events,
        clock,
        deployments,
        sets,
        pods: informers.lister(PodKind),
      }),
    };
  },
};
