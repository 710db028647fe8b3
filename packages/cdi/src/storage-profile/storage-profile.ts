import type { StorageClass, StorageProfile } from '@slipway/api';

type Sets = NonNullable<NonNullable<StorageProfile['status']>['claimPropertySets']>;

const set = (mode: string, volumeMode: 'Block' | 'Filesystem'): Sets[number] => ({ accessModes: [mode], volumeMode });
const RWO_FS: Sets = [set('ReadWriteOnce', 'Filesystem')];
const RWX_FS: Sets = [set('ReadWriteMany', 'Filesystem')];
const BLOCK_FIRST: Sets = [set('ReadWriteMany', 'Block'), set('ReadWriteOnce', 'Block'), set('ReadWriteOnce', 'Filesystem')];
const BOTH_FS: Sets = [set('ReadWriteMany', 'Filesystem'), set('ReadWriteOnce', 'Filesystem')];

/** What is known of provisioners; the first set is the default. */
const CAPABILITIES: Readonly<Record<string, Sets>> = {
  'local.slipway.dev': RWO_FS,
  'shared.slipway.dev': RWX_FS,
  'kubevirt.io.hostpath-provisioner': RWO_FS,
  'kubevirt.io/hostpath-provisioner': RWO_FS,
  'k8s.io/minikube-hostpath': RWO_FS,
  'nfs.csi.k8s.io': RWX_FS,
  'k8s-sigs.io/nfs-subdir-external-provisioner': RWX_FS,
  'rbd.csi.ceph.com': BLOCK_FIRST,
  'rook-ceph.rbd.csi.ceph.com': BLOCK_FIRST,
  'openshift-storage.rbd.csi.ceph.com': BLOCK_FIRST,
  'cephfs.csi.ceph.com': BOTH_FS,
  'rook-ceph.cephfs.csi.ceph.com': BOTH_FS,
  'openshift-storage.cephfs.csi.ceph.com': BOTH_FS,
};

/**
 * Access and volume modes that DataVolumes may ask of a class, best first: what its profile says, or, before there is a
 * profile, what is known of the provisioner.
 */
export function claimPropertySets(storageClass: StorageClass, profile: StorageProfile | undefined): Sets {
  return profile?.spec.claimPropertySets ?? profile?.status?.claimPropertySets ?? CAPABILITIES[storageClass.provisioner] ?? [];
}

const isMarked = (storageClass: StorageClass, annotation: string): boolean =>
  storageClass.metadata.annotations?.[annotation] === 'true';

/** The class for DataVolumes that name none: the default for VMs, else the cluster's. The newest of several wins. */
export function defaultClass(classes: readonly StorageClass[], contentType: string | undefined): StorageClass | undefined {
  const newest = [...classes].sort(
    (a, b) =>
      (b.metadata.creationTimestamp ?? '').localeCompare(a.metadata.creationTimestamp ?? '') ||
      (a.metadata.name ?? '').localeCompare(b.metadata.name ?? ''),
  );
  const forVms =
    contentType === 'archive'
      ? undefined
      : newest.find((item) => isMarked(item, 'storageclass.kubevirt.io/is-default-virt-class'));
  return forVms ?? newest.find((item) => isMarked(item, 'storageclass.kubernetes.io/is-default-class'));
}
