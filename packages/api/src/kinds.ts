import type { KubeObject, ResourceKind } from '@slipway/apimachinery';
import type * as core from './core.ts';
import type * as cdi from './generated/cdi.ts';
import type * as kubevirt from './generated/kubevirt.ts';

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
