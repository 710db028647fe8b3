import { deepEqual, isAlreadyExists, isNotFound, keyOf, type ObjectKey } from '@slipway/apimachinery';
import { type Deployment, DeploymentKind, type Pod, type ReplicaSet, ReplicaSetKind } from '@slipway/api';
import type { Client } from '@slipway/client';
import { after, type Clock, done, type EventRecorder, type Lister, type Reconciler, type Result } from '@slipway/runtime';
import { claimObjects, selectorOfWorkload } from '../workload/claim-objects.ts';
import { isFinished } from '../workload/pod-state.ts';
import { templateHash } from '../workload/template-hash.ts';
import { writeStatus } from '../workload/write-status.ts';
import { deadlineInMs, deploymentStatus, isComplete, type StatusFacts } from './deployment-status.ts';
import { currentReplicas, isResized, planResize, planRollingUpdate, type Scaling, surplusHistory } from './plan-rollout.ts';
import {
  copiedAnnotations,
  findCurrent,
  newReplicaSet,
  replicasOf,
  REVISION,
  REVISION_HISTORY,
  revisionOf,
  sizeAnnotations,
} from './replica-sets.ts';

export interface DeploymentDeps {
  readonly client: Client;
  readonly events: EventRecorder;
  readonly clock: Clock;
  readonly deployments: Lister<Deployment>;
  readonly sets: Lister<ReplicaSet>;
  readonly pods: Lister<Pod>;
}

interface Rollout {
  readonly deployment: Deployment;
  readonly current: ReplicaSet | undefined;
  readonly old: readonly ReplicaSet[];
  readonly event?: StatusFacts['event'];
  readonly collisionCount?: number;
}

/** Brings a Deployment's ReplicaSets to its template and size, step by step; each step's effect brings it back. */
export class DeploymentReconciler implements Reconciler {
  private readonly deps: DeploymentDeps;

  constructor(deps: DeploymentDeps) {
    this.deps = deps;
  }

  async reconcile(key: ObjectKey, signal: AbortSignal): Promise<Result> {
    const deployment = this.deps.deployments.get(key);
    if (deployment === undefined) return done;
    const sets = await this.setsOf(deployment, signal);
    const current = findCurrent(deployment, sets);
    let rollout: Rollout = { deployment, current, old: sets.filter((set) => set !== current) };
    if (!deployment.metadata.deletionTimestamp) rollout = await this.advance(rollout, signal);
    return this.report(rollout, signal);
  }

  private async setsOf(deployment: Deployment, signal: AbortSignal): Promise<readonly ReplicaSet[]> {
    const selector = selectorOfWorkload(deployment.spec);
    if (selector === undefined || selector.length === 0) return [];
    const candidates = this.deps.sets.list(deployment.metadata.namespace);
    return claimObjects(
      this.deps.client,
      { kind: ReplicaSetKind, owner: deployment, ownerKind: DeploymentKind, selector, candidates },
      signal,
    );
  }

  private async advance(rollout: Rollout, signal: AbortSignal): Promise<Rollout> {
    const { deployment, current, old } = rollout;
    if (deployment.spec?.paused || isResized(deployment, current ? [...old, current] : old)) {
      await this.scale(rollout, planResize(deployment, current, old), signal);
      return rollout;
    }
    if (deployment.spec?.strategy?.type === 'Recreate' && (await this.stopOld(rollout, signal))) return rollout;
    const updated = current ? await this.refresh(rollout, current, signal) : await this.createSet(rollout, signal);
    if (updated.current) await this.scale(updated, planRollingUpdate(deployment, updated.current, old), signal);
    const counts = deploymentStatus(updated.deployment, { ...updated, nowMs: this.deps.clock.now() });
    if (isComplete(deployment, counts)) await this.cleanUp(updated, signal);
    return updated;
  }

  /** Recreate: true while pods of old templates are still there. */
  private async stopOld(rollout: Rollout, signal: AbortSignal): Promise<boolean> {
    const running = rollout.old.filter((set) => replicasOf(set) > 0);
    await this.scale(
      rollout,
      running.map((set) => ({ set, replicas: 0 })),
      signal,
    );
    const isStillThere = (set: ReplicaSet): boolean =>
      this.deps.pods.ownedBy(set.metadata.uid ?? '').some((pod) => !isFinished(pod));
    return running.length > 0 || rollout.old.some(isStillThere);
  }

  private async createSet(rollout: Rollout, signal: AbortSignal): Promise<Rollout> {
    const { deployment, old } = rollout;
    const collisionCount = deployment.status?.collisionCount ?? 0;
    const hash = templateHash(deployment.spec?.template, collisionCount);
    const revision = Math.max(0, ...old.map(revisionOf)) + 1;
    const wanted = newReplicaSet(deployment, hash, currentReplicas(deployment, 0, old), revision);
    try {
      const current = await this.deps.client.create(ReplicaSetKind, wanted, { signal });
      this.announce(deployment, current, 0, replicasOf(current));
      return { ...rollout, deployment: await this.setRevision(deployment, revision, signal), current, event: 'created' };
    } catch (error) {
      if (!isAlreadyExists(error)) throw error;
      const existing = await this.deps.client.get(ReplicaSetKind, keyOf(wanted), { signal });
      // ours, and the cache was behind; or another template with the same name, which needs another name
      if (findCurrent(deployment, [existing])) return { ...rollout, current: existing };
      return { ...rollout, collisionCount: collisionCount + 1 };
    }
  }

  /** Gives the current ReplicaSet the newest revision, and the Deployment's annotations. */
  private async refresh(rollout: Rollout, current: ReplicaSet, signal: AbortSignal): Promise<Rollout> {
    const { deployment, old } = rollout;
    const newest = Math.max(0, ...old.map(revisionOf)) + 1;
    const before = current.metadata.annotations ?? {};
    const annotations: Record<string, string> = { ...before, ...copiedAnnotations(deployment) };
    const isRollback = revisionOf(current) < newest;
    if (isRollback) {
      const history = [before[REVISION_HISTORY], before[REVISION]].filter(Boolean).join(',');
      annotations[REVISION] = String(newest);
      if (history) annotations[REVISION_HISTORY] = history;
    }
    const minReadySeconds = deployment.spec?.minReadySeconds ?? 0;
    const isSame = deepEqual(annotations, before) && (current.spec?.minReadySeconds ?? 0) === minReadySeconds;
    let next = current;
    if (!isSame) {
      const changed = { ...current, metadata: { ...current.metadata, annotations } };
      if (changed.spec) changed.spec = { ...changed.spec, minReadySeconds };
      next = await this.deps.client.update(ReplicaSetKind, changed, { signal });
    }
    const revised = await this.setRevision(deployment, revisionOf(next), signal);
    const isFound = isRollback || !deployment.status?.conditions?.some(({ type }) => type === 'Progressing');
    return { ...rollout, deployment: revised, current: next, ...(isFound && { event: 'found' as const }) };
  }

  private async setRevision(deployment: Deployment, revision: number, signal: AbortSignal): Promise<Deployment> {
    if (deployment.metadata.annotations?.[REVISION] === String(revision)) return deployment;
    const patch = { metadata: { annotations: { [REVISION]: String(revision) } } };
    return this.deps.client.patch(DeploymentKind, keyOf(deployment), patch, { type: 'merge', signal });
  }

  private async scale({ deployment }: Rollout, scalings: readonly Scaling[], signal: AbortSignal): Promise<void> {
    for (const { set, replicas } of scalings) {
      const annotations = { ...set.metadata.annotations, ...sizeAnnotations(deployment) };
      if (replicas === replicasOf(set) && deepEqual(annotations, set.metadata.annotations)) continue;
      const next = { ...set, metadata: { ...set.metadata, annotations } };
      if (next.spec) next.spec = { ...next.spec, replicas };
      await this.deps.client.update(ReplicaSetKind, next, { signal });
      if (replicas !== replicasOf(set)) this.announce(deployment, set, replicasOf(set), replicas);
    }
  }

  private announce(deployment: Deployment, set: ReplicaSet, from: number, to: number): void {
    if (from === to) return;
    const direction = to > from ? 'up' : 'down';
    this.deps.events.normal(
      deployment,
      'ScalingReplicaSet',
      `Scaled ${direction} replica set ${set.metadata.name} to ${to} from ${from}`,
    );
  }

  private async cleanUp({ deployment, old }: Rollout, signal: AbortSignal): Promise<void> {
    for (const set of surplusHistory(deployment, old)) {
      try {
        await this.deps.client.delete(ReplicaSetKind, keyOf(set), { preconditions: { uid: set.metadata.uid ?? '' }, signal });
      } catch (error) {
        if (!isNotFound(error)) throw error;
      }
    }
  }

  private async report(rollout: Rollout, signal: AbortSignal): Promise<Result> {
    const { client, clock } = this.deps;
    const { deployment } = rollout;
    const status = deploymentStatus(deployment, { ...rollout, nowMs: clock.now() });
    await writeStatus(client, DeploymentKind, deployment, status, signal);
    const waitMs = deadlineInMs(deployment, status, clock.now());
    return waitMs === undefined ? done : after(waitMs);
  }
}
