import type { DataVolume, PersistentVolumeClaim, VirtualMachine, VirtualMachineInstance } from '@slipway/api';
import { Reason, VmCondition, VmiCondition, VmiPhase } from '@slipway/api';
import { hasCondition, isDeleting, isFinal } from '../virtual-machine-instance/instance-state.ts';
import { isSetToStart } from './power-plan.ts';
import { runStrategyOf } from './run-strategy.ts';

/** Everything `status.printableStatus` depends on. */
export interface PrintableStatusInput {
  /** With `status.startFailure` and `status.stateChangeRequests` already brought up to date. */
  readonly vm: VirtualMachine;
  readonly vmi: VirtualMachineInstance | undefined;
  /** This pass has asked for the deletion of the instance. */
  readonly isStopping: boolean;
  /** This pass has asked for a new instance. */
  readonly isStarting: boolean;
  /** DataVolumes used by the VM that exist. */
  readonly dataVolumes: readonly DataVolume[];
  /** Claims used by the VM that exist. */
  readonly claims: readonly PersistentVolumeClaim[];
}

type Rule = readonly [status: string, applies: (input: PrintableStatusInput) => boolean];

const phaseOf = (vmi: VirtualMachineInstance | undefined): string => vmi?.status?.phase ?? VmiPhase.unset;
const hasSyncError = (vmi: VirtualMachineInstance | undefined, reason: string): boolean =>
  hasCondition(vmi, VmiCondition.synchronized, 'False', reason);

const BEFORE_RUNNING: readonly string[] = [VmiPhase.unset, VmiPhase.pending, VmiPhase.scheduling, VmiPhase.scheduled];
/** Phases of a DataVolume in which nobody is working on it. */
const DV_AT_REST: readonly string[] = ['Succeeded', 'WaitForFirstConsumer', 'PendingPopulation', 'Failed', 'Unknown', 'Paused'];
const DV_ERROR_REASONS: readonly string[] = ['Error', 'ImagePullFailed', 'TransferFailed'];

export function hasFailedDataVolume({ dataVolumes }: Pick<PrintableStatusInput, 'dataVolumes'>): boolean {
  return dataVolumes.some(
    (dv) =>
      dv.status?.phase === 'Failed' ||
      (dv.status?.conditions ?? []).some(
        ({ type, status, reason = '' }) => type === 'Running' && status === 'False' && DV_ERROR_REASONS.includes(reason),
      ),
  );
}

/** First match wins; the order is part of the contract. */
const RULES: readonly Rule[] = [
  ['Terminating', ({ vm }) => isDeleting(vm)],
  ['Stopping', ({ vmi, isStopping }) => vmi !== undefined && !isFinal(vmi) && (isDeleting(vmi) || isStopping)],
  [
    'Migrating',
    ({ vmi }) =>
      vmi?.status?.migrationState?.startTimestamp != null && vmi.status.migrationState.endTimestamp == null && !isFinal(vmi),
  ],
  ['Paused', ({ vmi }) => phaseOf(vmi) === VmiPhase.running && hasCondition(vmi, VmiCondition.paused)],
  ['Running', ({ vmi }) => phaseOf(vmi) === VmiPhase.running],
  ['ErrorPvcNotFound', ({ vmi }) => hasSyncError(vmi, Reason.failedPvcNotFound)],
  ['DataVolumeError', hasFailedDataVolume],
  ['ErrorUnschedulable', ({ vmi }) => hasCondition(vmi, VmiCondition.podScheduled, 'False', Reason.unschedulable)],
  ['Provisioning', ({ dataVolumes }) => dataVolumes.some((dv) => !DV_AT_REST.includes(dv.status?.phase ?? ''))],
  [
    'WaitingForVolumeBinding',
    ({ vm, vmi, claims }) => isSetToStart(vm, vmi) && claims.some((claim) => claim.status?.phase !== 'Bound'),
  ],
  ['ErrImagePull', ({ vmi }) => hasSyncError(vmi, Reason.errImagePull)],
  ['ImagePullBackOff', ({ vmi }) => hasSyncError(vmi, Reason.imagePullBackOff)],
  ['Starting', ({ vmi, isStarting }) => isStarting || (vmi !== undefined && BEFORE_RUNNING.includes(phaseOf(vmi)))],
  [
    'CrashLoopBackOff',
    ({ vm, vmi }) =>
      (vmi === undefined || isFinal(vmi)) &&
      (vm.status?.startFailure?.consecutiveFailCount ?? 0) > 0 &&
      ['Always', 'RerunOnFailure', 'Once'].includes(runStrategyOf(vm)),
  ],
  // WaitingForReceiver is checked before Stopped, or a receiver without instance would never show it
  [
    'WaitingForReceiver',
    ({ vm, vmi }) => runStrategyOf(vm) === 'WaitAsReceiver' && (vmi === undefined || phaseOf(vmi) === VmiPhase.waitingForSync),
  ],
  ['Suspended', ({ vm, vmi }) => (vmi === undefined || isFinal(vmi)) && hasCondition(vm, VmCondition.suspended)],
  ['Stopped', ({ vmi }) => vmi === undefined || isFinal(vmi)],
];

/** `status.printableStatus` of a VM. */
export function printableStatusOf(input: PrintableStatusInput): string {
  return RULES.find(([, applies]) => applies(input))?.[0] ?? 'Unknown';
}
