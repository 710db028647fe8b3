import type { kubevirt, VirtualMachineInstance } from '@slipway/api';
import { Reason, VirtualMachineInstanceKind, VirtualMachineInstanceReplicaSetKind } from '@slipway/api';
import { deepEqual, formatTime, isNotFound, keyOf, keyString, type ObjectKey } from '@slipway/apimachinery';
import type { Client } from '@slipway/client';
import {
  type Clock,
  done,
  type EventRecorder,
  type Expectations,
  type Lister,
  type Reconciler,
  type Result,
} from '@slipway/runtime';
import { memberOf, planReplicas, type ReplicaFailure, type ReplicaPlan, replicaSetStatus } from './replica-set-plan.ts';

type ReplicaSet = kubevirt.VirtualMachineInstanceReplicaSet;

export interface ReplicaSetReconcilerDeps {
  readonly client: Client;
  readonly events: EventRecorder;
  readonly clock: Clock;
  readonly sets: Lister<ReplicaSet>;
  readonly vmis: Lister<VirtualMachineInstance>;
  /** Told about every instance that appears or goes, under the key of its set. */
  readonly expectations: Expectations;
}

/** Keeps as many instances of a template as a VirtualMachineInstanceReplicaSet asks for. */
export class ReplicaSetReconciler implements Reconciler {
  private readonly deps: ReplicaSetReconcilerDeps;

  constructor(deps: ReplicaSetReconcilerDeps) {
    this.deps = deps;
  }

  async reconcile(key: ObjectKey, signal: AbortSignal): Promise<Result> {
    const { sets, vmis, expectations } = this.deps;
    const set = sets.get(key);
    if (set === undefined) {
      expectations.forget(keyString(key));
      return done; // owner references clean up the rest
    }
    const owned = vmis.ownedBy(set.metadata.uid ?? '');
    // writes that the cache does not show yet would be repeated
    const plan = expectations.isSatisfied(keyString(key)) ? planReplicas(set, owned) : { create: 0, remove: [] };
    this.reportPause(set);
    const failure = await this.act(set, plan, signal);
    await this.store(set, owned, failure, signal);
    if (failure !== undefined) throw new Error(`${failure.reason}: ${failure.message}`);
    return done;
  }

  private async act(set: ReplicaSet, { create, remove }: ReplicaPlan, signal: AbortSignal): Promise<ReplicaFailure | undefined> {
    const deleted = await Promise.all(remove.map((vmi) => this.remove(set, vmi, signal)));
    const created = await Promise.all(Array.from({ length: create }, () => this.create(set, signal)));
    return [...deleted, ...created].find((failure) => failure !== undefined);
  }

  private async create(set: ReplicaSet, signal: AbortSignal): Promise<ReplicaFailure | undefined> {
    const { client, events, expectations } = this.deps;
    const key = keyString(keyOf(set));
    expectations.expectCreations(key, 1);
    try {
      const vmi = await client.create(VirtualMachineInstanceKind, memberOf(set), { signal });
      events.normal(
        set,
        Reason.successfulCreate,
        `Started the virtual machine by creating the new virtual machine instance ${vmi.metadata.name}`,
      );
      return undefined;
    } catch (error) {
      expectations.creationObserved(key);
      if (signal.aborted) throw error;
      const message = error instanceof Error ? error.message : String(error);
      events.warning(set, Reason.failedCreate, `Error creating virtual machine instance: ${message}`);
      return { reason: Reason.failedCreate, message };
    }
  }

  private async remove(set: ReplicaSet, vmi: VirtualMachineInstance, signal: AbortSignal): Promise<ReplicaFailure | undefined> {
    const { client, events, expectations } = this.deps;
    const { uid = '' } = vmi.metadata;
    const key = keyString(keyOf(set));
    expectations.expectDeletion(key, uid);
    try {
      await client.delete(VirtualMachineInstanceKind, keyOf(vmi), { preconditions: { uid }, signal });
      events.normal(set, Reason.successfulDelete, `Stopped the virtual machine by deleting the virtual machine instance ${uid}`);
      return undefined;
    } catch (error) {
      expectations.deletionObserved(key, uid);
      if (isNotFound(error)) return undefined;
      if (signal.aborted) throw error;
      const message = error instanceof Error ? error.message : String(error);
      events.warning(set, Reason.failedDelete, `Error deleting virtual machine instance ${vmi.metadata.name}: ${message}`);
      return { reason: Reason.failedDelete, message };
    }
  }

  private reportPause(set: ReplicaSet): void {
    const wasPaused = (set.status?.conditions ?? []).some(({ type }) => type === 'ReplicaPaused');
    const isPaused = set.spec.paused === true;
    if (isPaused && !wasPaused) this.deps.events.normal(set, 'SuccessfulPaused', 'Paused');
    if (!isPaused && wasPaused) this.deps.events.normal(set, 'SuccessfulResumed', 'Resumed');
  }

  private async store(
    set: ReplicaSet,
    owned: readonly VirtualMachineInstance[],
    failure: ReplicaFailure | undefined,
    signal: AbortSignal,
  ): Promise<void> {
    const status = replicaSetStatus(set, owned, failure, formatTime(this.deps.clock.now()));
    if (deepEqual(status, set.status ?? {})) return;
    try {
      await this.deps.client.update(VirtualMachineInstanceReplicaSetKind, { ...set, status }, { subresource: 'status', signal });
    } catch (error) {
      if (!isNotFound(error)) throw error;
    }
  }
}
