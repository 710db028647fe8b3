import { createHash } from 'node:crypto';
import type { PersistentVolumeClaim, StorageClass, StorageProfile, VirtualMachineInstance } from '@slipway/api';
import { TerminalError } from '@slipway/apimachinery';

/** The smallest volume for EFI variables and a TPM's state. */
const SIZE = '10Mi';
const SUFFIX_LENGTH = 5;

/** Whether something of the guest's firmware outlives its instances. */
export function keepsState({ spec }: VirtualMachineInstance): boolean {
  const { devices, firmware } = spec.domain;
  const hasTpm = devices.tpm?.persistent === true && devices.tpm.enabled !== false;
  return hasTpm || firmware?.bootloader?.efi?.persistent === true;
}

/** Whether a claim holds the firmware state of this instance's VM, and may be used. */
export const isStateOf = ({ metadata }: PersistentVolumeClaim, vmi: VirtualMachineInstance): boolean =>
  metadata.labels?.[STATE_LABEL] === vmi.metadata.name && metadata.deletionTimestamp === undefined;

const STATE_LABEL = 'persistent-state-for';

/** What decides the storage class of the claim. */
export interface StateStorage {
  /** `vmStateStorageClass` of the configuration. */
  readonly className: string | undefined;
  readonly classes: readonly StorageClass[];
  readonly profiles: readonly StorageProfile[];
}

/**
 * The claim that keeps what a VM's firmware writes: one for each VM, so that the next instance finds it. Pure; throws when
 * the cluster has no storage class for it.
 */
export function stateClaim(vmi: VirtualMachineInstance, storage: StateStorage): PersistentVolumeClaim {
  const { name = '', namespace = '', uid = '', ownerReferences = [] } = vmi.metadata;
  const owner = ownerReferences.find(({ controller }) => controller === true);
  const owners =
    ownerReferences.length > 0
      ? ownerReferences
      : [{ apiVersion: 'kubevirt.io/v1', kind: 'VirtualMachineInstance', name, uid, controller: true, blockOwnerDeletion: true }];
  const digest = createHash('sha256')
    .update(owner?.uid ?? uid)
    .digest('hex');
  const storageClassName = classOf(storage);
  return {
    apiVersion: 'v1',
    kind: 'PersistentVolumeClaim',
    metadata: {
      name: `persistent-state-for-${name}-${digest.slice(0, SUFFIX_LENGTH)}`,
      namespace,
      labels: { [STATE_LABEL]: name, 'cdi.kubevirt.io/applyStorageProfile': 'true' },
      ownerReferences: [...owners],
    },
    spec: {
      accessModes: [isShareable(storageClassName, storage) ? 'ReadWriteMany' : 'ReadWriteOnce'],
      resources: { requests: { storage: SIZE } },
      storageClassName,
      volumeMode: 'Filesystem',
    },
  };
}

function classOf({ className, classes }: StateStorage): string {
  if (className) return className;
  const marked = (annotation: string): string | undefined =>
    classes.find(({ metadata }) => metadata.annotations?.[annotation] === 'true')?.metadata.name;
  const found = marked('storageclass.kubevirt.io/is-default-virt-class') ?? marked('storageclass.kubernetes.io/is-default-class');
  if (found === undefined)
    throw new TerminalError(
      'FailedBackendStorageCreate',
      'No default storage class for persistent EFI variables or TPM state: mark one, or set vmStateStorageClass',
    );
  return found;
}

function isShareable(name: string, { className, profiles }: StateStorage): boolean {
  const sets = profiles.find(({ metadata }) => metadata.name === name)?.status?.claimPropertySets;
  if (sets === undefined) return Boolean(className);
  return sets.some(({ volumeMode, accessModes }) => volumeMode === 'Filesystem' && accessModes.includes('ReadWriteMany'));
}
