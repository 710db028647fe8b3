import { controllerOf, type KubeObject, type LabelSelectorObject, keyOf, matchesLabels, selectorOf } from '@slipway/apimachinery';
import {
  DeploymentKind,
  type Pod,
  type PodDisruptionBudget,
  PodDisruptionBudgetKind,
  PodKind,
  ReplicaSetKind,
  StatefulSetKind,
} from '@slipway/api';
import {
  allow,
  after,
  type ControllerDeps,
  type ControllerRegistration,
  done,
  type InformerEvent,
  watchOf,
} from '@slipway/runtime';
import { isPodReady } from '../workload/pod-state.ts';
import { writeStatus } from '../workload/write-status.ts';
import { EVICTION_TIMEOUT_MS, planBudget, refusedBudget } from './plan-budget.ts';

/** Keeps the status of PodDisruptionBudgets, which evictions are measured by. */
export const disruptionController: ControllerRegistration = {
  name: 'disruption-controller',
  rules: [...allow('update', [PodDisruptionBudgetKind, 'status'])],
  create(deps) {
    const { client, clock, events, informers } = deps;
    const budgets = informers.lister(PodDisruptionBudgetKind);
    const pods = informers.lister(PodKind);
    const wantedReplicas = replicaCounter(deps);
    const budgetsOf = (pod: Pod) =>
      budgets
        .list(pod.metadata.namespace)
        .filter((budget) => covers(budget, pod))
        .map(keyOf);
    const budgetsBeside = ({ metadata }: KubeObject) => budgets.list(metadata.namespace).map(keyOf);
    return {
      kind: PodDisruptionBudgetKind,
      watches: [
        watchOf(PodKind, budgetsOf, concernsBudgets),
        watchOf(DeploymentKind, budgetsBeside, hasNewScale),
        watchOf(ReplicaSetKind, budgetsBeside, hasNewScale),
        watchOf(StatefulSetKind, budgetsBeside, hasNewScale),
      ],
      reconciler: {
        async reconcile(key, signal) {
          const budget = budgets.get(key);
          if (budget === undefined || budget.metadata.deletionTimestamp) return done;
          const covered = pods.list(key.namespace).filter((pod) => covers(budget, pod));
          const nowMs = clock.now();
          const counted = wantedReplicas(covered);
          const planned = planBudget(budget, { pods: covered, wantedReplicas: counted.wanted, nowMs });
          const status = planned ?? refusedBudget(budget, counted.problem, nowMs);
          if (planned === undefined) events.warning(budget, 'CalculateExpectedPodCountFailed', counted.problem);
          await writeStatus(client, PodDisruptionBudgetKind, budget, status, signal);
          return status.disruptedPods === undefined ? done : after(EVICTION_TIMEOUT_MS);
        },
      },
    };
  },
};

function covers({ spec, metadata }: PodDisruptionBudget, pod: Pod): boolean {
  if (metadata.namespace !== pod.metadata.namespace) return false;
  // published and own type of a label selector differ in optionality only
  const selector = selectorOf(spec?.selector as LabelSelectorObject | undefined);
  return selector !== undefined && matchesLabels(selector, pod.metadata.labels);
}

function concernsBudgets({ type, object, old }: InformerEvent<Pod>): boolean {
  if (type !== 'updated') return true;
  const shape = (pod: Pod) => JSON.stringify([pod.metadata.labels, pod.metadata.deletionTimestamp, isPodReady(pod)]);
  return shape(object) !== shape(old);
}

interface Scaled {
  readonly spec?: { readonly replicas?: number };
}

const hasNewScale = ({ object, old }: { object: Scaled; old?: Scaled | undefined }): boolean =>
  object.spec?.replicas !== old?.spec?.replicas;

interface ReplicaCount {
  readonly wanted: number | undefined;
  readonly problem: string;
}

/** Adds up the replicas that the controllers of some pods want, each controller once. */
function replicaCounter({ informers }: ControllerDeps): (pods: readonly Pod[]) => ReplicaCount {
  const deployments = informers.lister(DeploymentKind);
  const replicaSets = informers.lister(ReplicaSetKind);
  const statefulSets = informers.lister(StatefulSetKind);

  const scaleOf = (pod: Pod): { readonly uid: string; readonly replicas: number } | undefined => {
    const owner = controllerOf(pod);
    if (owner === undefined) return undefined;
    const key = { namespace: pod.metadata.namespace ?? '', name: owner.name };
    const set = owner.kind === 'ReplicaSet' ? replicaSets.get(key) : statefulSets.get(key);
    if (set?.metadata.uid !== owner.uid) return undefined;
    const above = controllerOf(set);
    const deployment = above?.kind === 'Deployment' ? deployments.get({ ...key, name: above.name }) : undefined;
    return { uid: deployment?.metadata.uid ?? owner.uid, replicas: (deployment ?? set).spec?.replicas ?? 1 };
  };

  return (pods) => {
    const byUid = new Map<string, number>();
    for (const pod of pods) {
      const scale = scaleOf(pod);
      const problem = `found no controllers with a scale for pod "${pod.metadata.name}"`;
      if (scale === undefined) return { wanted: undefined, problem };
      byUid.set(scale.uid, scale.replicas);
    }
    return { wanted: [...byUid.values()].reduce((sum, replicas) => sum + replicas, 0), problem: '' };
  };
}
