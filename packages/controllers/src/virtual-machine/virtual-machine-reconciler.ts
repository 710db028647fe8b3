import type { ControllerRevision, DataVolume, VirtualMachine, VirtualMachineInstance } from '@slipway/api';
import { Reason, VirtualMachineKind } from '@slipway/api';
import { keyOf, type ObjectKey, TerminalError } from '@slipway/apimachinery';
import type { Client } from '@slipway/client';
import { after, done, type Lister, type Reconciler, type Result } from '@slipway/runtime';
import { InferenceError } from '../instancetype/index.ts';
import { followVolumeRequests } from '../hotplug/volume-request-queue.ts';
import type { FreshObjects } from '../virtual-machine-instance/fresh-objects.ts';
import { isDeleting } from '../virtual-machine-instance/instance-state.ts';
import { type DataVolumeSyncDeps, syncDataVolumes } from './data-volume-sync.ts';
import { createInstance, type InstanceCreationDeps } from './instance-creation.ts';
import {
  adoptedInstance,
  deleteInstance,
  dropFinalizer,
  type InstanceKeeperDeps,
  isOwnedBy,
  ownInstance,
  releaseInstance,
  withFinalizer,
} from './instance-keeper.ts';
import { planPower, type PowerPlan } from './power-plan.ts';
import { QuietStart } from '../workload/quiet-start.ts';
import { runStrategyOf } from './run-strategy.ts';
import { nextStartFailure } from './start-failure.ts';
import { hasStopRequest } from './state-change-requests.ts';
import { type Outcome, type StatusStoreDeps, storeStatus } from './status-store.ts';
import { changeOf, followTemplate, NO_CHANGE, type TemplateFollowerDeps } from './template-follower.ts';

export interface VirtualMachineReconcilerDeps
  extends DataVolumeSyncDeps,
    InstanceCreationDeps,
    InstanceKeeperDeps,
    TemplateFollowerDeps,
    StatusStoreDeps {
  readonly client: Client;
  readonly random: () => number;
  readonly dataVolumes: FreshObjects<DataVolume>;
  readonly revisions: Lister<ControllerRevision>;
  /** How long a new VM with nothing to do is left without a first status; default 0. */
  readonly quietStartMs?: number;
  /** Records instance type and preference as the VM uses them, and names the records in its status. */
  readonly pinTypes?: (vm: VirtualMachine, signal: AbortSignal) => Promise<VirtualMachine>;
  /** The VM with its types written into its template, when the cluster wants that instead of references. */
  readonly expandTypes?: (vm: VirtualMachine, signal: AbortSignal) => Promise<VirtualMachine | undefined>;
}

/** Keeps one VirtualMachineInstance alive or absent as the VirtualMachine's run strategy demands. */
export class VirtualMachineReconciler implements Reconciler {
  private readonly deps: VirtualMachineReconcilerDeps;
  private readonly quietStart: QuietStart;

  constructor(deps: VirtualMachineReconcilerDeps) {
    this.deps = deps;
    this.quietStart = new QuietStart(deps.clock, deps.quietStartMs ?? 0);
  }

  async reconcile(key: ObjectKey, signal: AbortSignal): Promise<Result> {
    const known = this.deps.vms.get(key);
    if (known === undefined) return done; // owner references clean up the rest
    if (isDeleting(known)) return this.remove(known, ownInstance(this.deps, known), signal);

    const vm = await withFinalizer(this.deps, known, signal);
    const outcome: Outcome = {
      vmi: await adoptedInstance(this.deps, vm, signal),
      isStarting: false,
      isStopping: false,
      failure: undefined,
      requeueAfterMs: undefined,
    };
    if (outcome.vmi !== undefined && !isOwnedBy(outcome.vmi, vm)) {
      outcome.failure = { reason: Reason.failedCreate, message: `VMI ${key.name} exists already and belongs to somebody else` };
      outcome.vmi = undefined;
      await storeStatus(this.deps, vm, outcome, waiting(vm), NO_CHANGE, signal);
      return after(5_000);
    }
    return this.sync(vm, outcome, signal);
  }

  private async sync(known: VirtualMachine, outcome: Outcome, signal: AbortSignal): Promise<Result> {
    const vm = await this.withFollowedRequests(await this.withPinnedTypes(known, outcome, signal), outcome, signal);
    const storage =
      outcome.failure === undefined
        ? await syncDataVolumes(this.deps, vm, signal)
        : { areReady: false, failure: outcome.failure };
    outcome.failure = storage.failure;
    const withFailures = this.withStartFailure(vm, outcome.vmi);
    const plan = planPower(withFailures, outcome.vmi, this.deps.clock.now());
    await this.act(withFailures, plan, storage.areReady, outcome, signal);
    const change =
      outcome.vmi === undefined || outcome.isStarting ? NO_CHANGE : await changeOf(this.deps, vm, outcome.vmi, signal);
    outcome.failure ??= change.failure;
    if (outcome.vmi !== undefined && !outcome.isStarting && !outcome.isStopping)
      outcome.vmi = await followTemplate(this.deps, vm, outcome.vmi, change, signal);
    if (!outcome.isStopping) await releaseInstance(this.deps, outcome.vmi, signal);
    const quietMs = this.quietMsLeft(vm, outcome, plan);
    if (quietMs > 0) return after(quietMs);
    await storeStatus(this.deps, withFailures, outcome, plan, change, signal);
    if (outcome.failure !== undefined) throw new Error(`${outcome.failure.reason}: ${outcome.failure.message}`);
    return outcome.requeueAfterMs === undefined ? done : after(outcome.requeueAfterMs);
  }

  private async withFollowedRequests(vm: VirtualMachine, outcome: Outcome, signal: AbortSignal): Promise<VirtualMachine> {
    const followed = await followVolumeRequests(this.deps, vm, outcome.vmi, signal);
    outcome.vmi = followed.vmi;
    return followed.vm;
  }

  /** A VM whose types cannot be found does not start; it can still be stopped. */
  private async withPinnedTypes(vm: VirtualMachine, outcome: Outcome, signal: AbortSignal): Promise<VirtualMachine> {
    try {
      const { client, vms, pinTypes, expandTypes } = this.deps;
      const expanded = await expandTypes?.(vm, signal);
      const current = expanded ? vms.remember(await client.update(VirtualMachineKind, expanded, { signal })) : vm;
      return (await pinTypes?.(current, signal)) ?? current;
    } catch (error) {
      if (!(error instanceof TerminalError || error instanceof InferenceError)) throw error;
      const reason = error instanceof TerminalError ? error.reason : Reason.failedCreate;
      outcome.failure = { reason, message: error.message };
      this.deps.events.warning(vm, reason, error.message);
      return vm;
    }
  }

  private quietMsLeft(vm: VirtualMachine, { vmi, failure }: Outcome, { power, requests }: PowerPlan): number {
    const isIdle = vmi === undefined && failure === undefined && power.action === 'none' && requests.length === 0;
    return isIdle && vm.status?.conditions === undefined ? this.quietStart.leftMs(vm) : 0;
  }

  private async act(
    vm: VirtualMachine,
    { power }: PowerPlan,
    areReady: boolean,
    outcome: Outcome,
    signal: AbortSignal,
  ): Promise<void> {
    switch (power.action) {
      case 'start': {
        outcome.isHeldBack = !areReady;
        if (!areReady) return;
        const created = await createInstance(this.deps, vm, power, signal);
        outcome.vmi = created.vmi;
        outcome.isStarting = created.vmi !== undefined;
        outcome.failure ??= created.failure;
        return;
      }
      case 'stop':
        if (outcome.vmi === undefined) return;
        outcome.vmi = await deleteInstance(this.deps, vm, outcome.vmi, signal);
        outcome.isStopping = true;
        return;
      case 'wait':
        outcome.requeueAfterMs = power.retryInMs;
        return;
      case 'patchSpec': {
        const operations = [
          { op: 'test', path: power.path, value: power.from },
          { op: 'replace', path: power.path, value: power.to },
        ] as const;
        await this.deps.client.patch(VirtualMachineKind, keyOf(vm), operations, { type: 'json', signal });
        return;
      }
      case 'refuse':
        outcome.failure = { reason: Reason.failedCreate, message: power.message };
        return;
      default:
        return;
    }
  }

  /** A VM that is being deleted takes its instance along, unless its owner wants to keep it (cascade orphan). */
  private async remove(vm: VirtualMachine, vmi: VirtualMachineInstance | undefined, signal: AbortSignal): Promise<Result> {
    this.quietStart.forget(keyOf(vm));
    const isOrphaning = vm.metadata.finalizers?.includes('orphan') === true;
    const outcome: Outcome = { vmi, isStarting: false, isStopping: false, failure: undefined, requeueAfterMs: undefined };
    if (vmi !== undefined && !isOrphaning) {
      if (isDeleting(vmi)) await releaseInstance(this.deps, vmi, signal);
      else outcome.vmi = await deleteInstance(this.deps, vm, vmi, signal);
      await storeStatus(this.deps, vm, outcome, waiting(vm), NO_CHANGE, signal);
      return done;
    }
    await dropFinalizer(this.deps, vm, signal);
    return done;
  }

  private withStartFailure(vm: VirtualMachine, vmi: VirtualMachineInstance | undefined): VirtualMachine {
    const startFailure = nextStartFailure({
      previous: vm.status?.startFailure,
      runStrategy: runStrategyOf(vm),
      vmi,
      isStopRequested: vmi !== undefined && hasStopRequest(vm.status?.stateChangeRequests ?? [], vmi),
      nowMs: this.deps.clock.now(),
      random: this.deps.random(),
    });
    const { startFailure: _, ...status } = vm.status ?? {};
    return { ...vm, status: { ...status, ...(startFailure && { startFailure }) } };
  }
}

/** Requests are left as they are. */
function waiting({ status }: VirtualMachine): Pick<PowerPlan, 'requests'> {
  return { requests: status?.stateChangeRequests ?? [] };
}
