import {
  type ControllerRevision,
  type DataVolume,
  DataVolumeKind,
  type kubevirt,
  type Node,
  type PersistentVolumeClaim,
  PersistentVolumeClaimKind,
  type VirtualMachine,
  type VirtualMachineInstance,
  VirtualMachineKind,
} from '@slipway/api';
import {
  deepEqual,
  isConflict,
  isNotFound,
  type KubeObject,
  keyOf,
  type ObjectKey,
  type ResourceKind,
} from '@slipway/apimachinery';
import type { Client } from '@slipway/client';
import { after, type Clock, done, type EventRecorder, type Lister, type Reconciler, type Result } from '@slipway/runtime';
import { isDeleting } from '../virtual-machine-instance/instance-state.ts';
import type { GroupFailure, GroupMembers } from '../workload/guest-group.ts';
import { freeIndexes, memberIndex, memberLabels, memberSpec, newMember, REVISION_LABEL } from './pool-member.ts';
import { type Member, planPool, type PoolPlan } from './pool-plan.ts';
import { currentRevision, keptTemplate, pruneRevisions } from './pool-revisions.ts';

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
  readonly members: GroupMembers<Pool, VirtualMachine>;
}

/** Keeps as many VMs of a template as a VirtualMachinePool asks for, and brings them to the template's present state. */
export class PoolReconciler implements Reconciler {
  private readonly deps: PoolReconcilerDeps;

  constructor(deps: PoolReconcilerDeps) {
    this.deps = deps;
  }

  async reconcile(key: ObjectKey, signal: AbortSignal): Promise<Result> {
    const { pools, members } = this.deps;
    const pool = pools.get(key);
    if (pool === undefined) {
      members.forget(key);
      return done; // owner references clean up the rest
    }
    const owned = await members.of(pool, signal);
    members.reportPause(pool);
    const { failure, retryInMs } = await this.sync(pool, owned, signal);
    const present = owned.filter((vm) => !isDeleting(vm));
    const readyReplicas = present.filter(({ status }) => status?.ready === true).length;
    const quietMs = await members.store(pool, { replicas: present.length, readyReplicas }, failure, signal);
    const againMs = quietMs ?? retryInMs;
    return againMs === undefined ? done : after(againMs);
  }

  private async sync(
    pool: Pool,
    owned: readonly VirtualMachine[],
    signal: AbortSignal,
  ): Promise<{ readonly failure: GroupFailure | undefined; readonly retryInMs: number | undefined }> {
    // writes that the cache does not show yet would be repeated
    if (isDeleting(pool) || !this.deps.members.isSettled(pool)) return { failure: undefined, retryInMs: undefined };
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
      this.deps.members.failed(pool, ['FailedRevisionPruning', ''], 'FailedRevisionPruning', error, signal);
      throw error;
    }
    return { failure, retryInMs: plan.retryInMs };
  }

  private memberOf(vm: VirtualMachine): Member {
    const vmi = this.deps.vmis.get(keyOf(vm));
    const name = vmi?.status?.nodeName;
    return { vm, vmi, node: name === undefined ? undefined : this.deps.nodes.get({ namespace: '', name }) };
  }

  private async act(pool: Pool, plan: PoolPlan, revision: string, signal: AbortSignal): Promise<GroupFailure | undefined> {
    const { members } = this.deps;
    const reference = members.reference(pool);
    const names = this.deps.vms.list().filter((vm) => vm.metadata.namespace === pool.metadata.namespace);
    const indexes = freeIndexes(
      pool,
      names.map(({ metadata }) => metadata.name),
      plan.create,
    );
    const failures = [
      ...(await Promise.all([...plan.heal, ...plan.remove].map((vm) => this.remove(pool, vm, signal)))),
      ...(await Promise.all(indexes.map((index) => members.create(pool, newMember(pool, index, revision, reference), signal)))),
      ...(await Promise.all(plan.update.map((vm) => this.update(pool, vm, revision, signal)))),
      ...(await Promise.all(plan.restart.map((member) => this.restart(pool, member, signal)))),
    ];
    return failures.find((failure) => failure !== undefined);
  }

  private async remove(pool: Pool, vm: VirtualMachine, signal: AbortSignal): Promise<GroupFailure | undefined> {
    return this.deps.members.remove(pool, vm, signal, async () => {
      if (keepsDisks(pool)) await this.detachDisks(vm, signal);
    });
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

  private async update(pool: Pool, vm: VirtualMachine, revision: string, signal: AbortSignal): Promise<GroupFailure | undefined> {
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
      return this.deps.members.failed(pool, ['FailedUpdate', ''], 'FailedUpdate', error, signal);
    }
  }

  /** Asks for a restart as a user would; what is asked for already is not asked for again. */
  private async restart(pool: Pool, { vm, vmi }: Member, signal: AbortSignal): Promise<GroupFailure | undefined> {
    const uid = vmi?.metadata.uid;
    const stateChangeRequests = [{ action: 'Stop', ...(uid !== undefined && { uid }) }, { action: 'Start' }];
    try {
      const updated = { ...vm, status: { ...vm.status, stateChangeRequests } };
      await this.deps.client.update(VirtualMachineKind, updated, { subresource: 'status', signal });
      this.deps.events.normal(pool, 'SuccessfulUpdate', `Restarted VM ${vm.metadata.namespace}/${vm.metadata.name}`);
      return undefined;
    } catch (error) {
      if (isConflict(error) || isNotFound(error)) return undefined; // its event brings another pass
      return this.deps.members.failed(pool, ['FailedUpdate', ''], 'FailedUpdate', error, signal);
    }
  }
}

function keepsDisks({ spec }: Pool): boolean {
  const { proactive, opportunistic } = spec.scaleInStrategy ?? {};
  return ['Offline', 'Online'].includes((proactive ?? opportunistic)?.statePreservation ?? 'Disabled');
}
