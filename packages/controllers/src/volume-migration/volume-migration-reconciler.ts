import {
  COPIED_FROM,
  type DataVolume,
  DataVolumeKind,
  type kubevirt,
  type Node,
  type PersistentVolume,
  type PersistentVolumeClaim,
  PersistentVolumeClaimKind,
  type Pod,
  type StorageClass,
  type VirtualMachine,
  type VirtualMachineInstance,
  VirtualMachineInstanceKind,
  VirtualMachineKind,
  VmCondition,
} from '@slipway/api';
import {
  assertNever,
  deepEqual,
  formatTime,
  ignoreAlreadyExists,
  ignoreNotFound,
  keyOf,
  type ObjectKey,
} from '@slipway/apimachinery';
import type { Client } from '@slipway/client';
import { type Clock, done, type EventRecorder, type Lister, type Reconciler, type Result } from '@slipway/runtime';
import { SELECTED_NODE } from '../persistent-volume/claim-annotations.ts';
import { nodesOf } from '../persistent-volume/clone-source.ts';
import { claimInfo } from '../virtual-machine-instance/claims.ts';
import { conditionOf, isFinal, transition } from '../virtual-machine-instance/instance-state.ts';
import {
  afterMoves,
  claimInUse,
  copyProgress,
  hasArrived,
  isCalledOff,
  planDestination,
  settledRecord,
  toldToCopy,
  toldToStop,
} from './live-plan.ts';
import { type MoveFacts, type MovePlan, planMove } from './migration-plan.ts';
import {
  destinations,
  MIGRATED_FROM,
  type MigrationRecord,
  type MovedVolume,
  readRecord,
  withRecord,
} from './migration-record.ts';

type MigratedVolume = kubevirt.StorageMigratedVolumeInfo;

export interface VolumeMigrationDeps {
  readonly client: Client;
  readonly events: EventRecorder;
  readonly clock: Clock;
  readonly vms: Lister<VirtualMachine>;
  readonly vmis: Lister<VirtualMachineInstance>;
  readonly claims: Lister<PersistentVolumeClaim>;
  readonly volumes: Lister<PersistentVolume>;
  readonly dataVolumes: Lister<DataVolume>;
  readonly classes: Lister<StorageClass>;
  readonly nodes: Lister<Node>;
  readonly usersOf: (claim: PersistentVolumeClaim) => readonly Pod[];
}

interface Move {
  readonly volume: string;
  readonly from: string;
  readonly to: string;
  readonly plan: MovePlan;
}

interface LiveMove {
  readonly vm: VirtualMachine;
  readonly vmi: VirtualMachineInstance;
  readonly record: MigrationRecord;
  readonly migrated: readonly MigratedVolume[];
}

/**
 * Brings the content of a VM's volumes into the claims that its spec names now. The old claims stay as they
 * are; the VM does not start before every new claim is complete.
 */
export class VolumeMigrationReconciler implements Reconciler {
  private readonly deps: VolumeMigrationDeps;

  constructor(deps: VolumeMigrationDeps) {
    this.deps = deps;
  }

  async reconcile(key: ObjectKey, signal: AbortSignal): Promise<Result> {
    const vm = this.deps.vms.get(key);
    if (vm === undefined || vm.metadata.deletionTimestamp !== undefined) return done;
    const vmi = this.runningInstance(key);
    const targets = destinations(vm);
    const shown = vm.status?.volumeUpdateState?.volumeMigrationState?.migratedVolumes ?? [];
    if (vmi !== undefined && (await this.callOff(vmi, targets, signal))) return done;
    if (await this.settle(vm, vmi, targets, signal)) return done;
    if (targets.size === 0) return shown.length === 0 ? done : this.conclude(vm, shown, signal);
    const record = readRecord(vm);
    const migrated = [...targets].map(([volume, to]) => this.migratedVolume(vm, volume, record[volume]?.from ?? '', to));
    const dropped = shown.filter(({ volumeName }) => !targets.has(volumeName));
    for (const volume of dropped) await this.giveUp(vm, volume, signal);
    return vmi === undefined
      ? this.moveAtRest(vm, record, migrated, signal)
      : this.moveLive({ vm, vmi, record, migrated }, signal);
  }

  private async moveAtRest(
    vm: VirtualMachine,
    record: MigrationRecord,
    migrated: readonly MigratedVolume[],
    signal: AbortSignal,
  ): Promise<Result> {
    const moves = migrated.map(({ volumeName, destinationPVCInfo }) =>
      this.planned(vm, record, volumeName, destinationPVCInfo?.claimName ?? '', planMove),
    );
    const written = await this.store(vm, migrated, progressOf(moves), signal);
    // the next step is taken from a state that everybody can see
    if (!written) await this.act(vm, record, moves, signal);
    return done;
  }

  private runningInstance(key: ObjectKey): VirtualMachineInstance | undefined {
    const vmi = this.deps.vmis.get(key);
    return vmi !== undefined && !isFinal(vmi) ? vmi : undefined;
  }

  /** True while a guest is being copied that is to stay, or to go elsewhere: its agent decides what has become of that. */
  private async callOff(
    vmi: VirtualMachineInstance,
    targets: ReadonlyMap<string, string>,
    signal: AbortSignal,
  ): Promise<boolean> {
    const told = vmi.status?.migratedVolumes ?? [];
    const nowMs = this.deps.clock.now();
    const isWanted = ({ volumeName, destinationPVCInfo }: MigratedVolume): boolean =>
      targets.get(volumeName) === destinationPVCInfo?.claimName;
    const isOver = told.length > 0 && told.every((volume) => hasArrived(vmi, volume));
    if (isOver) await this.updateVmi(afterMoves(vmi, nowMs), signal);
    else if (!isCalledOff(vmi) && !told.every(isWanted)) await this.updateVmi(toldToStop(vmi, nowMs), signal);
    return isOver || isCalledOff(vmi) || !told.every(isWanted);
  }

  /** True when the record was wrong about the claim that holds the content, after a copy of a running guest. */
  private async settle(
    vm: VirtualMachine,
    vmi: VirtualMachineInstance | undefined,
    targets: ReadonlyMap<string, string>,
    signal: AbortSignal,
  ): Promise<boolean> {
    const record = readRecord(vm);
    const contentOf = (volume: string, moved: MovedVolume): string | undefined =>
      vmi === undefined ? this.contentAtRest(vm, moved) : claimInUse(vmi, volume);
    const settled = settledRecord(record, targets, vmi !== undefined, contentOf);
    if (deepEqual(settled, record)) return false;
    await this.writeRecord(vm, settled, signal);
    return true;
  }

  /** Undefined when nothing was tried, and when nobody can tell. */
  private contentAtRest({ metadata }: VirtualMachine, { from, tried }: MovedVolume): string | undefined {
    if (tried === undefined) return undefined;
    const claim = this.deps.claims.get({ namespace: metadata.namespace ?? '', name: tried });
    const volume = this.deps.volumes.get({ namespace: '', name: claim?.spec?.volumeName ?? '' });
    if (volume === undefined) return from;
    if (volume.metadata.annotations?.[COPIED_FROM] === from) return tried;
    return nodesOf(volume).length > 0 || this.deps.nodes.list().length === 1 ? from : undefined;
  }

  /** The guest's agent copies the disks into claims that are ready for that, and says which ones have arrived. */
  private async moveLive({ vm, vmi, record, migrated }: LiveMove, signal: AbortSignal): Promise<Result> {
    const isTold = (vmi.status?.migratedVolumes ?? []).length > 0;
    const moves = migrated.map(({ volumeName: volume, destinationPVCInfo }) =>
      this.planned(vm, record, volume, destinationPVCInfo?.claimName ?? '', (facts) =>
        isTold
          ? { action: 'wait', message: copyProgress(vmi, volume) }
          : planDestination({ ...facts, vmi, nodes: this.nodesOfClaim(facts.claim) }),
      ),
    );
    const written = await this.store(vm, migrated, progressOf(moves, 'ready to be copied into'), signal);
    if (written || isTold) return done; // the next step is taken from a state that everybody can see
    if (!moves.every(({ plan }) => plan.action === 'done')) {
      for (const move of moves) await this.step(vm, record, move, signal);
      return done;
    }
    // first the record: from now on the content may be in either claim when the guest ends
    const tried = Object.fromEntries(moves.map(({ volume, from, to }) => [volume, { ...record[volume], from, tried: to }]));
    if (deepEqual(tried, record)) await this.updateVmi(toldToCopy(vmi, migrated, this.deps.clock.now()), signal);
    else await this.writeRecord(vm, tried, signal);
    return done;
  }

  private async updateVmi(vmi: VirtualMachineInstance, signal: AbortSignal): Promise<void> {
    await this.deps.client.update(VirtualMachineInstanceKind, vmi, { signal });
  }

  private nodesOfClaim(claim: PersistentVolumeClaim | undefined): readonly string[] {
    const volume = this.deps.volumes.get({ namespace: '', name: claim?.spec?.volumeName ?? '' });
    return volume === undefined ? [] : nodesOf(volume);
  }

  private planned(
    vm: VirtualMachine,
    record: MigrationRecord,
    volume: string,
    to: string,
    planOf: (facts: MoveFacts) => MovePlan,
  ): Move {
    const { namespace = '' } = vm.metadata;
    const moved = record[volume] ?? { from: '' };
    const claim = this.deps.claims.get({ namespace, name: to });
    const source = this.deps.claims.get({ namespace, name: moved.from });
    const sourceVolume = this.deps.volumes.get({ namespace: '', name: source?.spec?.volumeName ?? '' });
    const podsOf = (used: PersistentVolumeClaim | undefined): readonly string[] =>
      used === undefined ? [] : this.deps.usersOf(used).map(({ metadata }) => metadata.name ?? '');
    const plan = planOf({
      ...{ vm, volume, moved, claim, source, destination: to },
      dataVolume: this.deps.dataVolumes.get({ namespace, name: to }),
      users: podsOf(claim),
      sourceUsers: podsOf(source),
      node: (sourceVolume && nodesOf(sourceVolume)[0]) ?? this.anyNode(),
      waitsForConsumer: claim !== undefined && this.waitsForConsumer(claim),
    });
    return { volume, from: moved.from, to, plan };
  }

  /** The destination's own class says whether it can be there. */
  private anyNode(): string | undefined {
    const names = this.deps.nodes
      .list()
      .flatMap(({ metadata, spec }) => (spec?.unschedulable === true ? [] : [metadata.name ?? '']));
    return names.sort()[0];
  }

  private waitsForConsumer({ metadata, spec, status }: PersistentVolumeClaim): boolean {
    const storageClass = this.deps.classes.get({ namespace: '', name: spec?.storageClassName ?? '' });
    const isChosen = metadata.annotations?.[SELECTED_NODE] !== undefined;
    return status?.phase !== 'Bound' && !isChosen && storageClass?.volumeBindingMode === 'WaitForFirstConsumer';
  }

  private async act(vm: VirtualMachine, record: MigrationRecord, moves: readonly Move[], signal: AbortSignal): Promise<void> {
    if (moves.every(({ plan }) => plan.action === 'done')) return this.writeRecord(vm, {}, signal);
    for (const move of moves) await this.step(vm, record, move, signal);
  }

  private async step(vm: VirtualMachine, record: MigrationRecord, move: Move, signal: AbortSignal): Promise<void> {
    const { client, events } = this.deps;
    const { volume, from, to, plan } = move;
    const { namespace = '' } = vm.metadata;
    switch (plan.action) {
      case 'done':
      case 'wait':
      case 'refuse':
        return;
      case 'accept':
        return this.writeRecord(vm, { ...record, [volume]: { from, live: true } }, signal);
      case 'remember':
        return this.writeRecord(vm, { ...record, [volume]: { from, replaced: plan.replaced } }, signal);
      case 'remove':
        return this.remove(plan, signal);
      case 'create':
        await client.create(DataVolumeKind, plan.dataVolume, { signal }).catch(ignoreAlreadyExists);
        events.normal(vm, 'VolumeMigrationStarted', `Volume ${volume} moves from claim ${from} to ${to}`);
        return;
      case 'place':
      case 'fill':
        await client.patch(
          PersistentVolumeClaimKind,
          { namespace, name: to },
          { metadata: { annotations: plan.annotations } },
          { type: 'merge', signal },
        );
        if (plan.action === 'fill')
          events.normal(vm, 'VolumeMigrationStarted', `Volume ${volume} moves from claim ${from} to ${to}`);
        return;
      default:
        assertNever(plan);
    }
  }

  private async remove({ dataVolume, claim }: Extract<MovePlan, { action: 'remove' }>, signal: AbortSignal): Promise<void> {
    const preconditions = (uid: string | undefined) => (uid === undefined ? {} : { preconditions: { uid } });
    if (dataVolume !== undefined)
      await this.deps.client
        .delete(DataVolumeKind, keyOf(dataVolume), { ...preconditions(dataVolume.metadata.uid), signal })
        .catch(ignoreNotFound);
    if (claim !== undefined)
      await this.deps.client
        .delete(PersistentVolumeClaimKind, keyOf(claim), { ...preconditions(claim.metadata.uid), signal })
        .catch(ignoreNotFound);
  }

  /** Nothing is on its way any more: either everything has arrived, or the spec was changed back. */
  private async conclude(vm: VirtualMachine, shown: readonly MigratedVolume[], signal: AbortSignal): Promise<Result> {
    const { events } = this.deps;
    const inUse = new Set((vm.spec.template.spec?.volumes ?? []).flatMap((volume) => claimsNamed(volume)));
    const isStillMoving = vm.spec.updateVolumesStrategy === 'Migration';
    const arrived = isStillMoving ? shown.filter(({ destinationPVCInfo }) => inUse.has(destinationPVCInfo?.claimName ?? '')) : [];
    if (arrived.length < shown.length) {
      for (const volume of shown) await this.giveUp(vm, volume, signal);
      const message = `The move was cancelled: ${listed(shown)}`;
      await this.store(vm, undefined, { status: 'False', reason: 'VolumesChangeCancellation', message }, signal);
      events.normal(vm, 'VolumeMigrationCancelled', message);
      return done;
    }
    const old = shown.map(({ sourcePVCInfo }) => sourcePVCInfo?.claimName).join(', ');
    const message = `Moved: ${listed(shown)}. What was there before is kept: delete ${old} when the VM runs as it should`;
    await this.store(vm, undefined, { status: 'False', reason: 'VolumesChangeCompleted', message }, signal);
    events.normal(vm, 'VolumeMigrationCompleted', message);
    return done;
  }

  /** A clone that was made for the move, is not complete and is not wanted any more. */
  private async giveUp(
    vm: VirtualMachine,
    { sourcePVCInfo, destinationPVCInfo }: MigratedVolume,
    signal: AbortSignal,
  ): Promise<void> {
    const dataVolume = this.deps.dataVolumes.get({
      namespace: vm.metadata.namespace ?? '',
      name: destinationPVCInfo?.claimName ?? '',
    });
    const isOurs = dataVolume?.metadata.annotations?.[MIGRATED_FROM] === sourcePVCInfo?.claimName;
    if (dataVolume === undefined || !isOurs || dataVolume.status?.phase === 'Succeeded') return;
    await this.remove({ action: 'remove', dataVolume }, signal);
  }

  private async writeRecord(vm: VirtualMachine, record: MigrationRecord, signal: AbortSignal): Promise<void> {
    const annotations = withRecord(vm.metadata.annotations ?? {}, record);
    await this.deps.client.update(VirtualMachineKind, { ...vm, metadata: { ...vm.metadata, annotations } }, { signal });
  }

  private migratedVolume(vm: VirtualMachine, volumeName: string, from: string, to: string): MigratedVolume {
    const info = (name: string): kubevirt.PersistentVolumeClaimInfo => {
      const claim = this.deps.claims.get({ namespace: vm.metadata.namespace ?? '', name });
      return claim === undefined ? { claimName: name } : claimInfo(claim);
    };
    return { volumeName, sourcePVCInfo: info(from), destinationPVCInfo: info(to) };
  }

  /** True when there was something to write. */
  private async store(
    vm: VirtualMachine,
    migratedVolumes: readonly MigratedVolume[] | undefined,
    text: { readonly status: 'True' | 'False'; readonly reason: string; readonly message: string },
    signal: AbortSignal,
  ): Promise<boolean> {
    const known = conditionOf(vm, VmCondition.volumesChange);
    const next = transition(known, { type: VmCondition.volumesChange, ...text }, formatTime(this.deps.clock.now()));
    const shown = vm.status?.volumeUpdateState?.volumeMigrationState?.migratedVolumes;
    if (next === known && deepEqual(shown, migratedVolumes)) return false;
    const others = (vm.status?.conditions ?? []).filter(({ type }) => type !== VmCondition.volumesChange);
    const volumeUpdateState =
      migratedVolumes === undefined ? null : { volumeMigrationState: { migratedVolumes: [...migratedVolumes] } };
    const patch = {
      metadata: { resourceVersion: vm.metadata.resourceVersion },
      status: { conditions: [...others, next], volumeUpdateState },
    };
    await this.deps.client.patch(VirtualMachineKind, keyOf(vm), patch, { type: 'merge', subresource: 'status', signal });
    return true;
  }
}

function progressOf(moves: readonly Move[], complete = 'complete') {
  const refused = moves.filter(({ plan }) => plan.action === 'refuse');
  const told = (refused.length > 0 ? refused : moves).map(({ volume, from, to, plan }) => {
    const detail = plan.action === 'wait' || plan.action === 'refuse' ? `: ${plan.message}` : '';
    return `volume ${volume} from ${from} to ${to}${plan.action === 'done' ? `: ${complete}` : detail}`;
  });
  return refused.length > 0
    ? ({ status: 'False', reason: 'VolumesUpdateError', message: `Cannot move ${told.join('; ')}` } as const)
    : ({ status: 'True', reason: 'VolumesChangeInProgress', message: `Moving ${told.join('; ')}` } as const);
}

const listed = (volumes: readonly MigratedVolume[]): string =>
  volumes
    .map(
      ({ volumeName, sourcePVCInfo, destinationPVCInfo }) =>
        `volume ${volumeName} from ${sourcePVCInfo?.claimName} to ${destinationPVCInfo?.claimName}`,
    )
    .join('; ');

const claimsNamed = ({ dataVolume, persistentVolumeClaim }: kubevirt.Volume): readonly string[] =>
  [dataVolume?.name, persistentVolumeClaim?.claimName].filter((name) => name !== undefined);
