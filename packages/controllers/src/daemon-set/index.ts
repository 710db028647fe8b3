import { keyOf } from '@slipway/apimachinery';
import { ControllerRevisionKind, type DaemonSet, DaemonSetKind, type Node, NodeKind, type Pod } from '@slipway/api';
import {
  allow,
  after,
  type ControllerDeps,
  type ControllerRegistration,
  done,
  type InformerEvent,
  type Reconciler,
  type Result,
  specOrMetaChanged,
  watchOf,
} from '@slipway/runtime';
import { OwnedPods, podFromTemplate, workloadRules } from '../workload/owned-pods.ts';
import { nextAvailabilityMs } from '../workload/pod-state.ts';
import { hashOf, REVISION_LABEL, RevisionHistory } from '../workload/revision-history.ts';
import { writeStatus } from '../workload/write-status.ts';
import { affinityFor, type DaemonFacts, daemonSetStatus, daemonTolerations, planDaemons } from './plan-daemons.ts';

const TEMPLATE_GENERATION = 'deprecated.daemonset.template.generation';

/** Runs one pod of each DaemonSet on every node that fits. */
export const daemonSetController: ControllerRegistration = {
  name: 'daemonset-controller',
  rules: [...workloadRules(DaemonSetKind), ...allow('create update delete get', ControllerRevisionKind)],
  create(deps) {
    const pods = new OwnedPods<DaemonSet>(deps, DaemonSetKind);
    const sets = deps.informers.lister(DaemonSetKind);
    const history = new RevisionHistory<DaemonSet>(deps.client, deps.informers.lister(ControllerRevisionKind), DaemonSetKind);
    return {
      kind: DaemonSetKind,
      predicate: specOrMetaChanged,
      watches: [...pods.watches(sets), watchOf(NodeKind, () => sets.list().map(keyOf), concernsDaemons)],
      reconciler: daemonSetReconciler(deps, pods, history),
    };
  },
};

function concernsDaemons({ type, object, old }: InformerEvent<Node>): boolean {
  if (type !== 'updated') return true;
  const shape = ({ metadata, spec }: Node) => JSON.stringify([metadata.labels, spec?.taints]);
  return shape(object) !== shape(old);
}

function daemonSetReconciler(
  { client, clock, informers }: ControllerDeps,
  owned: OwnedPods<DaemonSet>,
  history: RevisionHistory<DaemonSet>,
): Reconciler {
  const sets = informers.lister(DaemonSetKind);
  const nodes = informers.lister(NodeKind);

  const sync = async (set: DaemonSet, signal: AbortSignal): Promise<Result> => {
    const pods = await owned.of(set, signal);
    const revisions = await history.sync(set, signal);
    const facts: DaemonFacts = { nodes: nodes.list(), pods, hash: hashOf(revisions.update), nowMs: clock.now() };
    const isReadyToAct = !set.metadata.deletionTimestamp && owned.isSettled(set);
    const plan = isReadyToAct ? planDaemons(set, facts) : { create: [], remove: [] };
    const fresh = plan.create.map((node) => daemonOn(set, node, facts.hash));
    const failure = (await owned.create(set, fresh, signal)) ?? (await owned.remove(set, plan.remove, signal));
    await writeStatus(client, DaemonSetKind, set, daemonSetStatus(set, facts), signal);
    const inUse = new Set([facts.hash, ...pods.map(({ metadata }) => metadata.labels?.[REVISION_LABEL])]);
    await history.trim(set, revisions, (revision) => inUse.has(hashOf(revision)), signal);
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

function daemonOn(set: DaemonSet, node: string, hash: string): Pod {
  const pod = podFromTemplate(set, DaemonSetKind, set.spec?.template);
  const generation = set.metadata.annotations?.[TEMPLATE_GENERATION];
  return {
    ...pod,
    metadata: {
      ...pod.metadata,
      labels: {
        ...pod.metadata.labels,
        [REVISION_LABEL]: hash,
        ...(generation && { 'pod-template-generation': generation }),
      },
    },
    spec: {
      containers: [],
      ...pod.spec,
      affinity: affinityFor(pod.spec?.affinity, node),
      tolerations: daemonTolerations(pod.spec),
    },
  };
}
