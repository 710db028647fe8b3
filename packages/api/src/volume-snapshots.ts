import type { KubeObject } from '@slipway/apimachinery';

/** Group of the three kinds below. */
export const SNAPSHOT_GROUP = 'snapshot.storage.k8s.io';

interface SnapshotError {
  message?: string;
  time?: string;
}

export interface VolumeSnapshot extends KubeObject {
  spec: {
    source: { persistentVolumeClaimName?: string; volumeSnapshotContentName?: string };
    volumeSnapshotClassName?: string;
  };
  status?: {
    boundVolumeSnapshotContentName?: string;
    creationTime?: string;
    readyToUse?: boolean;
    /** A quantity. */
    restoreSize?: string;
    error?: SnapshotError;
  };
}

export interface VolumeSnapshotContent extends KubeObject {
  spec: {
    driver: string;
    deletionPolicy: string;
    source: { volumeHandle?: string; snapshotHandle?: string };
    sourceVolumeMode?: string;
    volumeSnapshotClassName?: string;
    volumeSnapshotRef: {
      apiVersion?: string;
      kind?: string;
      name?: string;
      namespace?: string;
      uid?: string;
      resourceVersion?: string;
    };
  };
  status?: {
    snapshotHandle?: string;
    /** Nanoseconds since the epoch. */
    creationTime?: number;
    readyToUse?: boolean;
    /** Bytes. */
    restoreSize?: number;
    error?: SnapshotError;
  };
}

export interface VolumeSnapshotClass extends KubeObject {
  driver: string;
  deletionPolicy: string;
  parameters?: Record<string, string>;
}

export const SnapshotFinalizer = {
  /** On a VolumeSnapshot that has its content. */
  bound: 'snapshot.storage.kubernetes.io/volumesnapshot-bound-protection',
  /** On a VolumeSnapshotContent: dropped when the snapshot itself is gone, or kept by policy. */
  content: 'snapshot.storage.kubernetes.io/volumesnapshotcontent-bound-protection',
  /** On a claim while a snapshot of it is made. */
  claim: 'snapshot.storage.kubernetes.io/pvc-as-source-protection',
} as const;

export const DEFAULT_SNAPSHOT_CLASS = 'snapshot.storage.kubernetes.io/is-default-class';

/**
 * How the node-local provisioner names a volume and a snapshot in a VolumeSnapshotContent: the node, and the directory
 * on it.
 */
export const localHandle = (node: string, directory: string): string => `${node}/${directory}`;

/** Node and directory of a handle; undefined when it is none of ours. */
export function parseLocalHandle(handle: string | undefined): { readonly node: string; readonly directory: string } | undefined {
  const match = /^([^/]+)\/([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})$/.exec(handle ?? '');
  return match ? { node: match[1] ?? '', directory: match[2] ?? '' } : undefined;
}
