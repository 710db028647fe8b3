import {
  type CSIStorageCapacity,
  HOSTPATH_PROVISIONERS,
  isLocalProvisioner,
  LEGACY_POOL,
  type Node,
  parsePoolReports,
  STORAGE_POOLS_ANNOTATION,
  SHARED_PROVISIONER,
  type StorageClass,
} from '@slipway/api';
import { formatQuantity, quantityOf } from '@slipway/apimachinery';

const MIB = 1024 * 1024;
export const MANAGED_BY_LABEL = 'csi.storage.k8s.io/managed-by';
export const MANAGER = 'slipway';

const QUOTA_NOTE =
  'none: a disk never grows past the size of its claim, but its snapshots, and the files of a claim that is shared with a guest as a directory, are limited by the file system alone';

/** Name of the pool of a class; empty for the node's own directory. Pure. */
export function poolOfClass({ provisioner, parameters = {} }: StorageClass): string {
  const isHostPath = HOSTPATH_PROVISIONERS.some((name) => name === provisioner);
  return isHostPath ? parameters['storagePool'] || LEGACY_POOL : (parameters['pool'] ?? '');
}

/** How much room each node has for volumes of the class. Pure. */
export function planCapacities(
  storageClass: StorageClass | undefined,
  nodes: readonly Node[],
  namespace: string,
): readonly CSIStorageCapacity[] {
  if (storageClass === undefined || !isLocalProvisioner(storageClass.provisioner)) return [];
  // no agent reports the directory that all nodes reach
  if (storageClass.provisioner === SHARED_PROVISIONER) return [];
  const pool = poolOfClass(storageClass);
  const className = storageClass.metadata.name ?? '';
  return nodes.flatMap(({ metadata }) => {
    const nodeName = metadata.name ?? '';
    const report = parsePoolReports(metadata.annotations?.[STORAGE_POOLS_ANNOTATION]).find(({ name }) => name === pool);
    if (report === undefined) return [];
    const { totalBytes, freeBytes, promisedBytes, usedBytes, volumes, path, problem } = report;
    return [
      {
        apiVersion: 'storage.k8s.io/v1',
        kind: 'CSIStorageCapacity',
        metadata: {
          name: `${className}.${nodeName}`.slice(0, 253),
          namespace,
          labels: { 'csi.storage.k8s.io/drivername': storageClass.provisioner, [MANAGED_BY_LABEL]: MANAGER },
          annotations: {
            'slipway.dev/path': path,
            'slipway.dev/total': bytes(totalBytes),
            'slipway.dev/free': bytes(freeBytes),
            'slipway.dev/promised': bytes(promisedBytes),
            'slipway.dev/used': bytes(usedBytes),
            'slipway.dev/volumes': String(volumes),
            'slipway.dev/quota': QUOTA_NOTE,
            ...(problem !== undefined && { 'slipway.dev/problem': problem }),
          },
        },
        storageClassName: className,
        nodeTopology: { matchLabels: { 'kubernetes.io/hostname': nodeName } },
        capacity: problem === undefined ? bytes(freeBytes) : '0',
        maximumVolumeSize: problem === undefined ? bytes(totalBytes) : '0',
      },
    ];
  });
}

/** Whole mebibytes are read more easily than bytes; canonical, as the API server answers it. */
const bytes = (value: number): string => formatQuantity(quantityOf(Math.floor(value / MIB) * MIB, 'BinarySI'));
