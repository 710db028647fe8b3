import { compareQuantities, forbidden, isObject, tryParseQuantity, type UnstructuredObject } from '@slipway/apimachinery';
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

interface Claim extends UnstructuredObject {
  readonly spec?: {
    readonly storageClassName?: string;
    readonly resources?: { readonly requests?: { readonly storage?: unknown } };
  };
  readonly status?: { readonly phase?: string };
}

/** Claims grow only where their class says that volumes can grow. */
export function claimResizePlugin(source: RbacSource): AdmissionPlugin {
  const canGrow = ({ metadata, spec }: Claim): boolean => {
    const className = metadata.annotations?.[BETA_CLASS] ?? spec?.storageClassName;
    const classes = source.lookupAll('storage.k8s.io', 'storageclasses');
    return classes.find((item) => item.metadata.name === className)?.['allowVolumeExpansion'] === true;
  };
  return {
    name: 'PersistentVolumeClaimResize',
    validate({ operation, group, resource, subresource, object, oldObject, name }) {
      if (operation !== 'UPDATE' || group !== '' || resource !== 'persistentvolumeclaims' || subresource !== '') return;
      const [claim, before] = [object as Claim | undefined, oldObject as Claim | undefined];
      // before it is bound its whole spec is immutable
      if (before?.status?.phase !== 'Bound' || !isLarger(claim, before) || canGrow(before)) return;
      throw forbidden({ group, resource }, name, RESIZE_REFUSAL);
    },
  };
}

function isLarger(claim: Claim | undefined, before: Claim): boolean {
  const [size, old] = [claim, before].map((one) => tryParseQuantity(one?.spec?.resources?.requests?.storage));
  return size !== undefined && old !== undefined && compareQuantities(size, old) > 0;
}

const BETA_CLASS = 'volume.beta.kubernetes.io/storage-class';
const RESIZE_REFUSAL =
  'only dynamically provisioned pvc can be resized and the storageclass that provisions the pvc must support resize';

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
