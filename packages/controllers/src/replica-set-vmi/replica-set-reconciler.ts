import type { kubevirt, VirtualMachineInstance } from '@slipway/api';
import { type ObjectKey } from '@slipway/apimachinery';
import { after, done, type Lister, type Reconciler, type Result } from '@slipway/runtime';
import { isDeleting, isFinal } from '../virtual-machine-instance/instance-state.ts';
import type { GroupFailure, GroupMembers } from '../workload/guest-group.ts';
import { isReady, memberOf, planReplicas, type ReplicaPlan } from './replica-set-plan.ts';

type ReplicaSet = kubevirt.VirtualMachineInstanceReplicaSet;

export interface ReplicaSetReconcilerDeps {
  readonly sets: Lister<ReplicaSet>;
  readonly members: GroupMembers<ReplicaSet, VirtualMachineInstance>;
}

/** Keeps as many instances of a template as a VirtualMachineInstanceReplicaSet asks for. */
export class ReplicaSetReconciler implements Reconciler {
  private readonly deps: ReplicaSetReconcilerDeps;

  constructor(deps: ReplicaSetReconcilerDeps) {
    this.deps = deps;
  }

  async reconcile(key: ObjectKey, signal: AbortSignal): Promise<Result> {
    const { sets, members } = this.deps;
    const set = sets.get(key);
    if (set === undefined) {
      members.forget(key);
      return done; // owner references clean up the rest
    }
    const owned = await members.of(set, signal);
    members.reportPause(set);
    const failure = members.isSettled(set) ? await this.act(set, planReplicas(set, owned), signal) : undefined;
    const active = owned.filter((vmi) => !isFinal(vmi) && !isDeleting(vmi));
    const counts = { replicas: active.length, readyReplicas: active.filter(isReady).length };
    const quietMs = await members.store(set, counts, failure, signal);
    return quietMs === undefined ? done : after(quietMs);
  }

  private async act(set: ReplicaSet, { create, remove }: ReplicaPlan, signal: AbortSignal): Promise<GroupFailure | undefined> {
    const { members } = this.deps;
    const reference = members.reference(set);
    const deleted = await Promise.all(remove.map((vmi) => members.remove(set, vmi, signal)));
    const created = await Promise.all(
      Array.from({ length: create }, () => members.create(set, memberOf(set, reference), signal)),
    );
    return [...deleted, ...created].find((failure) => failure !== undefined);
  }
}
