const CDI = 'cdi.kubevirt.io/';

/** Annotations of CDI that clients read or set. */
export const Annotation = {
  immediateBinding: `${CDI}storage.bind.immediate.requested`,
  retainPods: `${CDI}storage.pod.retainAfterCompletion`,
  populatedFor: `${CDI}storage.populatedFor`,
  prePopulated: `${CDI}storage.prePopulated`,
  claimAdoption: `${CDI}allowClaimAdoption`,
  checkStaticVolume: `${CDI}storage.checkStaticVolume`,
  contentType: `${CDI}storage.contentType`,
  preallocation: `${CDI}storage.preallocation.requested`,
  importSource: `${CDI}storage.import.source`,
  importEndpoint: `${CDI}storage.import.endpoint`,
  importSecret: `${CDI}storage.import.secretName`,
  importCertConfigMap: `${CDI}storage.import.certConfigMap`,
  importInsecure: `${CDI}storage.import.insecureSkipVerify`,
  importChecksum: `${CDI}storage.import.checksum`,
  importArchitecture: `${CDI}storage.import.registryImageArchitecture`,
  importPullMethod: `${CDI}storage.import.registryImportMethod`,
  importImageStream: `${CDI}storage.import.registryImageStream`,
  importDiskId: `${CDI}storage.import.diskId`,
  importUuid: `${CDI}storage.import.uuid`,
  importBackingFile: `${CDI}storage.import.backingFile`,
  importThumbprint: `${CDI}storage.import.vddk.thumbprint`,
  checkpointPrevious: `${CDI}storage.checkpoint.previous`,
  checkpointCurrent: `${CDI}storage.checkpoint.current`,
  checkpointFinal: `${CDI}storage.checkpoint.final`,
  /** Followed by the name of a checkpoint; the value is the uid of the pod that copied it. */
  checkpointCopied: `${CDI}storage.checkpoint.copied.`,
  checkpointPod: `${CDI}storage.checkpoint.pod.id`,
  checkpointDone: `${CDI}storage.checkpoint.done`,
  vddkImage: `${CDI}storage.pod.vddk.initimageurl`,
  vddkArguments: `${CDI}storage.pod.vddk.extraargs`,
  importExtraHeader: `${CDI}storage.import.extraHeaders.`,
  importSecretExtraHeader: `${CDI}storage.import.secretExtraHeaders.`,
  importPod: `${CDI}storage.import.importPodName`,
  fatalError: `${CDI}storage.import.fatalError`,
  uploadTarget: `${CDI}storage.upload.target`,
  /** Kind of the population source that the claim was filled from. */
  populator: `${CDI}storage.populator.kind`,
  /** Somebody else fills the claim. */
  externalPopulation: `${CDI}externalPopulation`,
  cloneRequest: 'k8s.io/CloneRequest',
  /** Like `cloneRequest`, for a VolumeSnapshot. */
  snapshotRequest: 'slipway.dev/snapshot-request',
  cloneOf: 'k8s.io/CloneOf',
  /** Strategy of a clone: on a DataVolume the one that is wished for, on a claim the one that was chosen. */
  cloneType: `${CDI}cloneType`,
  cloneStrategyOverride: `${CDI}cloneStrategyOverride`,
  clonePhase: `${CDI}clonePhase`,
  cloneFallback: `${CDI}cloneFallbackReason`,
  podPhase: `${CDI}storage.pod.phase`,
  podReady: `${CDI}storage.pod.ready`,
  podRestarts: `${CDI}storage.pod.restarts`,
  running: `${CDI}storage.condition.running`,
  runningReason: `${CDI}storage.condition.running.reason`,
  runningMessage: `${CDI}storage.condition.running.message`,
  ownDataVolume: `${CDI}createdForDataVolume`,
  priorityClass: `${CDI}storage.pod.priorityclassname`,
  serviceAccount: `${CDI}storage.pod.serviceAccountName`,
  selectedNode: 'volume.kubernetes.io/selected-node',
  lastCronTime: `${CDI}storage.import.lastCronTime`,
  desiredDigest: `${CDI}storage.import.sourceDesiredDigest`,
  lastUseTime: `${CDI}storage.import.lastUseTime`,
  /** On a DataImportCron without a class: the default one of its present import. */
  cronStorageClass: `${CDI}storage.import.storageClass`,
  /** On a snapshot of a DataImportCron. */
  sourceVolumeMode: `${CDI}storage.import.sourceVolumeMode`,
  /** On a snapshot of a DataImportCron. */
  advisedRestoreSize: `${CDI}storage.import.advisedRestoreSize`,
  /** On a StorageProfile: smallest claim that the provisioner makes. */
  minimumSize: `${CDI}minimumSupportedPvcSize`,
  /** On a StorageProfile. */
  cronNeedsReadWriteOnce: `${CDI}useReadWriteOnceForDataImportCron`,
  /** On a StorageProfile. */
  cronSnapshotClass: `${CDI}snapshotClassForDataImportCron`,
  /** Written by the node agent on the data mover's pod. */
  progress: 'slipway.dev/progress',
  /** Who created the DataVolume: written at admission, whatever the client sent. */
  requester: 'slipway.dev/requester',
} as const;

export const IMPORTER_IMAGE = 'slipway/cdi-importer';

export const LABELS = {
  app: 'containerized-data-importer',
  'app.kubernetes.io/component': 'storage',
  'app.kubernetes.io/managed-by': 'cdi-controller',
} as const;

/** What DataImportCrons mark their objects with. */
export const CronLabel = {
  cron: `${CDI}dataImportCron`,
  poller: `${CDI}dataImportCronPoller`,
  cleanUp: `${CDI}dataImportCron.cleanup`,
} as const;

/** Labels that go from a source to what is made of it. */
export const PROPAGATED_LABEL = /^([\w.]+\.kubevirt\.io|kubevirt\.io)\/[\w.-]+$/;

export const DEFAULT_OVERHEAD = 0.06;
export const MIB = 1024 * 1024;
