import type { ControllerRegistration } from '@slipway/runtime';
import { SLIPWAY_PROFILE } from '@slipway/virt';
import { clusterRoleAggregationController } from './cluster-role-aggregation/index.ts';
import { cronJobController } from './cron-job/index.ts';
import { daemonSetController } from './daemon-set/index.ts';
import { deploymentController } from './deployment/index.ts';
import { disruptionController } from './disruption/index.ts';
import { endpointSliceController, endpointsController } from './endpoints/index.ts';
import { evacuationController } from './evacuation/index.ts';
import { fencingController } from './fencing/index.ts';
import { garbageCollectorController } from './garbage-collector/index.ts';
import { horizontalPodAutoscalerController } from './horizontal-pod-autoscaler/index.ts';
import { jobController } from './job/index.ts';
import { jobPodReleaseController } from './job/release-pods.ts';
import { namespaceController } from './namespace/index.ts';
import { nodeLifecycleController } from './node-lifecycle/index.ts';
import {
  claimController,
  claimProtectionController,
  volumeController,
  volumeProtectionController,
} from './persistent-volume/index.ts';
import { podGcController } from './pod-gc/index.ts';
import { replicaSetController } from './replica-set/index.ts';
import { kubeVirtMetrics } from './metrics/index.ts';
import { memoryDumpController } from './memory-dump/index.ts';
import { replicaSetVmiController } from './replica-set-vmi/index.ts';
import { applicationAwareQuotaController } from './application-aware-quota/index.ts';
import { clusterResourceQuotaController, resourceQuotaController } from './resource-quota/index.ts';
import { schedulerController } from './scheduler/index.ts';
import { serviceAccountController } from './service-account/index.ts';
import { serviceAccountTokenController } from './service-account-token/index.ts';
import { kubernetesServiceController } from './kubernetes-service/index.ts';
import { serviceLoadBalancerController } from './service-load-balancer/index.ts';
import { statefulSetController } from './stateful-set/index.ts';
import { taintEvictionController } from './taint-eviction/index.ts';
import { virtualMachinePoolController } from './virtual-machine-pool/index.ts';
import { vmCloneController } from './vm-clone/index.ts';
import { vmExportController } from './vm-export/index.ts';
import { vmRestoreController } from './vm-restore/index.ts';
import { vmSnapshotContentController, vmSnapshotController } from './vm-snapshot/index.ts';
import { vmSuspendController } from './vm-suspend/index.ts';
import { volumeMigrationController } from './volume-migration/index.ts';
import { volumeRelocationController } from './volume-relocation/index.ts';
import { volumeSnapshotController } from './volume-snapshot/index.ts';
import { workloadPlacementController } from './workload-placement/index.ts';
import { kubeVirtControllers } from './virtual-machine/kubevirt-controllers.ts';

export {
  type AdmissionDeps,
  cachedPresets,
  isPlatformUser,
  platformUserIn,
  virtAdmissionHandlers,
} from './admission/index.ts';
export { countStreams, type StreamCounts } from './metrics/stream-counts.ts';
export { expandVm, resolveTypes, withInferredTypes } from './instancetype/index.ts';
export * from './persistent-volume/index.ts';
export * from './scheduler/index.ts';
export { exportRoute, type ExportRouteDeps } from './vm-export/index.ts';
export { type ClusterFacts, clusterFacts } from './virtual-machine/cluster-facts.ts';
export { kubeVirtControllers } from './virtual-machine/kubevirt-controllers.ts';
export {
  type SubresourceDeps,
  type VersionInfo,
  virtApiRules,
  virtualMachineSubresources,
} from './virtual-machine-subresources/index.ts';
export * from './why/index.ts';

export { type GateDeps, gatingFrom, quotaGateAdmission } from './application-aware-quota/index.ts';

/** Every controller of this package that runs in any cluster; the daemon starts them all. */
export const controllers: readonly ControllerRegistration[] = [
  garbageCollectorController(),
  namespaceController(),
  serviceAccountController,
  nodeLifecycleController,
  workloadPlacementController,
  fencingController,
  podGcController,
  endpointSliceController,
  endpointsController,
  clusterRoleAggregationController,
  serviceAccountTokenController,
  kubernetesServiceController,
  serviceLoadBalancerController,
  disruptionController,
  resourceQuotaController,
  clusterResourceQuotaController,
  applicationAwareQuotaController,
  replicaSetController,
  deploymentController,
  statefulSetController,
  daemonSetController,
  jobController,
  jobPodReleaseController,
  cronJobController,
  horizontalPodAutoscalerController,
  taintEvictionController,
  schedulerController,
  claimController,
  volumeController,
  claimProtectionController,
  volumeProtectionController,
  volumeSnapshotController,
  vmSnapshotController,
  vmSnapshotContentController,
  vmRestoreController,
  vmCloneController,
  vmExportController,
  ...kubeVirtControllers(SLIPWAY_PROFILE),
  evacuationController,
  replicaSetVmiController,
  virtualMachinePoolController,
  memoryDumpController,
  vmSuspendController,
  volumeMigrationController,
  volumeRelocationController,
  kubeVirtMetrics,
];
