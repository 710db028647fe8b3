import type { StorageClass, StorageProfile } from '@slipway/api';

type Sets = NonNullable<NonNullable<StorageProfile['status']>['claimPropertySets']>;

const set = (mode: string, volumeMode: 'Block' | 'Filesystem'): Sets[number] => ({ accessModes: [mode], volumeMode });
const RWO_FS: Sets = [set('ReadWriteOnce', 'Filesystem')];
const RWX_FS: Sets = [set('ReadWriteMany', 'Filesystem')];
const BLOCK_FIRST: Sets = [set('ReadWriteMany', 'Block'), set('ReadWriteOnce', 'Block'), set('ReadWriteOnce', 'Filesystem')];
const BOTH_FS: Sets = [set('ReadWriteMany', 'Filesystem'), set('ReadWriteOnce', 'Filesystem')];

interface Capability {
  readonly sets: Sets;
  readonly cloneStrategy?: string;
}

/** What is known of provisioners; the first set is the default. */
const CAPABILITIES: Readonly<Record<string, Capability>> = {
  'local.slipway.dev': { sets: RWO_FS, cloneStrategy: 'csi-clone' },
  'shared.slipway.dev': { sets: RWX_FS },
  'kubevirt.io.hostpath-provisioner': { sets: RWO_FS },
  'kubevirt.io/hostpath-provisioner': { sets: RWO_FS },
  'k8s.io/minikube-hostpath': { sets: RWO_FS },
  'nfs.csi.k8s.io': { sets: RWX_FS },
  'k8s-sigs.io/nfs-subdir-external-provisioner': { sets: RWX_FS },
  'rbd.csi.ceph.com': { sets: BLOCK_FIRST, cloneStrategy: 'csi-clone' },
  'rook-ceph.rbd.csi.ceph.com': { sets: BLOCK_FIRST, cloneStrategy: 'csi-clone' },
  'openshift-storage.rbd.csi.ceph.com': { sets: BLOCK_FIRST, cloneStrategy: 'csi-clone' },
  'cephfs.csi.ceph.com': { sets: BOTH_FS, cloneStrategy: 'csi-clone' },
  'rook-ceph.cephfs.csi.ceph.com': { sets: BOTH_FS, cloneStrategy: 'csi-clone' },
  'openshift-storage.cephfs.csi.ceph.com': { sets: BOTH_FS, cloneStrategy: 'csi-clone' },
};

export interface ProfileVerdict {
  readonly sets: Sets;
  readonly cloneStrategy: string;
  readonly isRecognized: boolean;
}

/** What DataVolumes may expect of a class: its profile's spec wins over what is known of the provisioner. */
export function judgeClass(storageClass: StorageClass, profile: StorageProfile | undefined): ProfileVerdict {
  const capability = CAPABILITIES[storageClass.provisioner];
  const annotated = storageClass.metadata.annotations?.['cdi.kubevirt.io/clone-strategy'];
  return {
    sets: profile?.spec.claimPropertySets ?? capability?.sets ?? [],
    cloneStrategy: profile?.spec.cloneStrategy ?? annotated ?? capability?.cloneStrategy ?? 'copy',
    isRecognized: capability !== undefined,
  };
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
