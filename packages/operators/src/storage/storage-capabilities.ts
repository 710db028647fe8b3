import type { StorageClass, StorageProfile } from '@slipway/api';

type Status = NonNullable<StorageProfile['status']>;
type PropertySets = NonNullable<Status['claimPropertySets']>;

interface Capabilities {
  readonly sets: PropertySets;
  readonly cloneStrategy?: string;
}

/** What provisioners can do, best first. */
const KNOWN: Readonly<Record<string, Capabilities>> = {
  // clones of a claim on the same node share its blocks, so the provisioner is asked for them
  'local.slipway.dev': { sets: [{ accessModes: ['ReadWriteOnce'], volumeMode: 'Filesystem' }], cloneStrategy: 'csi-clone' },
};

/** Provisioners of things that are no disks: they are never incomplete. */
const WITHOUT_CLAIMS = new Set(['kubernetes.io/no-provisioner', 'openshift-storage.noobaa.io/obc']);

/** Status of a class's profile: what the administrator wrote wins over what is known of the provisioner. */
export function profileStatus(
  storageClass: StorageClass,
  profile: StorageProfile | undefined,
): Omit<Status, 'conditions'> & { isRecognized: boolean } {
  const known = KNOWN[storageClass.provisioner];
  const { claimPropertySets: sets = known?.sets, dataImportCronSourceFormat = 'pvc', cloneStrategy } = profile?.spec ?? {};
  return {
    isRecognized: known !== undefined || WITHOUT_CLAIMS.has(storageClass.provisioner),
    storageClass: storageClass.metadata.name ?? '',
    provisioner: storageClass.provisioner,
    ...(sets && { claimPropertySets: sets }),
    cloneStrategy: cloneStrategy ?? advisedCloneStrategy(storageClass),
    dataImportCronSourceFormat,
  };
}

function advisedCloneStrategy({ metadata, provisioner }: StorageClass): string {
  return metadata.annotations?.['cdi.kubevirt.io/clone-strategy'] ?? KNOWN[provisioner]?.cloneStrategy ?? 'copy';
}
