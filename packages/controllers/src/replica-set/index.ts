import type { ResourceKind } from '@slipway/apimachinery';
import { ReplicaSetKind } from '@slipway/api';
import {
  after,
  type ControllerDeps,
  type ControllerRegistration,
  done,
  type Lister,
  type Reconciler,
  specOrMetaChanged,
} from '@slipway/runtime';
import { OwnedPods, podFromTemplate, workloadRules } from '../workload/owned-pods.ts';
import { nextAvailabilityMs } from '../workload/pod-state.ts';
import { writeStatus } from '../workload/write-status.ts';
import { planReplicas, type ReplicatedWorkload, replicaStatus } from './plan-replicas.ts';

/** Keeps as many pods of a template as a ReplicaSet asks for. */
export const replicaSetController: ControllerRegistration = {
  name: 'replicaset-controller',
  rules: [...workloadRules(ReplicaSetKind)],
  create: (deps) => replicaController(deps, ReplicaSetKind),
};

function replicaController<T extends ReplicatedWorkload>(deps: ControllerDeps, kind: ResourceKind<T>) {
  const pods = new OwnedPods<T>(deps, kind);
  const sets = deps.informers.lister(kind);
  return {
    kind,
    // a failure that reads differently each time is a change of status each time, which must not skip the back-off
    predicate: specOrMetaChanged,
    watches: pods.watches(sets),
    concurrency: 4,
    reconciler: replicaReconciler(deps, kind, sets, pods),
  };
}

function replicaReconciler<T extends ReplicatedWorkload>(
  { client, clock }: ControllerDeps,
  kind: ResourceKind<T>,
  sets: Lister<T>,
  owned: OwnedPods<T>,
): Reconciler {
  return {
    async reconcile(key, signal) {
      const set = sets.get(key);
      if (set === undefined) {
        owned.forget(key);
        return done; // owner references clean up the rest
      }
      const pods = await owned.of(set, signal);
      const plan = owned.isSettled(set) ? planReplicas(set, pods) : { create: 0, remove: [] };
      const fresh = Array.from({ length: plan.create }, () => podFromTemplate(set, kind, set.spec?.template));
      const failure = (await owned.create(set, fresh, signal)) ?? (await owned.remove(set, plan.remove, signal));
      await writeStatus(client, kind, set, replicaStatus(set, pods, failure, clock.now()), signal);
      if (failure) throw new Error(`${failure.reason}: ${failure.message}`);
      const waitMs = nextAvailabilityMs(pods, set.spec?.minReadySeconds ?? 0, clock.now());
      return waitMs === undefined ? done : after(waitMs);
    },
  };
}
