import type { KubeObject, ResourceKind } from '@slipway/apimachinery';
import type * as core from './core.ts';
import type { EndpointSlice } from './endpoint-slices.ts';
import type * as cdi from './generated/cdi.ts';
import type * as kubevirt from './generated/kubevirt.ts';
import type { HostPathProvisioner } from './host-path-provisioner.ts';
import type { MultiNetworkPolicy, NetworkPolicy } from './network-policies.ts';
import type { VolumeSnapshot, VolumeSnapshotClass, VolumeSnapshotContent } from './volume-snapshots.ts';

function kind<T extends KubeObject>(apiVersion: string, name: string, plural: string, namespaced = true): ResourceKind<T> {
  const slash = apiVersion.indexOf('/');
  return {
    group: slash < 0 ? '' : apiVersion.slice(0, slash),
    version: apiVersion.slice(slash + 1),
    kind: name,
    plural,
    namespaced,
  };
}

export const PodKind = kind<core.Pod>('v1', 'Pod', 'pods');
export const NodeKind = kind<core.Node>('v1', 'Node', 'nodes', false);
export const NamespaceKind = kind<core.Namespace>('v1', 'Namespace', 'namespaces', false);
export const ConfigMapKind = kind<core.ConfigMap>('v1', 'ConfigMap', 'configmaps');
export const SecretKind = kind<core.Secret>('v1', 'Secret', 'secrets');
export const ServiceKind = kind<core.Service>('v1', 'Service', 'services');
export const ServiceAccountKind = kind<core.ServiceAccount>('v1', 'ServiceAccount', 'serviceaccounts');
export const PersistentVolumeKind = kind<core.PersistentVolume>('v1', 'PersistentVolume', 'persistentvolumes', false);
export const PersistentVolumeClaimKind = kind<core.PersistentVolumeClaim>(
  'v1',
  'PersistentVolumeClaim',
  'persistentvolumeclaims',
);
export const EventKind = kind<core.CoreEvent>('v1', 'Event', 'events');
export const LeaseKind = kind<core.Lease>('coordination.k8s.io/v1', 'Lease', 'leases');
export const StorageClassKind = kind<core.StorageClass>('storage.k8s.io/v1', 'StorageClass', 'storageclasses', false);
export const ControllerRevisionKind = kind<core.ControllerRevision>('apps/v1', 'ControllerRevision', 'controllerrevisions');
export const ClusterRoleKind = kind<core.ClusterRole>('rbac.authorization.k8s.io/v1', 'ClusterRole', 'clusterroles', false);
export const ClusterRoleBindingKind = kind<core.ClusterRoleBinding>(
  'rbac.authorization.k8s.io/v1',
  'ClusterRoleBinding',
  'clusterrolebindings',
  false,
);
export const RoleKind = kind<core.Role>('rbac.authorization.k8s.io/v1', 'Role', 'roles');
export const RoleBindingKind = kind<core.RoleBinding>('rbac.authorization.k8s.io/v1', 'RoleBinding', 'rolebindings');

export const VirtualMachineKind = kind<kubevirt.VirtualMachine>('kubevirt.io/v1', 'VirtualMachine', 'virtualmachines');
export const VirtualMachineInstanceKind = kind<kubevirt.VirtualMachineInstance>(
  'kubevirt.io/v1',
  'VirtualMachineInstance',
  'virtualmachineinstances',
);
export const VirtualMachineInstanceMigrationKind = kind<kubevirt.VirtualMachineInstanceMigration>(
  'kubevirt.io/v1',
  'VirtualMachineInstanceMigration',
  'virtualmachineinstancemigrations',
);
export const VirtualMachineInstanceReplicaSetKind = kind<kubevirt.VirtualMachineInstanceReplicaSet>(
  'kubevirt.io/v1',
  'VirtualMachineInstanceReplicaSet',
  'virtualmachineinstancereplicasets',
);
const INSTANCETYPE = 'instancetype.kubevirt.io/v1beta1';
export const VirtualMachineInstancetypeKind = kind<kubevirt.VirtualMachineInstancetype>(
  INSTANCETYPE,
  'VirtualMachineInstancetype',
  'virtualmachineinstancetypes',
);
export const VirtualMachineClusterInstancetypeKind = kind<kubevirt.VirtualMachineClusterInstancetype>(
  INSTANCETYPE,
  'VirtualMachineClusterInstancetype',
  'virtualmachineclusterinstancetypes',
  false,
);
export const VirtualMachinePreferenceKind = kind<kubevirt.VirtualMachinePreference>(
  INSTANCETYPE,
  'VirtualMachinePreference',
  'virtualmachinepreferences',
);
export const VirtualMachineClusterPreferenceKind = kind<kubevirt.VirtualMachineClusterPreference>(
  INSTANCETYPE,
  'VirtualMachineClusterPreference',
  'virtualmachineclusterpreferences',
  false,
);
export const KubeVirtKind = kind<kubevirt.KubeVirt>('kubevirt.io/v1', 'KubeVirt', 'kubevirts');

export const DataVolumeKind = kind<cdi.DataVolume>('cdi.kubevirt.io/v1beta1', 'DataVolume', 'datavolumes');
export const DataSourceKind = kind<cdi.DataSource>('cdi.kubevirt.io/v1beta1', 'DataSource', 'datasources');
export const StorageProfileKind = kind<cdi.StorageProfile>('cdi.kubevirt.io/v1beta1', 'StorageProfile', 'storageprofiles', false);
export const CDIKind = kind<cdi.CDI>('cdi.kubevirt.io/v1beta1', 'CDI', 'cdis', false);
export const CDIConfigKind = kind<cdi.CDIConfig>('cdi.kubevirt.io/v1beta1', 'CDIConfig', 'cdiconfigs', false);
export const VolumeCloneSourceKind = kind<cdi.VolumeCloneSource>(
  'cdi.kubevirt.io/v1beta1',
  'VolumeCloneSource',
  'volumeclonesources',
);
export const VolumeImportSourceKind = kind<cdi.VolumeImportSource>(
  'cdi.kubevirt.io/v1beta1',
  'VolumeImportSource',
  'volumeimportsources',
);

/** `k8s.cni.cncf.io/v1`: one secondary network as a CNI configuration in `spec.config`. */
export interface NetworkAttachmentDefinition extends KubeObject {
  spec?: { config?: string };
}
export const NetworkAttachmentDefinitionKind = kind<NetworkAttachmentDefinition>(
  'k8s.cni.cncf.io/v1',
  'NetworkAttachmentDefinition',
  'network-attachment-definitions',
);

export const MultiNetworkPolicyKind = kind<MultiNetworkPolicy>(
  'k8s.cni.cncf.io/v1beta1',
  'MultiNetworkPolicy',
  'multi-networkpolicies',
);

export const VirtualMachineInstancePresetKind = kind<kubevirt.VirtualMachineInstancePreset>(
  'kubevirt.io/v1',
  'VirtualMachineInstancePreset',
  'virtualmachineinstancepresets',
);
export const VirtualMachinePoolKind = kind<kubevirt.VirtualMachinePool>(
  'pool.kubevirt.io/v1beta1',
  'VirtualMachinePool',
  'virtualmachinepools',
);
export const VirtualMachineSnapshotKind = kind<kubevirt.VirtualMachineSnapshot>(
  'snapshot.kubevirt.io/v1beta1',
  'VirtualMachineSnapshot',
  'virtualmachinesnapshots',
);
export const VirtualMachineSnapshotContentKind = kind<kubevirt.VirtualMachineSnapshotContent>(
  'snapshot.kubevirt.io/v1beta1',
  'VirtualMachineSnapshotContent',
  'virtualmachinesnapshotcontents',
);
export const VirtualMachineRestoreKind = kind<kubevirt.VirtualMachineRestore>(
  'snapshot.kubevirt.io/v1beta1',
  'VirtualMachineRestore',
  'virtualmachinerestores',
);
export const VirtualMachineExportKind = kind<kubevirt.VirtualMachineExport>(
  'export.kubevirt.io/v1',
  'VirtualMachineExport',
  'virtualmachineexports',
);
export const VirtualMachineCloneKind = kind<kubevirt.VirtualMachineClone>(
  'clone.kubevirt.io/v1beta1',
  'VirtualMachineClone',
  'virtualmachineclones',
);
export const VirtualMachineBackupKind = kind<kubevirt.VirtualMachineBackup>(
  'backup.kubevirt.io/v1alpha1',
  'VirtualMachineBackup',
  'virtualmachinebackups',
);
export const VirtualMachineBackupTrackerKind = kind<kubevirt.VirtualMachineBackupTracker>(
  'backup.kubevirt.io/v1alpha1',
  'VirtualMachineBackupTracker',
  'virtualmachinebackuptrackers',
);
export const MigrationPolicyKind = kind<kubevirt.MigrationPolicy>(
  'migrations.kubevirt.io/v1alpha1',
  'MigrationPolicy',
  'migrationpolicies',
  false,
);
export const PluginKind = kind<kubevirt.Plugin>('plugin.kubevirt.io/v1alpha1', 'Plugin', 'plugins', false);
export const DataImportCronKind = kind<cdi.DataImportCron>('cdi.kubevirt.io/v1beta1', 'DataImportCron', 'dataimportcrons');
export const VolumeUploadSourceKind = kind<cdi.VolumeUploadSource>(
  'cdi.kubevirt.io/v1beta1',
  'VolumeUploadSource',
  'volumeuploadsources',
);
export const ObjectTransferKind = kind<cdi.ObjectTransfer>('cdi.kubevirt.io/v1beta1', 'ObjectTransfer', 'objecttransfers', false);
export const OvirtVolumePopulatorKind = kind<cdi.OvirtVolumePopulator>(
  'forklift.cdi.kubevirt.io/v1beta1',
  'OvirtVolumePopulator',
  'ovirtvolumepopulators',
);
export const OpenstackVolumePopulatorKind = kind<cdi.OpenstackVolumePopulator>(
  'forklift.cdi.kubevirt.io/v1beta1',
  'OpenstackVolumePopulator',
  'openstackvolumepopulators',
);
export const HyperConvergedKind = kind('hco.kubevirt.io/v1beta1', 'HyperConverged', 'hyperconvergeds');
export const SSPKind = kind('ssp.kubevirt.io/v1beta3', 'SSP', 'ssps');
export const HostPathProvisionerKind = kind<HostPathProvisioner>(
  'hostpathprovisioner.kubevirt.io/v1beta1',
  'HostPathProvisioner',
  'hostpathprovisioners',
  false,
);
export const VolumeSnapshotKind = kind<VolumeSnapshot>('snapshot.storage.k8s.io/v1', 'VolumeSnapshot', 'volumesnapshots');
export const VolumeSnapshotContentKind = kind<VolumeSnapshotContent>(
  'snapshot.storage.k8s.io/v1',
  'VolumeSnapshotContent',
  'volumesnapshotcontents',
  false,
);
export const VolumeSnapshotClassKind = kind<VolumeSnapshotClass>(
  'snapshot.storage.k8s.io/v1',
  'VolumeSnapshotClass',
  'volumesnapshotclasses',
  false,
);
export const ApplicationKind = kind('argoproj.io/v1alpha1', 'Application', 'applications');
export const AppProjectKind = kind('argoproj.io/v1alpha1', 'AppProject', 'appprojects');
export const DeploymentKind = kind<core.Deployment>('apps/v1', 'Deployment', 'deployments');
export const ReplicaSetKind = kind<core.ReplicaSet>('apps/v1', 'ReplicaSet', 'replicasets');
export const StatefulSetKind = kind<core.StatefulSet>('apps/v1', 'StatefulSet', 'statefulsets');
export const DaemonSetKind = kind<core.DaemonSet>('apps/v1', 'DaemonSet', 'daemonsets');
export const JobKind = kind<core.Job>('batch/v1', 'Job', 'jobs');
export const CronJobKind = kind<core.CronJob>('batch/v1', 'CronJob', 'cronjobs');
export const HorizontalPodAutoscalerKind = kind<core.HorizontalPodAutoscaler>(
  'autoscaling/v2',
  'HorizontalPodAutoscaler',
  'horizontalpodautoscalers',
);
export const EndpointsKind = kind<core.Endpoints>('v1', 'Endpoints', 'endpoints');
export const LimitRangeKind = kind('v1', 'LimitRange', 'limitranges');
export const ResourceQuotaKind = kind<core.ResourceQuota>('v1', 'ResourceQuota', 'resourcequotas');
export const PodDisruptionBudgetKind = kind<core.PodDisruptionBudget>('policy/v1', 'PodDisruptionBudget', 'poddisruptionbudgets');
export const PriorityClassKind = kind('scheduling.k8s.io/v1', 'PriorityClass', 'priorityclasses', false);
export const EndpointSliceKind = kind<EndpointSlice>('discovery.k8s.io/v1', 'EndpointSlice', 'endpointslices');
export const NetworkPolicyKind = kind<NetworkPolicy>('networking.k8s.io/v1', 'NetworkPolicy', 'networkpolicies');
export const CSIDriverKind = kind('storage.k8s.io/v1', 'CSIDriver', 'csidrivers', false);
export const CSIStorageCapacityKind = kind<core.CSIStorageCapacity>(
  'storage.k8s.io/v1',
  'CSIStorageCapacity',
  'csistoragecapacities',
);
export const VolumeAttachmentKind = kind('storage.k8s.io/v1', 'VolumeAttachment', 'volumeattachments', false);
export const CustomResourceDefinitionKind = kind(
  'apiextensions.k8s.io/v1',
  'CustomResourceDefinition',
  'customresourcedefinitions',
  false,
);
export const APIServiceKind = kind('apiregistration.k8s.io/v1', 'APIService', 'apiservices', false);
export const MutatingWebhookConfigurationKind = kind(
  'admissionregistration.k8s.io/v1',
  'MutatingWebhookConfiguration',
  'mutatingwebhookconfigurations',
  false,
);
export const ValidatingWebhookConfigurationKind = kind(
  'admissionregistration.k8s.io/v1',
  'ValidatingWebhookConfiguration',
  'validatingwebhookconfigurations',
  false,
);
export const CertificateSigningRequestKind = kind(
  'certificates.k8s.io/v1',
  'CertificateSigningRequest',
  'certificatesigningrequests',
  false,
);
