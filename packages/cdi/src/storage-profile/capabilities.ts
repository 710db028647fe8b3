import type { StorageClass, StorageProfile } from '@slipway/api';

export type PropertySets = NonNullable<NonNullable<StorageProfile['status']>['claimPropertySets']>;
export type CloneStrategy = 'copy' | 'snapshot' | 'csi-clone';

/** What volumes of a provisioner can do. */
export interface Capabilities {
  /** Access and volume mode pairs, best first. */
  readonly sets: PropertySets;
  readonly clone?: CloneStrategy;
  /** What DataImportCrons keep; `pvc` unless said. */
  readonly cronFormat?: 'snapshot';
  /** Smallest claim that the provisioner makes. */
  readonly minimumSize?: string;
  /** Claims of DataImportCrons are ReadWriteOnce whatever the first pair says. */
  readonly cronNeedsReadWriteOnce?: true;
  /** Parameters that a VolumeSnapshotClass for DataImportCrons has to have. */
  readonly cronSnapshotParameters?: Readonly<Record<string, string>>;
}

type Rest = Omit<Capabilities, 'sets'>;
type Parameters = Readonly<Record<string, string>>;
/** `undefined`: the provisioner is known, these parameters are not. */
type Entry = Capabilities | ((parameters: Parameters) => Capabilities | undefined);

const ACCESS: Readonly<Record<string, string>> = { X: 'ReadWriteMany', O: 'ReadWriteOnce', R: 'ReadOnlyMany' };

/** `X/B O/F`: ReadWriteMany on a block volume, then ReadWriteOnce on a file system. */
function can(pairs: string, rest: Rest = {}): Capabilities {
  const sets = pairs.split(' ').map((pair) => {
    const [access = '', volume] = pair.split('/');
    return { accessModes: [ACCESS[access] ?? access], volumeMode: volume === 'B' ? ('Block' as const) : ('Filesystem' as const) };
  });
  return { sets, ...rest };
}

const ONE_FILE = can('O/F');
const SHARED_FILES = can('X/F O/F');
const BLOCK = 'X/B O/B O/F';
const BLOCK_READ = 'X/B O/B O/F R/B R/F';
const FILES_READ = 'X/F O/F R/F';
const cloning = { clone: 'csi-clone' } as const;
const snapshots = { clone: 'snapshot', cronFormat: 'snapshot' } as const;

const byFileSystem =
  (parameter: string, block: Capabilities): Entry =>
  (parameters) =>
    parameters[parameter] === 'nfs' ? can(FILES_READ) : block;

const awsDisk: Entry = ({ type }) => {
  const minimumSize = type === 'io1' || type === 'io2' ? '4Gi' : type === 'gp2' || type === 'gp3' ? '1Gi' : undefined;
  return can(type === 'io2' ? BLOCK : 'O/B', minimumSize === undefined ? {} : { minimumSize });
};

const isPortworxFiles = ({ sharedv4_mount_options: options = '' }: Parameters): boolean =>
  options.includes('vers=3.0') && options.includes('nolock');

const google: Entry = ({ type = '' }) => {
  const isHyperdisk = /^hyperdisk-balanced(-high-availability)?$/.test(type);
  const crons = { cronNeedsReadWriteOnce: true, cronSnapshotParameters: { 'snapshot-type': 'images' } } as const;
  return can(isHyperdisk ? BLOCK : 'O/B O/F', { ...snapshots, ...crons, ...(isHyperdisk && { minimumSize: '4Gi' }) });
};

const ibmFiles: Entry = ({ profile, vmState }) => {
  const minimumSize = profile === 'dp2' ? '10Gi' : profile === 'rfs' ? '1Gi' : undefined;
  return can(vmState === 'true' ? 'O/F' : 'X/F O/F', { ...snapshots, ...(minimumSize && { minimumSize }) });
};

const trident: Entry = ({ backendType = '', selector = '' }) => {
  if (backendType.startsWith('ontap-nas')) return can('X/F O/F', snapshots);
  if (backendType.startsWith('ontap-san')) return can('X/B', snapshots);
  if (backendType === 'google-cloud-netapp-volumes' && selector.includes('performance=flex'))
    return can('X/F O/F', { ...snapshots, minimumSize: '1Gi' });
  return undefined;
};

const infinibox: Entry = ({ storage_protocol: protocol = '' }) => {
  if (['iscsi', 'fc', 'nvme'].includes(protocol)) return can(BLOCK, cloning);
  return ['nfs', 'nfs_treeq'].includes(protocol) ? can('X/F O/F', cloning) : undefined;
};

const longhorn: Entry = (parameters) => {
  if (parameters['migratable'] === 'true') return can('X/B O/B');
  if (parameters['nfsOptions'] !== undefined) return can('X/F O/F');
  return can(parameters['fsType'] === undefined ? 'O/B' : 'O/F');
};

const synology: Entry = ({ protocol = 'iscsi' }) => {
  const rest = { ...cloning, minimumSize: '1Gi' };
  if (protocol === 'iscsi' || protocol === '') return can(BLOCK, rest);
  return ['smb', 'nfs', 'nfs_treeq'].includes(protocol) ? can('X/F O/F', rest) : undefined;
};

/** What is known of provisioners by name; CDI has the same table. */
const KNOWN: Readonly<Record<string, Entry>> = {
  // clones of a claim on the same node share its blocks, so the provisioner is asked for them
  'local.slipway.dev': can('O/F O/B', cloning),
  'shared.slipway.dev': can('X/F X/B O/F O/B', cloning),
  'kubevirt.io.hostpath-provisioner': (parameters) => ('overlayCSI' in parameters ? can('X/F') : ONE_FILE),
  'kubevirt.io/hostpath-provisioner': ONE_FILE,
  'k8s.io/minikube-hostpath': ONE_FILE,
  'nfs.csi.k8s.io': can('X/F'),
  'k8s-sigs.io/nfs-subdir-external-provisioner': can('X/F'),
  'kubernetes.io/rbd': can(BLOCK),
  'rbd.csi.ceph.com': can(BLOCK, cloning),
  'rook-ceph.rbd.csi.ceph.com': can(BLOCK, { ...cloning, cronFormat: 'snapshot' }),
  'openshift-storage.rbd.csi.ceph.com': can(BLOCK, { ...cloning, cronFormat: 'snapshot' }),
  'cephfs.csi.ceph.com': can('X/F O/F', cloning),
  'rook-ceph.cephfs.csi.ceph.com': can('X/F O/F', cloning),
  'openshift-storage.cephfs.csi.ceph.com': can('X/F O/F', cloning),
  'linstor.csi.linbit.com': can(BLOCK_READ),
  'csi-unity.dellemc.com': byFileSystem('protocol', can(BLOCK_READ)),
  'csi-vxflexos.dellemc.com': byFileSystem('csi.storage.k8s.io/fstype', can(BLOCK_READ, cloning)),
  'csi-powermax.dellemc.com': byFileSystem('csi.storage.k8s.io/fstype', can(`${BLOCK} R/B`, cloning)),
  'csi-powerstore.dellemc.com': byFileSystem('csi.storage.k8s.io/fstype', can(`${BLOCK} R/B`, { clone: 'copy' })),
  'csi-isilon.dellemc.com': can(FILES_READ, cloning),
  'csi.huawei.com': byFileSystem('protocol', can(BLOCK_READ)),
  'kubernetes.io/storageos': ONE_FILE,
  storageos: ONE_FILE,
  'directpv-min-io': ONE_FILE,
  'kubernetes.io/aws-ebs': awsDisk,
  'ebs.csi.aws.com': awsDisk,
  'efs.csi.aws.com': SHARED_FILES,
  'kubernetes.io/azure-disk': can('O/B'),
  'disk.csi.azure.com': can('O/B'),
  'kubernetes.io/azure-file': can('X/F'),
  'file.csi.azure.com': can('X/F'),
  'kubernetes.io/gce-pd': can('O/B O/F'),
  'pd.csi.storage.gke.io': google,
  'hspc.csi.hitachi.com': can(BLOCK, { ...cloning, minimumSize: '1Gi' }),
  'csi.hpe.com': can(BLOCK, cloning),
  'block.csi.ibm.com': can(BLOCK, cloning),
  'blockvolume.csi.oraclecloud.com': can(BLOCK, cloning),
  'spectrumscale.csi.ibm.com': can('X/F O/F', cloning),
  'vpc.block.csi.ibm.io': can('O/B O/F', { clone: 'copy' }),
  'vpc.file.csi.ibm.io': ibmFiles,
  'kubernetes.io/portworx-volume': (parameters) => can(isPortworxFiles(parameters) ? 'X/F O/F' : 'X/B X/F O/B O/F'),
  'pxd.portworx.com': (parameters) => {
    if (isPortworxFiles(parameters) || parameters['backend'] === 'pure_fa_file') return can('X/F O/F', cloning);
    return can(parameters['backend'] === 'pure_block' ? BLOCK : 'X/B X/F O/B O/F', cloning);
  },
  'csi.trident.netapp.io': trident,
  'topolvm.cybozu.com': can('O/B O/F', { clone: 'copy' }),
  'topolvm.io': can('O/B O/F', { clone: 'copy' }),
  'cinder.csi.openstack.org': can('O/B O/F'),
  'csi.ovirt.org': can('O/B O/F'),
  'manila.csi.openstack.org': can('X/F'),
  'infinibox-csi-driver': infinibox,
  'csi.vsphere.vmware.com': ({ 'csi.storage.k8s.io/fstype': type = '' }) => can(type.includes('nfs') ? 'X/F O/B O/F' : 'O/B O/F'),
  'kubesan.gitlab.io': can('X/B R/B O/B O/F', cloning),
  'driver.longhorn.io': longhorn,
  'csi.san.synology.com': synology,
};

/** Provisioners of things that are no disks, and of volumes that somebody else makes: they are never incomplete. */
const WITHOUT_TABLE = new Set([
  'kubernetes.io/no-provisioner',
  'openshift-storage.noobaa.io/obc',
  'openshift-storage.ceph.rook.io/bucket',
  'rook-ceph.ceph.rook.io/bucket',
  'stork-snapshot',
]);

/** What is known of a class: its capabilities, that its parameters mean nothing to us, or nothing at all. */
export function capabilitiesOf({
  provisioner,
  parameters = {},
}: StorageClass): Capabilities | 'unrecognized-provisioner' | 'unrecognized-parameters' {
  const entry = Object.hasOwn(KNOWN, provisioner) ? KNOWN[provisioner] : undefined;
  if (entry === undefined) return WITHOUT_TABLE.has(provisioner) ? { sets: [] } : 'unrecognized-provisioner';
  return typeof entry === 'function' ? (entry(parameters) ?? 'unrecognized-parameters') : entry;
}
