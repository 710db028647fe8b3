/** Names of KubeVirt's wire contract that more than one package reads or writes. */

export const Finalizer = {
  /** On VMs, and on VMIs that a VM owns: dropped by the VM controller. */
  virtualMachineController: 'kubevirt.io/virtualMachineControllerFinalize',
  /** On every VMI: dropped by the VMI controller once no launcher pod is left. */
  foregroundDelete: 'kubevirt.io/foregroundDeleteVirtualMachine',
  /** Older spelling, still honoured. */
  legacyForegroundDelete: 'foregroundDeleteVirtualMachine',
} as const;

export const Label = {
  nodeName: 'kubevirt.io/nodeName',
  createdBy: 'kubevirt.io/created-by',
  app: 'kubevirt.io',
  vmName: 'vm.kubevirt.io/name',
  vmiName: 'kubevirt.io/vmi-name',
  schedulable: 'kubevirt.io/schedulable',
  migrationTargetNodeName: 'kubevirt.io/migrationTargetNodeName',
  migrationJobUid: 'kubevirt.io/migrationJobUID',
} as const;

export const Annotation = {
  vmGeneration: 'kubevirt.io/vm-generation',
  immediateDataVolumeCreation: 'kubevirt.io/immediate-data-volume-creation',
  createMigrationTarget: 'kubevirt.io/create-migration-target',
  restoreRunStrategy: 'kubevirt.io/restore-run-strategy',
  ephemeralProvisioning: 'kubevirt.io/ephemeral-provisioning',
} as const;

/** Pod condition behind the launcher's readiness gate. */
export const UNPAUSED_GATE = 'kubevirt.io/virtual-machine-unpaused';

export const VmiPhase = {
  unset: '',
  pending: 'Pending',
  scheduling: 'Scheduling',
  scheduled: 'Scheduled',
  running: 'Running',
  succeeded: 'Succeeded',
  failed: 'Failed',
  waitingForSync: 'WaitingForSync',
  unknown: 'Unknown',
} as const;

/** `status.volumeStatus[].phase` of volumes that are hotplugged. */
export const VolumePhase = {
  pending: 'Pending',
  bound: 'Bound',
  attachedToNode: 'AttachedToNode',
  mountedToPod: 'MountedToPod',
  ready: 'Ready',
  detaching: 'Detaching',
  unmountedFromPod: 'UnMountedFromPod',
} as const;

/** Reasons of `status.volumeStatus[]` and of the events about hotplugged devices. */
export const HotplugReason = {
  pvcNotReady: 'PVCNotReady',
  volumeMountedToPod: 'VolumeMountedToPod',
  volumeReady: 'VolumeReady',
  volumeUnmountedFromPod: 'VolumeUnMountedFromPod',
  /** Ours: libvirt, QEMU or the volume refused. */
  attachFailed: 'AttachFailed',
  /** Ours: the guest has not let the device go. */
  detachTimedOut: 'DetachTimedOut',
  detachRefused: 'DetachRefused',
  /** Ours: the guest's agent does not list what was plugged. */
  notSeenByGuest: 'NotSeenByGuest',
  /** Ours: the guest has not taken what it was given. */
  vcpuChangeFailed: 'VCPUChangeFailed',
  memoryChangeFailed: 'MemoryChangeFailed',
  /** Reason of the condition Synchronized. */
  failedHotplugSync: 'FailedHotplugSync',
} as const;

/** Ours: reasons of events about guests that go beyond what a guest may do. */
export const GuestTrouble = {
  consoleFlood: 'GuestConsoleFlood',
  eventFlood: 'GuestEventFlood',
  resetLoop: 'GuestResetLoop',
  shutdownIgnored: 'GuestShutdownIgnored',
  /** Also a condition: firmware with secure boot has refused a boot loader. */
  bootRefused: 'SecureBootRefused',
} as const;

/** Ours: reasons of the condition AgentMisbehaving, and of its events. */
export const AgentTrouble = {
  answerTooLong: 'AgentAnswerTooLong',
  answerMalformed: 'AgentAnswerMalformed',
  listTooLong: 'AgentListTooLong',
  noAnswer: 'AgentNotAnswering',
} as const;

export const VmiCondition = {
  ready: 'Ready',
  synchronized: 'Synchronized',
  podScheduled: 'PodScheduled',
  provisioning: 'Provisioning',
  dataVolumesReady: 'DataVolumesReady',
  paused: 'Paused',
  agentConnected: 'AgentConnected',
  /** Ours. */
  agentMisbehaving: 'AgentMisbehaving',
  liveMigratable: 'LiveMigratable',
  storageLiveMigratable: 'StorageLiveMigratable',
  evictionRequested: 'EvictionRequested',
  migrationRequired: 'MigrationRequired',
  hotVcpuChange: 'HotVCPUChange',
  hotMemoryChange: 'HotMemoryChange',
} as const;

export const VmCondition = {
  ready: 'Ready',
  failure: 'Failure',
  restartRequired: 'RestartRequired',
  manualRecoveryRequired: 'ManualRecoveryRequired',
  /** A volume moves to another claim. */
  volumesChange: 'VolumesChange',
  paused: 'Paused',
  /** Ours. */
  suspended: 'Suspended',
} as const;

/** Suspension to disk is ours. On a VM: `true` saves its memory and keeps it off, `discard` throws the memory away. */
export const SUSPEND = 'slipway.dev/suspend';
/** On an instance: the claim from which it goes on. */
export const MEMORY_STATE_CLAIM = 'slipway.dev/memory-state-claim';
/** On a claim: the instance whose memory it holds, as JSON. */
export const MEMORY_STATE = 'slipway.dev/memory-state';

/** Reasons of events and conditions, spelled as KubeVirt spells them. */
export const Reason = {
  successfulCreate: 'SuccessfulCreate',
  failedCreate: 'FailedCreate',
  successfulDelete: 'SuccessfulDelete',
  failedDelete: 'FailedDelete',
  successfulHandOver: 'SuccessfulHandOver',
  failedHandOver: 'FailedHandOver',
  failedPvcNotFound: 'FailedPvcNotFound',
  errImagePull: 'ErrImagePull',
  imagePullBackOff: 'ImagePullBackOff',
  nodeUnresponsive: 'NodeUnresponsive',
  successfulDataVolumeCreate: 'SuccessfulDataVolumeCreate',
  failedDataVolumeCreate: 'FailedDataVolumeCreate',
  failedDataVolumeImport: 'FailedDataVolumeImport',
  unauthorizedDataVolumeCreate: 'UnauthorizedDataVolumeCreate',
  vmiNotExists: 'VMINotExists',
  vmiConditionMissing: 'VMIConditionMissing',
  podNotExists: 'PodNotExists',
  podTerminating: 'PodTerminating',
  guestNotRunning: 'GuestNotRunning',
  podConditionMissing: 'PodConditionMissing',
  allDvsReady: 'AllDVsReady',
  notAllDvsReady: 'NotAllDVsReady',
  unschedulable: 'Unschedulable',
} as const;

/** Of a node: SHA-256 fingerprints of the certificates by which its agent speaks to other agents, between commas. */
export const PEER_CERTIFICATES = 'slipway.dev/peer-certificates';
