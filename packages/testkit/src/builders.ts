import type { KubeObject, ObjectMeta, ResourceKind } from '@slipway/apimachinery';
import {
  type Namespace,
  NamespaceKind,
  type Node,
  NodeKind,
  type PersistentVolume,
  type PersistentVolumeClaim,
  PersistentVolumeClaimKind,
  PersistentVolumeKind,
  type Pod,
  PodKind,
  type StorageClass,
  StorageClassKind,
  type VirtualMachine,
  type VirtualMachineInstance,
  VirtualMachineInstanceKind,
  VirtualMachineKind,
} from '@slipway/api';

/** An object for a test together with its kind. */
export interface Built<T extends KubeObject = KubeObject> {
  readonly kind: ResourceKind<T>;
  readonly object: T;
}

type Spec<T> = T extends { spec?: infer S } ? NonNullable<S> : never;
type Status<T> = T extends { status?: infer S } ? NonNullable<S> : never;

interface Parts<T> {
  readonly metadata?: ObjectMeta;
  readonly spec?: Partial<Spec<T>>;
  readonly status?: Partial<Status<T>>;
}

function metadataOf(path: string, namespaced: boolean, metadata: ObjectMeta = {}): ObjectMeta {
  const slash = path.indexOf('/');
  const name = path.slice(slash + 1);
  if (!namespaced) return { name, ...metadata };
  return { name, namespace: slash < 0 ? 'default' : path.slice(0, slash), ...metadata };
}

/** Any object; `path` is `namespace/name` or a name in `default`. */
export function built<T extends KubeObject>(kind: ResourceKind<T>, path: string, rest: object = {}): Built<T> {
  const { metadata, ...fields } = rest as { metadata?: ObjectMeta };
  const apiVersion = kind.group ? `${kind.group}/${kind.version}` : kind.version;
  // builders give the fields that their kind needs
  const object = {
    apiVersion,
    kind: kind.kind,
    metadata: metadataOf(path, kind.namespaced, metadata),
    ...fields,
  } as unknown as T;
  return { kind, object };
}

export function pod(path: string, parts: Parts<Pod> = {}): Built<Pod> {
  const spec = {
    schedulerName: 'default-scheduler',
    containers: [{ name: 'main', image: 'slipway/virt-launcher' }],
    ...parts.spec,
  };
  return built(PodKind, path, { status: { phase: 'Pending' }, ...parts, spec });
}

/** A ready node with 4 CPUs and 8 GiB. */
export function node(name: string, parts: Parts<Node> = {}): Built<Node> {
  const resources = { cpu: '4', memory: '8Gi', pods: '110' };
  return built(NodeKind, name, {
    ...parts,
    metadata: { ...parts.metadata, labels: { 'kubernetes.io/hostname': name, ...parts.metadata?.labels } },
    spec: { ...parts.spec },
    status: { capacity: resources, allocatable: resources, conditions: [{ type: 'Ready', status: 'True' }], ...parts.status },
  });
}

export function namespace(name: string, parts: Parts<Namespace> = {}): Built<Namespace> {
  return built(NamespaceKind, name, { spec: { finalizers: ['kubernetes'] }, status: { phase: 'Active' }, ...parts });
}

export function pvc(path: string, parts: Parts<PersistentVolumeClaim> = {}): Built<PersistentVolumeClaim> {
  return built(PersistentVolumeClaimKind, path, {
    ...parts,
    spec: {
      accessModes: ['ReadWriteOnce'],
      storageClassName: 'local',
      volumeMode: 'Filesystem',
      resources: { requests: { storage: '1Gi' } },
      ...parts.spec,
    },
    status: { phase: 'Pending', ...parts.status },
  });
}

/** A node-local volume on `node1`. */
export function pv(name: string, parts: Parts<PersistentVolume> = {}): Built<PersistentVolume> {
  return built(PersistentVolumeKind, name, {
    ...parts,
    spec: {
      accessModes: ['ReadWriteOnce'],
      capacity: { storage: '1Gi' },
      storageClassName: 'local',
      volumeMode: 'Filesystem',
      persistentVolumeReclaimPolicy: 'Delete',
      local: { path: `/volumes/${name}` },
      nodeAffinity: onNode('node1'),
      ...parts.spec,
    },
    status: { phase: 'Pending', ...parts.status },
  });
}

/** Volume node affinity for one node. */
export const onNode = (name: string) => ({
  required: { nodeSelectorTerms: [{ matchExpressions: [{ key: 'kubernetes.io/hostname', operator: 'In', values: [name] }] }] },
});

export function storageClass(name: string, fields: Partial<StorageClass> = {}): Built<StorageClass> {
  return built(StorageClassKind, name, {
    provisioner: 'local.slipway.dev',
    volumeBindingMode: 'WaitForFirstConsumer',
    allowVolumeExpansion: true,
    reclaimPolicy: 'Delete',
    ...fields,
  });
}

export function vm(path: string, parts: Parts<VirtualMachine> = {}): Built<VirtualMachine> {
  const template = { spec: { domain: { devices: {} } } };
  return built(VirtualMachineKind, path, { ...parts, spec: { runStrategy: 'Always', template, ...parts.spec } });
}

export function vmi(path: string, parts: Parts<VirtualMachineInstance> = {}): Built<VirtualMachineInstance> {
  return built(VirtualMachineInstanceKind, path, { ...parts, spec: { domain: { devices: {} }, ...parts.spec } });
}
