import type { core, PersistentVolumeClaim, Pod } from '@slipway/api';
import type { ClusterConfig } from '../config.ts';
import type { LauncherProfile } from './profile.ts';

/** Pod parts under construction; the published types allow what the API server defaults. */
export type Container = core.Container;
export type PodVolume = core.Volume;
export type VolumeMount = core.VolumeMount;
export type VolumeDevice = core.VolumeDevice;

/** A network attachment that asks for a device. */
export interface NetworkResource {
  /** Network name of the VMI. */
  readonly network: string;
  /** Resource of the device plugin; empty when the attachment names none. */
  readonly resourceName: string;
}

/** What the renderer needs besides the VMI. */
export interface LauncherContext {
  readonly config: ClusterConfig;
  readonly profile: LauncherProfile;
  /** Claims of the VMI's volumes, by claim name. */
  readonly claims: ReadonlyMap<string, PersistentVolumeClaim>;
  /** Resources of the network attachments of multus networks. */
  readonly networkResources: readonly NetworkResource[];
  /** The guest runs under software emulation on the platform's nodes: no KVM device is asked for. */
  readonly emulation?: boolean;
  /** Claim of persistent TPM and EFI state. */
  readonly stateClaim?: string;
  /** Namespace limits that make a CPU or memory limit compulsory. */
  readonly autoLimits?: { readonly cpu?: boolean; readonly memoryRatio?: number };
}

/** A pod before it has a name and a place in the API. */
export type RenderedPod = Pick<Pod, 'apiVersion' | 'kind' | 'metadata'> & { spec: core.PodSpec };

export const PRIVATE_DIR = '/var/run/kubevirt-private';
export const LAUNCHER_UID = 107;
export const VOLUME_DIR = `${PRIVATE_DIR}/vmi-disks`;
