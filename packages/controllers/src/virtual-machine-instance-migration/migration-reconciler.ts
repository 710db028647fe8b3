import type { kubevirt, Pod, VirtualMachineInstance, VirtualMachineInstanceMigration } from '@slipway/api';
import { PersistentVolumeKind, Reason, VirtualMachineInstanceKind, VirtualMachineInstanceMigrationKind } from '@slipway/api';
import { assertNever, deepEqual, formatTime, ignoreNotFound, isNotFound, keyOf, type ObjectKey } from '@slipway/apimachinery';
import { after, type Clock, done, type Reconciler, type Result } from '@slipway/runtime';
import { incomingClaims, MIGRATION_FINALIZER, type MigrationSettings } from '@slipway/virt';
import type { FreshObjects } from '../virtual-machine-instance/fresh-objects.ts';
import { conditionOf, transition } from '../virtual-machine-instance/instance-state.ts';
import { currentPod, launcherPods } from '../virtual-machine-instance/launcher-pod-state.ts';
import { type MigrationInput, type MigrationPlan, phaseTimes, planMigration, settledState } from './migration-plan.ts';
import { hasSlot } from './migration-queue.ts';
import {
  byAge,
  isFinalMigration,
  isHandedOff,
  MigrationCondition,
  MigrationPhase,
  migrationOfPod,
  TARGET_NODE_LABEL,
} from './migration-state.ts';
import { movedVolumes } from './moved-claims.ts';
import { claimFacts, TargetPods, type TargetPodsDeps } from './target-pods.ts';

type Migration = VirtualMachineInstanceMigration;

export interface MigrationReconcilerDeps extends TargetPodsDeps {
  readonly clock: Clock;
  readonly migrations: FreshObjects<Migration>;
  readonly migrationsOf: (vmi: ObjectKey) => readonly Migration[];
  readonly allMigrations: () => readonly Migration[];
  /** Settings of the cluster, for the limits. */
  readonly clusterSettings: () => MigrationSettings;
  /** Settings of one migration and the policy they come from. */
  readonly settingsFor: (vmi: VirtualMachineInstance) => { readonly settings: MigrationSettings; readonly policyName?: string };
}

/** Finished migrations that are kept for each instance. */
const MAX_FINISHED = 5;
const UNSCHEDULABLE_ANNOTATION = 'kubevirt.io/migrationUnschedulablePodTimeoutSeconds';
const PENDING_ANNOTATION = 'kubevirt.io/migrationPendingPodTimeoutSeconds';
const UNSCHEDULABLE_SECONDS = 300;
const PENDING_SECONDS = 900;
const QUOTA_RETRY_MS = 10_000;

/** Follows each migration from the target pod to its end; the guest itself is moved by the agents of the two nodes. */
export class MigrationReconciler implements Reconciler {
  private readonly deps: MigrationReconcilerDeps;
  private readonly targets: TargetPods;

  constructor(deps: MigrationReconcilerDeps) {
    this.deps = deps;
    this.targets = new TargetPods(deps);
  }

  async reconcile(key: ObjectKey, signal: AbortSignal): Promise<Result> {
    const migration = this.deps.migrations.get(key);
    if (migration === undefined) {
      await this.targets.removeOrphans(key, signal);
      return done;
    }
    if (isFinalMigration(migration)) return this.conclude(migration, signal);
    const input = this.inputOf(migration);
    const plan = planMigration(input);
    const isRejected = await this.act(input, plan, signal);
    if (plan.phase === MigrationPhase.failed && input.targetPod !== undefined)
      await this.targets.remove(migration, input.targetPod, signal);
    if (plan.phase === MigrationPhase.succeeded) await this.moveVolumes(input, signal);
    await this.releaseInstance(input, plan, signal);
    const stored = await this.store(input, plan, isRejected, signal);
    this.report(stored, input, plan);
    if (isFinalMigration(stored)) return this.conclude(stored, signal);
    if (isRejected) return after(QUOTA_RETRY_MS);
    return plan.retryInMs === undefined ? done : after(plan.retryInMs);
  }

  private inputOf(migration: Migration): MigrationInput {
    const { namespace = '' } = migration.metadata;
    const key = { namespace, name: migration.spec.vmiName ?? '' };
    const vmi = this.deps.vmis.get(key);
    const pods = vmi === undefined ? [] : launcherPods(vmi, this.deps.pods.ownedBy(vmi.metadata.uid ?? ''));
    const others = this.deps.migrationsOf(key).filter((one) => one.metadata.uid !== migration.metadata.uid);
    const rival = others.filter((one) => !isFinalMigration(one) && byAge(one, migration) < 0).sort(byAge)[0];
    return {
      migration,
      vmi,
      targetPod: pods.find((pod) => migrationOfPod(pod) === migration.metadata.uid),
      sourcePod: this.sourcePod(migration, vmi, pods),
      rival: rival?.metadata.name,
      hasSlot: this.hasSlot(migration),
      timeouts: {
        unschedulableMs: secondsIn(migration, UNSCHEDULABLE_ANNOTATION, UNSCHEDULABLE_SECONDS) * 1000,
        pendingMs: secondsIn(migration, PENDING_ANNOTATION, PENDING_SECONDS) * 1000,
      },
      nowMs: this.deps.clock.now(),
    };
  }

  private sourcePod(migration: Migration, vmi: VirtualMachineInstance | undefined, pods: readonly Pod[]): Pod | undefined {
    if (vmi === undefined) return undefined;
    if (isHandedOff(migration, vmi)) return pods.find(({ metadata }) => metadata.name === vmi.status?.migrationState?.sourcePod);
    return currentPod(vmi, pods);
  }

  private hasSlot(migration: Migration): boolean {
    const { allMigrations, clusterSettings, migrations, vmis } = this.deps;
    // what this controller has just written counts already
    const all = allMigrations().map((one) => migrations.get(keyOf(one)) ?? one);
    const nodeOf = ({ metadata, spec, status }: Migration): string | undefined =>
      status?.migrationState?.sourceNode ??
      vmis.get({ namespace: metadata.namespace ?? '', name: spec.vmiName ?? '' })?.status?.nodeName;
    return hasSlot(migration, all, nodeOf, clusterSettings());
  }

  /** True when a quota stands in the way. */
  private async act(input: MigrationInput, { action }: MigrationPlan, signal: AbortSignal): Promise<boolean> {
    const { vmi } = input;
    if (vmi === undefined) return false;
    switch (action.type) {
      case 'none':
        return false;
      case 'create-pod':
        return this.targets.create(input, vmi, signal);
      case 'hand-off':
        await this.handOff(input, vmi, action, signal);
        return false;
      case 'ask-abort':
        await this.writeState(vmi, { ...vmi.status?.migrationState, abortRequested: true }, signal);
        return false;
      case 'settle-failed': {
        const state = vmi.status?.migrationState ?? {};
        await this.writeState(vmi, settledState(state, action.reason, action.isAborted, input.nowMs), signal);
        return false;
      }
      default:
        return assertNever(action);
    }
  }

  private async handOff(
    { migration }: MigrationInput,
    vmi: VirtualMachineInstance,
    { source, target }: { readonly source: Pod; readonly target: Pod },
    signal: AbortSignal,
  ): Promise<void> {
    const { events, settingsFor } = this.deps;
    const { settings, policyName } = settingsFor(vmi);
    const targetNode = target.spec?.nodeName ?? '';
    const state: kubevirt.VirtualMachineInstanceMigrationState = {
      migrationUid: migration.metadata.uid ?? '',
      sourceNode: vmi.status?.nodeName ?? '',
      sourcePod: source.metadata.name ?? '',
      targetNode,
      targetPod: target.metadata.name ?? '',
      migrationConfiguration: settings,
      ...(policyName !== undefined && { migrationPolicyName: policyName }),
      migrationNetworkType: 'Pod',
    };
    await this.writeState(vmi, state, signal, targetNode);
    events.normal(
      migration,
      Reason.successfulHandOver,
      `Migration target pod is ready on node ${targetNode}: the agents of both nodes take over`,
    );
  }

  /** One update of the instance; without a node, the label of the target is left as it is. */
  private async writeState(
    vmi: VirtualMachineInstance,
    migrationState: kubevirt.VirtualMachineInstanceMigrationState,
    signal: AbortSignal,
    targetNode?: string,
  ): Promise<void> {
    const { client, vmis } = this.deps;
    const { [TARGET_NODE_LABEL]: _, ...labels } = vmi.metadata.labels ?? {};
    const next =
      targetNode === undefined && !migrationState.completed
        ? vmi.metadata
        : { ...vmi.metadata, labels: { ...labels, ...(targetNode !== undefined && { [TARGET_NODE_LABEL]: targetNode }) } };
    const updated = { ...vmi, metadata: next, status: { ...vmi.status, migrationState } };
    vmis.remember(await client.update(VirtualMachineInstanceKind, updated, { signal }));
  }

  /** The label that lets the target's agent write is of no use when a migration is over. */
  private async releaseInstance(
    { migration, vmi }: MigrationInput,
    { phase }: MigrationPlan,
    signal: AbortSignal,
  ): Promise<void> {
    if (phase !== MigrationPhase.failed || vmi === undefined || !isHandedOff(migration, vmi)) return;
    if (vmi.metadata.labels?.[TARGET_NODE_LABEL] === undefined || vmi.metadata.deletionTimestamp !== undefined) return;
    await this.writeState(vmi, vmi.status?.migrationState ?? {}, signal);
  }

  /** Volumes that came with the guest belong to the node it is on now. */
  private async moveVolumes({ vmi, targetPod }: MigrationInput, signal: AbortSignal): Promise<void> {
    const { sourceNode: source, targetNode: target } = vmi?.status?.migrationState ?? {};
    if (vmi === undefined || targetPod === undefined || source === undefined || target === undefined) return;
    const facts = claimFacts(this.deps, vmi.metadata.namespace ?? '');
    for (const { metadata, spec } of movedVolumes(vmi, incomingClaims(targetPod), { source, target }, facts)) {
      const patch = { metadata: { resourceVersion: metadata.resourceVersion }, spec: { nodeAffinity: spec?.nodeAffinity } };
      await this.deps.client.patch(PersistentVolumeKind, { namespace: '', name: metadata.name ?? '' }, patch, {
        type: 'merge',
        signal,
      });
    }
  }

  private async store(input: MigrationInput, plan: MigrationPlan, isRejected: boolean, signal: AbortSignal): Promise<Migration> {
    const { migration, nowMs } = input;
    const { client, migrations, vmis } = this.deps;
    const vmi = input.vmi && vmis.get(keyOf(input.vmi));
    const state = isHandedOff(migration, vmi) ? vmi?.status?.migrationState : migration.status?.migrationState;
    const status = {
      ...migration.status,
      ...(plan.phase !== '' && { phase: plan.phase, phaseTransitionTimestamps: phaseTimes(migration, plan.phase, nowMs) }),
      ...(state && { migrationState: state }),
      conditions: conditionsOf(migration, isRejected, formatTime(nowMs)),
    };
    if (deepEqual(status, { conditions: [], ...migration.status })) return migration;
    try {
      const updated = { ...migration, status };
      return migrations.remember(
        await client.update(VirtualMachineInstanceMigrationKind, updated, { subresource: 'status', signal }),
      );
    } catch (error) {
      if (isNotFound(error)) return { ...migration, status };
      throw error;
    }
  }

  private report(stored: Migration, { migration, vmi }: MigrationInput, { phase, failure }: MigrationPlan): void {
    const { events } = this.deps;
    if (migration.status?.phase === phase) return;
    if (phase === MigrationPhase.succeeded)
      events.normal(stored, 'SuccessfulMigration', `The guest runs on node ${vmi?.status?.nodeName}`);
    if (phase === MigrationPhase.failed) {
      const wasAborted = migration.metadata.deletionTimestamp !== undefined;
      if (wasAborted) events.normal(stored, 'SuccessfulAbortMigration', 'The migration was aborted; the guest stays where it is');
      events.warning(stored, 'FailedMigration', `Migration failed: ${failure}`);
    }
  }

  /** A migration that is over: nothing protects it any more, and only the newest are kept. */
  private async conclude(migration: Migration, signal: AbortSignal): Promise<Result> {
    const { client, migrations, migrationsOf } = this.deps;
    const finalizers = migration.metadata.finalizers ?? [];
    if (finalizers.includes(MIGRATION_FINALIZER)) {
      const metadata = { ...migration.metadata, finalizers: finalizers.filter((one) => one !== MIGRATION_FINALIZER) };
      try {
        const stored = await client.update(VirtualMachineInstanceMigrationKind, { ...migration, metadata }, { signal });
        if (stored.metadata.deletionTimestamp === undefined) migrations.remember(stored);
      } catch (error) {
        if (!isNotFound(error)) throw error;
      }
    }
    const key = { namespace: migration.metadata.namespace ?? '', name: migration.spec.vmiName ?? '' };
    const finished = migrationsOf(key).filter((one) => isFinalMigration(one) && one.metadata.deletionTimestamp === undefined);
    for (const old of finished.sort(byAge).slice(0, -MAX_FINISHED))
      await client.delete(VirtualMachineInstanceMigrationKind, keyOf(old), { signal }).catch(ignoreNotFound);
    return done;
  }
}

function conditionsOf(migration: Migration, isRejected: boolean, now: string) {
  const own: string[] = Object.values(MigrationCondition);
  const others = (migration.status?.conditions ?? []).filter(({ type }) => !own.includes(type));
  const present = [
    ...(migration.metadata.deletionTimestamp === undefined ? [] : [MigrationCondition.abortRequested]),
    ...(isRejected ? [MigrationCondition.rejectedByQuota] : []),
  ];
  return [...others, ...present.map((type) => transition(conditionOf(migration, type), { type, status: 'True' }, now))];
}

function secondsIn({ metadata }: Migration, annotation: string, otherwise: number): number {
  const value = Number(metadata.annotations?.[annotation] ?? '');
  return Number.isFinite(value) && value > 0 ? value : otherwise;
}
