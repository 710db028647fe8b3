import { isObject } from '@slipway/apimachinery';
import type { RbacSource } from '../authz/rbac.ts';
import type { AdmissionPlugin } from './admission-chain.ts';

const DEFAULT_CLASS = ['storageclass.kubernetes.io/is-default-class', 'storageclass.beta.kubernetes.io/is-default-class'];

/** Claims that name no class get the default one; the newest wins when there are several. */
export function defaultStorageClassPlugin(source: RbacSource): AdmissionPlugin {
  return {
    name: 'DefaultStorageClass',
    mutate(claim, { operation, group, resource, subresource }) {
      if (operation !== 'CREATE' || group !== '' || resource !== 'persistentvolumeclaims' || subresource !== '') return;
      const spec = isObject(claim['spec']) ? claim['spec'] : undefined;
      if (spec === undefined || spec['storageClassName'] !== undefined) return;
      if (claim.metadata.annotations?.['volume.beta.kubernetes.io/storage-class'] !== undefined) return;
      const [newest] = source
        .lookupAll('storage.k8s.io', 'storageclasses')
        .filter(({ metadata }) => DEFAULT_CLASS.some((annotation) => metadata.annotations?.[annotation] === 'true'))
        .sort(
          (a, b) =>
            (b.metadata.creationTimestamp ?? '').localeCompare(a.metadata.creationTimestamp ?? '') ||
            (a.metadata.name ?? '').localeCompare(b.metadata.name ?? ''),
        );
      if (newest !== undefined) spec['storageClassName'] = newest.metadata.name;
    },
  };
}

const PROTECTION: Readonly<Record<string, string>> = {
  persistentvolumeclaims: 'kubernetes.io/pvc-protection',
  persistentvolumes: 'kubernetes.io/pv-protection',
};

/** Claims and volumes in use are not deleted under their users. */
export function storageProtectionPlugin(): AdmissionPlugin {
  return {
    name: 'StorageObjectInUseProtection',
    mutate(object, { operation, group, resource, subresource }) {
      const finalizer = PROTECTION[resource];
      if (operation !== 'CREATE' || group !== '' || subresource !== '' || finalizer === undefined) return;
      const finalizers = object.metadata.finalizers ?? [];
      if (!finalizers.includes(finalizer)) object.metadata.finalizers = [...finalizers, finalizer];
    },
  };
}

const NOT_READY = 'node.kubernetes.io/not-ready';

/** New nodes take no pods before their agent reports that they are ready. */
export function nodeTaintPlugin(): AdmissionPlugin {
  return {
    name: 'TaintNodesByCondition',
    mutate(node, { operation, group, resource, subresource }) {
      if (operation !== 'CREATE' || group !== '' || resource !== 'nodes' || subresource !== '') return;
      const spec = isObject(node['spec']) ? node['spec'] : {};
      const taints = Array.isArray(spec['taints']) ? (spec['taints'] as { key?: string; effect?: string }[]) : []; // validated later
      if (taints.some(({ key, effect }) => key === NOT_READY && effect === 'NoSchedule')) return;
      node['spec'] = { ...spec, taints: [...taints, { key: NOT_READY, effect: 'NoSchedule' }] };
    },
  };
}
