import type {
  ControllerRevision,
  DataVolume,
  kubevirt,
  Node,
  PersistentVolumeClaim,
  VirtualMachine,
  VirtualMachineInstance,
} from '@slipway/api';
import { DataVolumeKind, PersistentVolumeClaimKind, Reason, VirtualMachineKind, VirtualMachinePoolKind } from '@slipway/api';
import {
  deepEqual,
  formatTime,
  isAlreadyExists,
  isConflict,
  isNotFound,
  type KubeObject,
  keyOf,
  keyString,
  type ObjectKey,
  type ResourceKind,
} from '@slipway/apimachinery';
import type { Client } from '@slipway/client';
import {
  after,
  type Clock,
  done,
  type EventRecorder,
  type Expectations,
  type Lister,
  type Reconciler,
  type Result,
} from '@slipway/runtime';
import { freeIndexes, memberIndex, memberLabels, memberSpec, newMember, REVISION_LABEL } from './pool-member.ts';
import { type Member, planPool, type PoolPlan } from './pool-plan.ts';
import { currentRevision, keptTemplate, pruneRevisions } from './pool-revisions.ts';
import { type PoolFailure, poolStatus } from './pool-status.ts';

type Pool = kubevirt.VirtualMachinePool;

export interface PoolReconcilerDeps {
  readonly client: Client;
  readonly events: EventRecorder;
  readonly clock: Clock;
  readonly random: () => number;
  readonly pools: Lister<Pool>;
  readonly vms: Lister<VirtualMachine>;
  readonly vmis: Lister<VirtualMachineInstance>;
  readonly nodes: Lister<Node>;
  readonly revisions: Lister<ControllerRevision>;
  readonly dataVolumes: Lister<DataVolume>;
  readonly claims: Lister<PersistentVolumeClaim>;
  /** Told about every VM that appears or goes, under the key of its pool. */
  readonly expectations: Expectations;
}

/** Keeps as many VMs of a template as a VirtualMachinePool asks for, and brings them to the template's present state. */
export class PoolReconciler implements Reconciler {
  private readonly deps: PoolReconcilerDeps;

  constructor(deps: PoolReconcilerDeps) {
    this.deps = deps;
  }

  async reconcile(key: ObjectKey, signal: AbortSignal): Promise<Result> {
    const { pools, vms, expectations } = this.deps;
    const pool = pools.get(key);
    if (pool === undefined) {
      expectations.forget(keyString(key));
      return done; // owner references clean up the rest
    }
    const owned = vms.ownedBy(pool.metadata.uid ?? '');
    this.reportPause(pool);
    const { failure, retryInMs } = await this.sync(pool, owned, signal);
    await this.store(pool, owned, failure, signal);
    if (failure !== undefined) throw new Error(`${failure.reason}: ${failure.message}`);
    return retryInMs === undefined ? done : after(retryInMs);
  }

  private async sync(
    pool: Pool,
    owned: readonly VirtualMachine[],
    signal: AbortSignal,
  ): Promise<{ readonly failure: PoolFailure | undefined; readonly retryInMs: number | undefined }> {
    // writes that the cache does not show yet would be repeated
    if (pool.metadata.deletionTimestamp !== undefined || !this.deps.expectations.isSatisfied(keyString(keyOf(pool))))
      return { failure: undefined, retryInMs: undefined };
    const { client, clock, random } = this.deps;
    const revisions = this.deps.revisions.ownedBy(pool.metadata.uid ?? '');
    const current = await currentRevision(client, pool, revisions, signal);
    const name = current.metadata.name ?? '';
    const guestOf = (revision: string | undefined) =>
      keptTemplate(revisions.find(({ metadata }) => metadata.name === revision))?.spec?.template;
    const members = owned.map((vm) => this.memberOf(vm));
    const plan = planPool({
      pool,
      members,
      revision: name,
      isGuestOutdated: (revision) =>
        revision !== name && !deepEqual(guestOf(revision), pool.spec.virtualMachineTemplate.spec?.template),
      nowMs: clock.now(),
      random,
    });
    const failure = await this.act(pool, plan, name, signal);
    const used = members.flatMap(({ vm, vmi }) => [vm, vmi].map((object) => object?.metadata.labels?.[REVISION_LABEL]));
    try {
      await pruneRevisions(client, revisions, new Set([...used, name]), signal);
    } catch (error) {
      this.deps.events.warning(pool, 'FailedRevisionPruning', textOf(error));
      throw error;
    }
    return { failure, retryInMs: plan.retryInMs };
  }

  private memberOf(vm: VirtualMachine): Member {
    const vmi = this.deps.vmis.get(keyOf(vm));
    const name = vmi?.status?.nodeName;
    return { vm, vmi, node: name === undefined ? undefined : this.deps.nodes.get({ namespace: '', name }) };
  }

  private async act(pool: Pool, plan: PoolPlan, revision: string, signal: AbortSignal): Promise<PoolFailure | undefined> {
    const names = this.deps.vms.list().filter((vm) => vm.metadata.namespace === pool.metadata.namespace);
    const indexes = freeIndexes(
      pool,
      names.map(({ metadata }) => metadata.name),
      plan.create,
    );
    const failures = [
      ...(await Promise.all([...plan.heal, ...plan.remove].map((vm) => this.remove(pool, vm, signal)))),
      ...(await Promise.all(indexes.map((index) => this.create(pool, index, revision, signal)))),
      ...(await Promise.all(plan.update.map((vm) => this.update(pool, vm, revision, signal)))),
      ...(await Promise.all(plan.restart.map((member) => this.restart(pool, member, signal)))),
    ];
    return failures.find((failure) => failure !== undefined);
  }

  private async create(pool: Pool, index: number, revision: string, signal: AbortSignal): Promise<PoolFailure | undefined> {
    const { client, events, expectations } = this.deps;
    const key = keyString(keyOf(pool));
    expectations.expectCreations(key, 1);
    try {
      const vm = await client.create(VirtualMachineKind, newMember(pool, index, revision), { signal });
      events.normal(pool, Reason.successfulCreate, `Created VM ${vm.metadata.namespace}/${vm.metadata.name}`);
      return undefined;
    } catch (error) {
      expectations.creationObserved(key);
      if (isAlreadyExists(error)) return undefined; // the cache will show it
      return this.failed(pool, 'FailedScaleOut', Reason.failedCreate, error, signal);
    }
  }

  private async remove(pool: Pool, vm: VirtualMachine, signal: AbortSignal): Promise<PoolFailure | undefined> {
    const { client, events, expectations } = this.deps;
    const { uid = '', namespace, name } = vm.metadata;
    const key = keyString(keyOf(pool));
    expectations.expectDeletion(key, uid);
    try {
      if (keepsDisks(pool)) await this.detachDisks(vm, signal);
      await client.delete(VirtualMachineKind, keyOf(vm), { preconditions: { uid }, signal });
      events.normal(pool, Reason.successfulDelete, `Deleted VM ${namespace}/${name} with uid ${uid}`);
      return undefined;
    } catch (error) {
      expectations.deletionObserved(key, uid);
      if (isNotFound(error)) return undefined;
      return this.failed(pool, 'FailedScaleIn', Reason.failedDelete, error, signal);
    }
  }

  /** Disks that are to outlive the VM lose it as owner; the next VM of that number takes them over. */
  private async detachDisks(vm: VirtualMachine, signal: AbortSignal): Promise<void> {
    const uid = vm.metadata.uid ?? '';
    await this.detach(DataVolumeKind, this.deps.dataVolumes.ownedBy(uid), uid, signal);
    await this.detach(PersistentVolumeClaimKind, this.deps.claims.ownedBy(uid), uid, signal);
  }

  private async detach<T extends KubeObject>(
    kind: ResourceKind<T>,
    objects: readonly T[],
    uid: string,
    signal: AbortSignal,
  ): Promise<void> {
    for (const { metadata } of objects) {
      const left = (metadata.ownerReferences ?? []).filter((owner) => owner.uid !== uid);
      const patch = { metadata: { ownerReferences: left.length > 0 ? left : null, resourceVersion: metadata.resourceVersion } };
      await this.deps.client.patch(kind, keyOf({ metadata }), patch, { type: 'merge', signal });
    }
  }

  private async update(pool: Pool, vm: VirtualMachine, revision: string, signal: AbortSignal): Promise<PoolFailure | undefined> {
    const { client, events } = this.deps;
    const { metadata } = vm;
    const spec = memberSpec(pool, memberIndex(pool, metadata.name) ?? 0, revision);
    const labels = { ...metadata.labels, ...memberLabels(pool, revision) };
    try {
      await client.update(VirtualMachineKind, { ...vm, metadata: { ...metadata, labels }, spec }, { signal });
      events.normal(pool, 'SuccessfulUpdate', `Updated VM ${metadata.namespace}/${metadata.name}`);
      return undefined;
    } catch (error) {
      if (isConflict(error) || isNotFound(error)) return undefined; // its event brings another pass
      return this.failed(pool, 'FailedUpdate', 'FailedUpdate', error, signal);
    }
  }

  /** Asks for a restart as a user would; what is asked for already is not asked for again. */
  private async restart(pool: Pool, { vm, vmi }: Member, signal: AbortSignal): Promise<PoolFailure | undefined> {
    const uid = vmi?.metadata.uid;
    const stateChangeRequests = [{ action: 'Stop', ...(uid !== undefined && { uid }) }, { action: 'Start' }];
    try {
      const updated = { ...vm, status: { ...vm.status, stateChangeRequests } };
      await this.deps.client.update(VirtualMachineKind, updated, { subresource: 'status', signal });
      this.deps.events.normal(pool, 'SuccessfulUpdate', `Restarted VM ${vm.metadata.namespace}/${vm.metadata.name}`);
      return undefined;
    } catch (error) {
      if (isConflict(error) || isNotFound(error)) return undefined; // its event brings another pass
      return this.failed(pool, 'FailedUpdate', 'FailedUpdate', error, signal);
    }
  }

  private failed(pool: Pool, event: string, reason: string, error: unknown, signal: AbortSignal): PoolFailure {
    if (signal.aborted) throw error;
    const message = textOf(error);
    this.deps.events.warning(pool, event, message);
    return { reason, message };
  }

  private reportPause(pool: Pool): void {
    const wasPaused = (pool.status?.conditions ?? []).some(({ type }) => type === 'ReplicaPaused');
    const isPaused = pool.spec.paused === true;
    if (isPaused && !wasPaused) this.deps.events.normal(pool, 'SuccessfulPaused', 'Pool is paused');
    if (!isPaused && wasPaused) this.deps.events.normal(pool, 'SuccessfulResume', 'Pool is unpaused');
  }

  private async store(
    pool: Pool,
    owned: readonly VirtualMachine[],
    failure: PoolFailure | undefined,
    signal: AbortSignal,
  ): Promise<void> {
    const status = poolStatus(pool, owned, failure, formatTime(this.deps.clock.now()));
    if (deepEqual(status, pool.status ?? {})) return;
    try {
      await this.deps.client.update(VirtualMachinePoolKind, { ...pool, status }, { subresource: 'status', signal });
    } catch (error) {
      if (!isNotFound(error)) throw error;
    }
  }
}

const textOf = (error: unknown): string => (error instanceof Error ? error.message : String(error));

function keepsDisks({ spec }: Pool): boolean {
  const { proactive, opportunistic } = spec.scaleInStrategy ?? {};
  return ['Offline', 'Online'].includes((proactive ?? opportunistic)?.statePreservation ?? 'Disabled');
}
