import type { kubevirt, PersistentVolumeClaim, VirtualMachine, VirtualMachineInstance } from '@slipway/api';
import { MEMORY_STATE_CLAIM, VmCondition, VmiPhase } from '@slipway/api';
import { runStrategyOf } from '../virtual-machine/run-strategy.ts';
import { conditionOf, isDeleting, isFinal } from '../virtual-machine-instance/instance-state.ts';
import { memoryStateOf, suspendWish } from './memory-state.ts';

/** What the `Suspended` condition of a VM says. */
export interface SuspendReport {
  readonly isSuspended: boolean;
  readonly reason: string;
  readonly message: string;
}

export type SuspendStep =
  | { readonly action: 'none' }
  | { readonly action: 'report'; readonly report: SuspendReport }
  /** No word about suspension is due. */
  | { readonly action: 'forget' }
  | { readonly action: 'createClaim' }
  | { readonly action: 'await'; readonly report: SuspendReport }
  | { readonly action: 'save'; readonly claimName: string }
  | { readonly action: 'deleteInstance' }
  | { readonly action: 'deleteClaim'; readonly why: string }
  /** Takes the wish back: it was fulfilled, or something else was asked for. */
  | { readonly action: 'dropWish' }
  | { readonly action: 'start' };

export interface SuspendFacts {
  readonly vm: VirtualMachine;
  readonly vmi: VirtualMachineInstance | undefined;
  /** The claim with the VM's memory. */
  readonly claim: PersistentVolumeClaim | undefined;
}

const NONE: SuspendStep = { action: 'none' };
const FORGET: SuspendStep = { action: 'forget' };
const report = (isSuspended: boolean, reason: string, message: string): SuspendReport => ({ isSuspended, reason, message });

/** Decides the next step of one VM's suspension. Pure. */
export function planSuspend(facts: SuspendFacts): SuspendStep {
  const { vm, vmi } = facts;
  if (isDeleting(vm)) return NONE; // its claim goes with it
  switch (suspendWish(vm)) {
    case 'suspend':
      if (vmi === undefined) return planOff(facts);
      return isFinal(vmi) || isDeleting(vmi) ? planEnd(vmi) : planSave(facts, vmi);
    case 'discard':
      return planDiscard(facts);
    default:
      return planResume(facts);
  }
}

/** The guest is off. */
function planOff({ vm, claim }: SuspendFacts): SuspendStep {
  // whoever starts a suspended VM wants it to go on
  if (vm.status?.stateChangeRequests?.[0]?.action === 'Start') return { action: 'dropWish' };
  return {
    action: 'report',
    report:
      claim === undefined
        ? report(true, 'NoMemoryState', 'The virtual machine was off when it was suspended, and boots when it is resumed')
        : report(true, 'MemoryStateSaved', `Its memory is in claim ${claim.metadata.name}`),
  };
}

const planEnd = (vmi: VirtualMachineInstance): SuspendStep => (isDeleting(vmi) ? NONE : { action: 'deleteInstance' });

function planSave({ vm, claim }: SuspendFacts, vmi: VirtualMachineInstance): SuspendStep {
  const known = conditionOf(vm, VmCondition.suspended);
  // tried once: the guest shall not stand still again and again
  if (known?.status === 'False' && (known.reason === SAVE_FAILED || known.reason === SAVED)) return NONE;
  const obstacle = suspendObstacle(vm, vmi);
  if (obstacle !== undefined) return { action: 'report', report: report(false, 'NotSuspendable', obstacle) };
  if (claim === undefined) return { action: 'createClaim' };
  const isOld = memoryStateOf(claim)?.vmiUid !== vmi.metadata.uid;
  if (isOld) return { action: 'deleteClaim', why: 'it holds the memory of an earlier instance' };
  const claimName = claim.metadata.name ?? '';
  if (claim.status?.phase === 'Bound') return { action: 'save', claimName };
  return { action: 'await', report: report(false, 'Saving', `Claim ${claimName} has no volume yet`) };
}

/** Reason of the condition after a guest's memory could not be written. */
export const SAVE_FAILED = 'SaveFailed';
/** Reason of the condition until the instance of a guest whose memory was written has ended. */
export const SAVED = 'Stopping';

function planDiscard({ vmi, claim }: SuspendFacts): SuspendStep {
  // an instance that waits for memory that it cannot load makes room for one that boots
  const isStuck = vmi?.metadata.annotations?.[MEMORY_STATE_CLAIM] !== undefined && vmi.status?.phase !== VmiPhase.running;
  if (vmi !== undefined && isStuck && !isDeleting(vmi)) return { action: 'deleteInstance' };
  if (claim !== undefined && !isDeleting(claim)) return { action: 'deleteClaim', why: 'its owner asked for that' };
  return { action: 'dropWish' };
}

/** Nobody wants the VM to be suspended; while there is memory, its next start goes on with it. */
function planResume({ vm, vmi, claim }: SuspendFacts): SuspendStep {
  if (claim === undefined || isDeleting(claim)) return FORGET;
  const isRunning = vmi?.status?.phase === VmiPhase.running;
  const isSource = memoryStateOf(claim)?.vmiUid === vmi?.metadata.uid;
  if (isRunning)
    return { action: 'deleteClaim', why: isSource ? 'the suspension was called off' : 'the guest goes on with its memory' };
  const strategy = runStrategyOf(vm);
  const needsRequest = strategy === 'Manual' || strategy === 'RerunOnFailure';
  const hasRequest = (vm.status?.stateChangeRequests ?? []).length > 0;
  if (vmi === undefined && needsRequest && !hasRequest) return { action: 'start' };
  return NONE;
}

/** Why the memory of this guest cannot be kept now; undefined: it can. Pure. */
export function suspendObstacle(vm: VirtualMachine, vmi: VirtualMachineInstance): string | undefined {
  const { snapshotInProgress, restoreInProgress } = vm.status ?? {};
  if (vmi.status?.phase !== VmiPhase.running) return 'the virtual machine is starting';
  if (snapshotInProgress !== undefined) return `snapshot "${snapshotInProgress}" is in progress`;
  if (restoreInProgress !== undefined) return `restore "${restoreInProgress}" is in progress`;
  const { migrationState } = vmi.status;
  if (migrationState?.startTimestamp != null && migrationState.endTimestamp == null) return 'a migration is in progress';
  return deviceObstacle(vmi.spec) ?? (vmi.spec.volumes ?? []).map(volumeObstacle).find((text) => text !== undefined);
}

function deviceObstacle({ domain }: kubevirt.VirtualMachineInstanceSpec): string | undefined {
  const { devices, launchSecurity } = domain;
  if ((devices.hostDevices ?? []).length > 0) return 'host devices keep state of their own';
  if ((devices.gpus ?? []).length > 0) return 'GPUs keep state of their own';
  if (devices.interfaces?.some(({ sriov }) => sriov !== undefined)) return 'SR-IOV interfaces keep state of their own';
  if ((devices.filesystems ?? []).length > 0) return 'shared file systems keep state of their own';
  if (devices.tpm !== undefined && devices.tpm.enabled !== false)
    return 'its TPM keeps secrets that may not be written to a disk';
  if (launchSecurity !== undefined) return 'its memory is encrypted';
  const shared = devices.disks?.find(({ shareable }) => shareable);
  return shared && `disk ${shared.name} is shared: others may write it meanwhile`;
}

function volumeObstacle(volume: kubevirt.Volume): string | undefined {
  const { name, emptyDisk, containerDisk, ephemeral, hostDisk, downwardMetrics } = volume;
  const isTemporary = emptyDisk !== undefined || containerDisk !== undefined || ephemeral !== undefined;
  if (isTemporary) return `volume ${name} does not outlive the guest: use a claim`;
  if (hostDisk !== undefined || downwardMetrics !== undefined) return `volume ${name} belongs to the host`;
  return undefined;
}
