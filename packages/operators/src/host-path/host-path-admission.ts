import type { HostPathProvisioner, StoragePool } from '@slipway/api';
import { StatusError, type UnstructuredObject } from '@slipway/apimachinery';
import type { AdmissionHandler } from '@slipway/runtime';

const WEBHOOK = 'validate-hostpath-provisioner.kubevirt.io';
const MAX_NAME = 50;
const MAX_PATH = 255;

/** Refuses HostPathProvisioners that do not say clearly which directories they mean, and tells of what has no effect. */
export const hostPathAdmission: AdmissionHandler = {
  name: WEBHOOK,
  rules: [{ group: 'hostpathprovisioner.kubevirt.io', resources: ['hostpathprovisioners'], operations: ['CREATE', 'UPDATE'] }],
  async validate({ object }) {
    if (object === undefined || object.metadata.deletionTimestamp !== undefined) return [];
    const provisioner = asProvisioner(object);
    const complaint = complaintAbout(provisioner);
    if (complaint !== undefined)
      throw new StatusError({ code: 403, message: `admission webhook "${WEBHOOK}" denied the request: ${complaint}` });
    return warningsAbout(provisioner);
  },
};

const asProvisioner = (object: UnstructuredObject): HostPathProvisioner => object as unknown as HostPathProvisioner; // the rule names no other kind

/** Why the object cannot be taken. Pure. */
export function complaintAbout({ spec }: HostPathProvisioner): string | undefined {
  const { pathConfig, storagePools = [] } = spec ?? {};
  if (pathConfig !== undefined && storagePools.length > 0) return 'pathConfig and storage pools cannot be both set';
  if (pathConfig === undefined && storagePools.length === 0) return 'either pathConfig or storage pools must be set';
  if (pathConfig !== undefined)
    return pathConfig.path ? tooLong('pathconfig path', pathConfig.path, MAX_PATH) : 'pathconfig path must be set';
  return storagePools.map((_, index) => complaintAboutPool(storagePools, index)).find((complaint) => complaint !== undefined);
}

function complaintAboutPool(pools: readonly StoragePool[], index: number): string | undefined {
  const { name = '', path = '' } = pools[index] ?? {};
  if (name.trim() === '') return `spec.storagePools[${index}].name cannot be blank`;
  if (path.trim() === '') return `spec.storagePools[${index}].path cannot be blank`;
  const earlier = pools.slice(0, index);
  if (earlier.some((pool) => pool.name === name))
    return `spec.storagePools[${index}].name is the same as another, cannot have duplicate names`;
  if (earlier.some((pool) => pool.path === path))
    return `spec.storagePools[${index}].path is the same as another, cannot have duplicate paths`;
  return (
    tooLong(`spec.storagePools[${index}].name`, name, MAX_NAME) ?? tooLong(`spec.storagePools[${index}].path`, path, MAX_PATH)
  );
}

const tooLong = (what: string, text: string, max: number): string | undefined =>
  text.length > max ? `${what} cannot have more than ${max} characters` : undefined;

/** What is taken and has no effect here. Pure. */
export function warningsAbout({ spec }: HostPathProvisioner): readonly string[] {
  const { storagePools = [], workload, pathConfig } = spec ?? {};
  return [
    ...storagePools.flatMap(({ name, path, pvcTemplate, overlayClassName }) => [
      ...(pvcTemplate === undefined
        ? []
        : [`pool ${name}: pvcTemplate has no effect: mount the file system at ${path} on each node instead`]),
      ...(overlayClassName ? [`pool ${name}: overlayClassName has no effect: the pools are ReadWriteOnce`] : []),
    ]),
    ...(workload?.affinity ? ['spec.workload.affinity has no effect: choose the nodes by spec.workload.nodeSelector'] : []),
    ...(pathConfig?.useNamingPrefix
      ? ['spec.pathConfig.useNamingPrefix has no effect: directories have the uid of the claim']
      : []),
  ];
}
