import { ignoreAlreadyExists, isNotFound, keyOf, ownerReference } from '@slipway/apimachinery';
import {
  ControllerRevisionKind,
  PersistentVolumeClaimKind,
  type Pod,
  PodKind,
  type StatefulSet,
  StatefulSetKind,
} from '@slipway/api';
import {
  allow,
  after,
  type ControllerDeps,
  type ControllerRegistration,
  done,
  type Reconciler,
  type Result,
  specOrMetaChanged,
} from '@slipway/runtime';
import { OwnedPods, workloadRules } from '../workload/owned-pods.ts';
import { nextAvailabilityMs } from '../workload/pod-state.ts';
import { type History, RevisionHistory } from '../workload/revision-history.ts';
import { writeStatus } from '../workload/write-status.ts';
import { planStatefulSet, type StatefulFacts, type StatefulPlan, statefulSetStatus } from './plan-stateful-set.ts';
import { claimsOf, ordinalOf, revisionNameOf, statefulPod } from './stateful-pods.ts';

/** Keeps the numbered pods of StatefulSets, each with claims of its own. */
export const statefulSetController: ControllerRegistration = {
  name: 'statefulset-controller',
  rules: [
    ...workloadRules(StatefulSetKind),
    ...allow('create update delete get', ControllerRevisionKind),
    ...allow('create patch', PersistentVolumeClaimKind),
  ],
  create(deps) {
    const pods = new OwnedPods<StatefulSet>(deps, StatefulSetKind);
    const sets = deps.informers.lister(StatefulSetKind);
    const history = new RevisionHistory<StatefulSet>(deps.client, deps.informers.lister(ControllerRevisionKind), StatefulSetKind);
    return {
      kind: StatefulSetKind,
      predicate: specOrMetaChanged,
      watches: pods.watches(sets),
      reconciler: statefulSetReconciler(deps, pods, history),
    };
  },
};

function statefulSetReconciler(
  deps: ControllerDeps,
  owned: OwnedPods<StatefulSet>,
  history: RevisionHistory<StatefulSet>,
): Reconciler {
  const { client, clock, informers } = deps;
  const sets = informers.lister(StatefulSetKind);

  const sync = async (set: StatefulSet, signal: AbortSignal): Promise<Result> => {
    const pods = await owned.of(set, signal);
    const revisions = await history.sync(set, signal);
    const updateRevision = revisions.update.metadata.name ?? '';
    const currentRevision = set.status?.currentRevision || updateRevision;
    const facts: StatefulFacts = { pods, currentRevision, updateRevision, nowMs: clock.now() };
    const isReadyToAct = !set.metadata.deletionTimestamp && owned.isSettled(set);
    const failure = isReadyToAct ? await act(deps, owned, set, planStatefulSet(set, facts), revisions, signal) : undefined;
    const status = statefulSetStatus(set, facts);
    await writeStatus(client, StatefulSetKind, set, status, signal);
    const inUse = new Set([status.currentRevision, status.updateRevision, ...pods.map(revisionNameOf)]);
    await history.trim(set, revisions, ({ metadata }) => inUse.has(metadata.name), signal);
    if (failure) throw new Error(`${failure.reason}: ${failure.message}`);
    const waitMs = nextAvailabilityMs(pods, set.spec?.minReadySeconds ?? 0, clock.now());
    return waitMs === undefined ? done : after(waitMs);
  };

  return {
    async reconcile(key, signal) {
      const set = sets.get(key);
      if (set) return sync(set, signal);
      owned.forget(key);
      return done;
    },
  };
}

async function act(
  { client }: ControllerDeps,
  owned: OwnedPods<StatefulSet>,
  set: StatefulSet,
  plan: StatefulPlan,
  revisions: History,
  signal: AbortSignal,
) {
  const fresh: Pod[] = [];
  for (const { ordinal, revision } of plan.create) {
    for (const claim of claimsOf(set, ordinal)) {
      // one that is there was kept from an earlier pod of this number
      await client.create(PersistentVolumeClaimKind, claim, { signal }).catch(ignoreAlreadyExists);
    }
    const source = revisions.all.find(({ metadata }) => metadata.name === revision) ?? revisions.update;
    fresh.push(statefulPod(set, source, ordinal));
  }
  const failure = await owned.create(set, fresh, signal);
  if (set.spec?.persistentVolumeClaimRetentionPolicy?.whenScaled === 'Delete') {
    for (const pod of plan.remove) if (isCondemned(set, pod)) await tieClaims(client, set, pod, signal);
  }
  return failure ?? (await owned.remove(set, plan.remove, signal));
}

function isCondemned(set: StatefulSet, pod: Pod): boolean {
  const ordinal = ordinalOf(set, pod) ?? 0;
  const start = set.spec?.ordinals?.start ?? 0;
  return ordinal < start || ordinal >= start + (set.spec?.replicas ?? 1);
}

/** Makes the claims of a pod that scaling removes go with it. */
async function tieClaims(client: ControllerDeps['client'], set: StatefulSet, pod: Pod, signal: AbortSignal): Promise<void> {
  const patch = { metadata: { ownerReferences: [ownerReference(pod, PodKind)] } };
  for (const claim of claimsOf(set, ordinalOf(set, pod) ?? 0)) {
    try {
      await client.patch(PersistentVolumeClaimKind, keyOf(claim), patch, { type: 'merge', signal });
    } catch (error) {
      if (!isNotFound(error)) throw error;
    }
  }
}
