import type { Condition, KubeObject } from '@slipway/apimachinery';
import type { PersistentVolumeClaim } from './core.ts';

/** Declares directories of the nodes in which volumes are kept. */
export interface HostPathProvisioner extends KubeObject {
  spec?: {
    imagePullPolicy?: string;
    /** The form before there were pools; excludes them. */
    pathConfig?: { path?: string; useNamingPrefix?: boolean };
    storagePools?: StoragePool[];
    /** On which nodes the pools are. */
    workload?: { nodeSelector?: Record<string, string>; affinity?: object; tolerations?: object[] };
    featureGates?: string[];
  };
  status?: {
    conditions?: Condition[];
    operatorVersion?: string;
    targetVersion?: string;
    observedVersion?: string;
    storagePoolStatuses?: StoragePoolStatus[];
  };
}

export interface StoragePool {
  name: string;
  path: string;
  /** Of claims that would hold the pool, where the nodes have no directory for it. */
  pvcTemplate?: PersistentVolumeClaim['spec'];
  snapshotProvider?: string;
  overlayClassName?: string;
}

export interface StoragePoolStatus {
  name: string;
  phase: 'Preparing' | 'Mounting' | 'Ready';
  desiredReady?: number;
  currentReady?: number;
}
