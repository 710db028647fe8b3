import type { kubevirt } from '@slipway/api';
import type { ClusterConfig } from '../config.ts';
import { type Cause, invalid, notFound, required, when } from './causes.ts';

type Spec = kubevirt.VirtualMachineInstanceSpec;

const ARRAY_LIMIT = 256;
const MAX_SEED = 2048;
const SOURCES = [
  'hostDisk',
  'persistentVolumeClaim',
  'cloudInitNoCloud',
  'cloudInitConfigDrive',
  'sysprep',
  'containerDisk',
  'ephemeral',
  'emptyDisk',
  'dataVolume',
  'configMap',
  'secret',
  'downwardAPI',
  'serviceAccount',
  'downwardMetrics',
  'memoryDump',
  'containerPath',
] as const; // prettier-ignore

type Seed = kubevirt.CloudInitNoCloudSource & kubevirt.CloudInitConfigDriveSource;

const isBase64 = (text: string): boolean => /^[A-Za-z0-9+/]*={0,2}$/.test(text) && text.length % 4 === 0;
const sizeOf = (inline: string | undefined, base64: string | undefined): number =>
  base64 ? Buffer.from(base64, 'base64').length : new TextEncoder().encode(inline ?? '').length;

function checkSeed(field: string, kind: string, seed: Seed): readonly Cause[] {
  const user = [seed.secretRef?.name, seed.userDataBase64, seed.userData].filter(
    (source) => source !== undefined && source !== '',
  );
  const network = [seed.networkDataSecretRef?.name, seed.networkDataBase64, seed.networkData].filter(
    (source) => source !== undefined && source !== '',
  );
  const causes: Cause[] = [];
  const base64 = (name: 'userDataBase64' | 'networkDataBase64') => {
    const text = seed[name];
    // KubeVirt-compat: the path is repeated inside the message.
    if (text && !isBase64(text))
      causes.push(invalid(`${field}.${name}`, `${field}.${name}.${kind}.${name} is not a valid base64 value.`));
  };
  if (user.length > 1) causes.push(invalid(field, `${field} must have only one userdatasource set.`));
  if (network.length > 1) causes.push(invalid(field, `${field} must have only one networkdata source set.`));
  if (user.length === 0 && network.length === 0)
    causes.push(invalid(field, `${field} must have at least one userdatasource or one networkdatasource set.`));
  base64('userDataBase64');
  base64('networkDataBase64');
  if (sizeOf(seed.userData, seed.userDataBase64) > MAX_SEED)
    causes.push(
      invalid(field, `${field} userdata exceeds ${MAX_SEED} byte limit. Should use UserDataSecretRef for larger data.`),
    );
  if (sizeOf(seed.networkData, seed.networkDataBase64) > MAX_SEED)
    causes.push(
      invalid(field, `${field} networkdata exceeds ${MAX_SEED} byte limit. Should use NetworkDataSecretRef for larger data.`),
    );
  return causes;
}

/** Absolute, and free of `..`, `.` and doubled separators. */
const isCleanPath = (path: string): boolean =>
  path.startsWith('/') &&
  !path
    .slice(1)
    .split('/')
    .some((part) => part === '..' || part === '.' || part === '');

function checkContainerDisk(field: string, { path }: kubevirt.ContainerDiskSource): readonly Cause[] {
  if (path === undefined || path === '') return [];
  if (path === '/') return [invalid(field, `${field} must not point to root`)];
  return when(!isCleanPath(path), () =>
    invalid(field, `${field} must be an absolute path to a file without relative components`),
  );
}

function checkHostDisk(field: string, hostDisk: kubevirt.HostDisk, config: ClusterConfig): readonly Cause[] {
  if (!config.hasGate('HostDisk')) return [invalid(field, 'HostDisk feature gate is not enabled')];
  const { path, type, capacity } = hostDisk;
  const hostField = `${field}.hostDisk`;
  if (!path) return [notFound(`${hostField}.path`, `${hostField}.path is required for hostDisk volume`)];
  return [
    ...when(!isCleanPath(path), () =>
      invalid(`${hostField}.path`, `${hostField}.path must be an absolute path to a file without relative components`),
    ),
    ...when(type !== 'Disk' && type !== 'DiskOrCreate', () =>
      invalid(`${hostField}.type`, `${hostField}.type has invalid value '${type}', allowed are 'Disk' or 'DiskOrCreate'`),
    ),
    ...when(type === 'Disk' && capacity !== undefined, () =>
      invalid(
        `${hostField}.capacity`,
        `${hostField}.capacity is allowed to pass only with ${hostField}.type equal to 'DiskOrCreate'`,
      ),
    ),
  ];
}

function checkNames(field: string, volume: kubevirt.Volume): readonly Cause[] {
  const missing = (at: string) => invalid(at, `${at} is a required field`);
  return [
    ...when(volume.dataVolume && volume.dataVolume.name === '', () => required(`${field}.name`, "DataVolume 'name' must be set")),
    ...when(volume.configMap && !volume.configMap.name, () => missing(`${field}.configMap.name`)),
    ...when(volume.secret && !volume.secret.secretName, () => missing(`${field}.secret.secretName`)),
    ...when(volume.serviceAccount && !volume.serviceAccount.serviceAccountName, () =>
      missing(`${field}.serviceAccount.serviceAccountName`),
    ),
  ];
}

function checkVolume(path: string, index: number, spec: Spec, config: ClusterConfig): readonly Cause[] {
  const volumes = spec.volumes ?? [];
  const volume = volumes[index];
  if (!volume) return [];
  const field = `${path}.volumes[${index}]`;
  const first = volumes.findIndex(({ name }) => name === volume.name);
  const count = SOURCES.filter((source) => volume[source] !== undefined).length;
  const seed = (kind: 'cloudInitNoCloud' | 'cloudInitConfigDrive') =>
    volume[kind] ? checkSeed(`${field}.${kind}`, kind, volume[kind]) : [];
  return [
    ...when(first !== index, () =>
      invalid(`${field}.name`, `${field} and ${path}.volumes[${first}] must not have the same Name.`),
    ),
    ...when(count !== 1, () => invalid(field, `${field} must have exactly one source type set`)),
    ...when(volume.downwardMetrics && !config.hasGate('DownwardMetrics'), () =>
      invalid(field, 'downwardMetrics disks are not allowed: DownwardMetrics feature gate is not enabled.'),
    ),
    ...seed('cloudInitNoCloud'),
    ...seed('cloudInitConfigDrive'),
    ...(volume.hostDisk ? checkHostDisk(field, volume.hostDisk, config) : []),
    ...(volume.containerDisk ? checkContainerDisk(`${field}.containerDisk`, volume.containerDisk) : []),
    ...checkNames(field, volume),
  ];
}

function checkReferenced(path: string, spec: Spec): readonly Cause[] {
  const { disks = [], filesystems = [] } = spec.domain.devices;
  const used = new Set([...disks, ...filesystems].map(({ name }) => name));
  return (spec.volumes ?? []).flatMap((volume, index) => {
    const field = `${path}.domain.volumes[${index}].name`;
    const free = volume.memoryDump ?? volume.containerPath;
    return when(!used.has(volume.name) && !free, () => invalid(field, `${field} '${volume.name}' not found.`));
  });
}

function checkSingles(path: string, spec: Spec): readonly Cause[] {
  const field = `${path}.volumes`;
  const count = (source: 'serviceAccount' | 'downwardMetrics' | 'memoryDump') =>
    (spec.volumes ?? []).filter((volume) => volume[source] !== undefined).length;
  const fromVolume = (spec.volumes ?? []).find((volume) => volume.serviceAccount)?.serviceAccount?.serviceAccountName;
  return [
    ...when(count('serviceAccount') > 1, () => invalid(field, `${field} must have max one serviceAccount volume set`)),
    ...when(count('downwardMetrics') > 1, () => invalid(field, `${field} must have max one downwardMetric volume set`)),
    ...when(count('memoryDump') > 1, () => invalid(field, `${field} must have max one memory dump volume set`)),
    ...when(Boolean(spec.serviceAccountName) && fromVolume !== undefined && fromVolume !== spec.serviceAccountName, () =>
      invalid(`${path}.serviceAccountName`, 'serviceAccountName must equal the service account of the serviceAccount volume'),
    ),
  ];
}

/** All volumes. `checkUnused`: a stored instance has a disk for each volume, a template need not. */
export function checkVolumes(path: string, spec: Spec, config: ClusterConfig, checkUnused: boolean): readonly Cause[] {
  const volumes = spec.volumes ?? [];
  const field = `${path}.volumes`;
  // Each volume of an instance has a disk, so the disks have been refused already.
  if ((spec.domain.devices.disks ?? []).length > ARRAY_LIMIT) return [];
  if (volumes.length > ARRAY_LIMIT) return [invalid(field, `${field} list exceeds the ${ARRAY_LIMIT} element limit in length`)];
  return [
    ...(checkUnused ? checkReferenced(path, spec) : []),
    ...checkSingles(path, spec),
    ...volumes.flatMap((_, index) => checkVolume(path, index, spec, config)),
  ];
}
