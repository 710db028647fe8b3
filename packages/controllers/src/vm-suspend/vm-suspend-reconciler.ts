import {
  NodeVerb,
  type PersistentVolumeClaim,
  PersistentVolumeClaimKind,
  SUSPEND,
  type VirtualMachine,
  type VirtualMachineInstance,
  VirtualMachineInstanceKind,
  VirtualMachineKind,
  VmCondition,
} from '@slipway/api';
import {
  assertNever,
  formatTime,
  ignoreNotFound,
  isAlreadyExists,
  isConflict,
  isNotFound,
  keyOf,
  type ObjectKey,
} from '@slipway/apimachinery';
import type { Client } from '@slipway/client';
import {
  after,
  type Clock,
  done,
  type EventRecorder,
  type Lister,
  type NodeConnector,
  type Reconciler,
  type Result,
} from '@slipway/runtime';
import { claimedVolumes } from '../virtual-machine-instance/claims.ts';
import type { FreshObjects } from '../virtual-machine-instance/fresh-objects.ts';
import { conditionOf, transition } from '../virtual-machine-instance/instance-state.ts';
import { isForeign, memoryClaim, memoryClaimName, renderMemoryClaim } from './memory-state.ts';
import { planSuspend, SAVE_FAILED, SAVED, type SuspendReport, type SuspendStep } from './suspend-plan.ts';

export interface VmSuspendDeps {
  readonly client: Client;
  readonly events: EventRecorder;
  readonly clock: Clock;
  readonly nodes: NodeConnector;
  readonly vms: FreshObjects<VirtualMachine>;
  readonly vmis: Lister<VirtualMachineInstance>;
  readonly claims: Lister<PersistentVolumeClaim>;
}

const RECHECK_MS = 1_000;

/** Carries out the annotation `slipway.dev/suspend` of VMs. */
export class VmSuspendReconciler implements Reconciler {
  private readonly deps: VmSuspendDeps;

  constructor(deps: VmSuspendDeps) {
    this.deps = deps;
  }

  async reconcile(key: ObjectKey, signal: AbortSignal): Promise<Result> {
    const { vms, vmis, claims } = this.deps;
    const vm = vms.get(key);
    if (vm === undefined) return done;
    const vmi = vmis.get(key);
    const claim = memoryClaim(vm, claims);
    const step = planSuspend({ vm, vmi, claim });
    return this.act(step, { vm, vmi, claim }, signal);
  }

  private async act(
    step: SuspendStep,
    { vm, vmi, claim }: { vm: VirtualMachine; vmi: VirtualMachineInstance | undefined; claim: PersistentVolumeClaim | undefined },
    signal: AbortSignal,
  ): Promise<Result> {
    switch (step.action) {
      case 'none':
        return done;
      case 'report':
        await this.tell(vm, step.report, signal);
        return done;
      case 'await':
        await this.tell(vm, step.report, signal);
        return after(RECHECK_MS);
      case 'forget':
        await this.store(vm, undefined, signal);
        return done;
      case 'createClaim':
        if (vmi !== undefined) await this.createClaim(vm, vmi, signal);
        return done; // its own event goes on
      case 'save':
        if (vmi !== undefined) await this.save(vm, vmi, step.claimName, signal);
        return done;
      case 'deleteInstance':
        if (vmi !== undefined) await this.deleteInstance(vmi, signal);
        return done;
      case 'deleteClaim':
        await this.deleteClaim(vm, claim, step.why, signal);
        return done;
      case 'dropWish':
        await this.annotate(vm, null, signal);
        return done;
      case 'start':
        await this.request(vm, signal);
        return done;
      default:
        return assertNever(step);
    }
  }

  private async createClaim(vm: VirtualMachine, vmi: VirtualMachineInstance, signal: AbortSignal): Promise<void> {
    const { client, claims } = this.deps;
    const namespace = vm.metadata.namespace ?? '';
    const [first] = claimedVolumes(vmi.spec);
    const like = first && claims.get({ namespace, name: first.claimName });
    const claim = renderMemoryClaim(vm, vmi, like?.spec?.storageClassName);
    try {
      await client.create(PersistentVolumeClaimKind, claim, { signal });
    } catch (error) {
      if (signal.aborted) throw error;
      const taken = isAlreadyExists(error)
        ? await client.get(PersistentVolumeClaimKind, keyOf(claim), { signal }).catch(ignoreNotFound)
        : undefined;
      if (taken !== undefined && !isForeign(taken, vm)) return;
      const why = taken === undefined ? messageOf(error) : `claim ${memoryClaimName(vm.metadata.name ?? '')} is something else`;
      await this.fail(vm, `Cannot make room for its memory: ${why}`, signal);
    }
  }

  private async save(vm: VirtualMachine, vmi: VirtualMachineInstance, claimName: string, signal: AbortSignal): Promise<void> {
    const { nodes, events } = this.deps;
    const told = await this.tell(
      vm,
      { isSuspended: false, reason: 'Saving', message: `Writing its memory to claim ${claimName}` },
      signal,
    );
    const { namespace = '', name = '', uid = '' } = vmi.metadata;
    try {
      const params = { namespace, name, uid, claimName };
      await nodes.call(vmi.status?.nodeName ?? '', { verb: NodeVerb.saveMemory, params }, signal);
    } catch (error) {
      signal.throwIfAborted();
      // the answer to an earlier call was lost, and the guest is off: its end is an event
      if (isNotFound(error) || isConflict(error)) return;
      await this.fail(told, `Its memory was not written: ${messageOf(error)}`, signal);
      await this.deleteClaim(told, this.deps.claims.get({ namespace, name: claimName }), 'nothing was written', signal);
      return;
    }
    await this.tell(told, { isSuspended: false, reason: SAVED, message: `Its memory is in claim ${claimName}` }, signal);
    events.normal(vm, 'Suspended', `Wrote the memory of the virtual machine to claim ${claimName}`);
  }

  private async fail(vm: VirtualMachine, message: string, signal: AbortSignal): Promise<void> {
    this.deps.events.warning(vm, SAVE_FAILED, message);
    await this.tell(vm, { isSuspended: false, reason: SAVE_FAILED, message }, signal);
  }

  private async deleteInstance(vmi: VirtualMachineInstance, signal: AbortSignal): Promise<void> {
    const { uid } = vmi.metadata;
    const preconditions = uid === undefined ? {} : { preconditions: { uid } };
    await this.deps.client.delete(VirtualMachineInstanceKind, keyOf(vmi), { ...preconditions, signal }).catch(ignoreNotFound);
  }

  private async deleteClaim(
    vm: VirtualMachine,
    claim: PersistentVolumeClaim | undefined,
    why: string,
    signal: AbortSignal,
  ): Promise<void> {
    if (claim === undefined || claim.metadata.deletionTimestamp !== undefined) return;
    const { uid } = claim.metadata;
    const preconditions = uid === undefined ? {} : { preconditions: { uid } };
    await this.deps.client.delete(PersistentVolumeClaimKind, keyOf(claim), { ...preconditions, signal }).catch(ignoreNotFound);
    this.deps.events.normal(vm, 'MemoryStateRemoved', `Removed claim ${claim.metadata.name}: ${why}`);
  }

  private async annotate(vm: VirtualMachine, value: string | null, signal: AbortSignal): Promise<void> {
    const patch = { metadata: { resourceVersion: vm.metadata.resourceVersion, annotations: { [SUSPEND]: value } } };
    const { client, vms } = this.deps;
    vms.remember(await client.patch(VirtualMachineKind, keyOf(vm), patch, { type: 'merge', signal }));
  }

  /** As `virtctl start` does it. */
  private async request(vm: VirtualMachine, signal: AbortSignal): Promise<void> {
    await this.patchStatus(vm, { stateChangeRequests: [{ action: 'Start' }] }, signal);
  }

  private async tell(
    vm: VirtualMachine,
    { isSuspended, reason, message }: SuspendReport,
    signal: AbortSignal,
  ): Promise<VirtualMachine> {
    const { events } = this.deps;
    if (reason === 'NotSuspendable' && conditionOf(vm, VmCondition.suspended)?.message !== message)
      events.warning(vm, reason, `Cannot be suspended: ${message}`);
    return this.store(vm, { type: VmCondition.suspended, status: isSuspended ? 'True' : 'False', reason, message }, signal);
  }

  private async store(
    vm: VirtualMachine,
    text: { type: string; status: 'True' | 'False'; reason: string; message: string } | undefined,
    signal: AbortSignal,
  ): Promise<VirtualMachine> {
    const known = conditionOf(vm, VmCondition.suspended);
    const next = text && transition(known, text, formatTime(this.deps.clock.now()));
    if (next === known) return vm;
    const others = (vm.status?.conditions ?? []).filter(({ type }) => type !== VmCondition.suspended);
    return this.patchStatus(vm, { conditions: [...others, ...(next === undefined ? [] : [next])] }, signal);
  }

  private async patchStatus(vm: VirtualMachine, status: object, signal: AbortSignal): Promise<VirtualMachine> {
    const { client, vms } = this.deps;
    const patch = { metadata: { resourceVersion: vm.metadata.resourceVersion }, status };
    return vms.remember(
      await client.patch(VirtualMachineKind, keyOf(vm), patch, { type: 'merge', subresource: 'status', signal }),
    );
  }
}

const messageOf = (error: unknown): string => (error instanceof Error ? error.message : String(error));
