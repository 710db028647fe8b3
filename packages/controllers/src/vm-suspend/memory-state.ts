import {
  type kubevirt,
  MEMORY_STATE,
  MEMORY_STATE_CLAIM,
  type PersistentVolumeClaim,
  SUSPEND,
  type VirtualMachine,
  VirtualMachineKind,
  type VirtualMachineInstance,
} from '@slipway/api';
import { cloneJson, controllerOf, isObject, ownerReference } from '@slipway/apimachinery';
import type { Lister } from '@slipway/runtime';
import { guestMemoryBytes } from '@slipway/virt';

/** What a claim says of the guest whose memory it holds: everything that makes the same guest again. */
export interface MemoryState {
  /** Instance that was suspended. */
  readonly vmiUid: string;
  /** Name of the record of the VM at its start. */
  readonly revisionName?: string;
  readonly labels?: Readonly<Record<string, string>>;
  readonly annotations?: Readonly<Record<string, string>>;
  readonly spec: kubevirt.VirtualMachineInstanceSpec;
}

/** What the author of a VM wants of its memory. */
export type SuspendWish = 'suspend' | 'discard' | undefined;

export function suspendWish({ metadata }: Pick<VirtualMachine, 'metadata'>): SuspendWish {
  const value = metadata.annotations?.[SUSPEND];
  if (value === 'true') return 'suspend';
  return value === 'discard' ? 'discard' : undefined;
}

/** Name of the claim for the memory of a VM. */
export const memoryClaimName = (vmName: string): string => `${vmName}-memory-state`;

/** The claim with the memory of this very VM. */
export function memoryClaim(vm: VirtualMachine, claims: Lister<PersistentVolumeClaim>): PersistentVolumeClaim | undefined {
  const { namespace = '', uid } = vm.metadata;
  return claims
    .ownedBy(uid ?? '')
    .find(
      ({ metadata }) =>
        metadata.namespace === namespace && metadata.deletionTimestamp === undefined && memoryStateOf({ metadata }) !== undefined,
    );
}

/** Undefined when the claim holds no memory. */
export function memoryStateOf({ metadata }: Pick<PersistentVolumeClaim, 'metadata'>): MemoryState | undefined {
  const text = metadata.annotations?.[MEMORY_STATE];
  if (text === undefined) return undefined;
  try {
    const value: unknown = JSON.parse(text);
    // whoever may write claims may make the VM start like this, and fails admission like everybody else
    return isObject(value) && isObject(value['spec']) ? (value as unknown as MemoryState) : undefined;
  } catch {
    return undefined;
  }
}

const DEVICE_BYTES = 128 * 1024 ** 2;
const MIB = 1024 ** 2;

/** An empty claim that the guest's memory fits into. Pure. */
export function renderMemoryClaim(
  vm: VirtualMachine,
  vmi: VirtualMachineInstance,
  storageClassName: string | undefined,
): PersistentVolumeClaim {
  const sizeMib = Math.ceil((guestMemoryBytes(vmi.spec.domain) * 1.05 + DEVICE_BYTES) / MIB);
  const nodeName = vmi.status?.nodeName;
  return {
    apiVersion: 'v1',
    kind: 'PersistentVolumeClaim',
    metadata: {
      name: memoryClaimName(vm.metadata.name ?? ''),
      namespace: vm.metadata.namespace ?? '',
      annotations: {
        [MEMORY_STATE]: JSON.stringify(stateOf(vmi)),
        ...(nodeName !== undefined && { 'volume.kubernetes.io/selected-node': nodeName }),
      },
      ownerReferences: [ownerReference(vm, VirtualMachineKind)],
    },
    spec: {
      accessModes: ['ReadWriteOnce'],
      resources: { requests: { storage: `${sizeMib}Mi` } },
      ...(storageClassName !== undefined && { storageClassName }),
    },
  };
}

function stateOf({ metadata, spec, status }: VirtualMachineInstance): MemoryState {
  const revisionName = status?.virtualMachineRevisionName;
  const { [MEMORY_STATE_CLAIM]: _, ...annotations } = metadata.annotations ?? {};
  const isPaused = status?.conditions?.some(({ type, status: is }) => type === 'Paused' && is === 'True') ?? false;
  const { startStrategy: __, ...rest } = spec;
  return {
    vmiUid: metadata.uid ?? '',
    ...(revisionName !== undefined && { revisionName }),
    ...(metadata.labels && { labels: metadata.labels }),
    annotations,
    spec: { ...rest, ...(isPaused && { startStrategy: 'Paused' }) },
  };
}

/**
 * The instance that goes on where a suspended one stopped: with the devices that one had, whatever its VM says by now.
 * Undefined when there is no memory to go on with. Pure.
 */
export function resumedInstance(
  vm: VirtualMachine,
  claim: PersistentVolumeClaim | undefined,
  hasRevision: (name: string) => boolean,
): VirtualMachineInstance | undefined {
  const state = claim && memoryStateOf(claim);
  if (claim === undefined || state === undefined || suspendWish(vm) === 'discard') return undefined;
  const { revisionName } = state;
  const { name = '', namespace = '' } = vm.metadata;
  return {
    apiVersion: 'kubevirt.io/v1',
    kind: 'VirtualMachineInstance',
    metadata: {
      name,
      namespace,
      ...(state.labels && { labels: { ...state.labels } }),
      annotations: { ...state.annotations, [MEMORY_STATE_CLAIM]: claim.metadata.name ?? '' },
    },
    spec: cloneJson(state.spec),
    // the record of its start still tells in what the VM has changed since
    ...(revisionName !== undefined && hasRevision(revisionName) && { status: { virtualMachineRevisionName: revisionName } }),
  };
}

/** Whether the VM is the controlling owner of nobody's claim but its own. */
export const isForeign = (claim: PersistentVolumeClaim, vm: VirtualMachine): boolean =>
  memoryStateOf(claim) === undefined ||
  !(claim.metadata.ownerReferences ?? []).some(({ uid }) => uid === vm.metadata.uid) ||
  controllerOf(claim) !== undefined;
