import type { kubevirt } from '@slipway/api';
import type { ClusterConfig } from '../config.ts';
import { type Cause, duplicate, invalid, required, when } from './causes.ts';

type Spec = kubevirt.VirtualMachineInstanceSpec;

/** Directories of the launcher pod that hold the platform's own files. */
const RESERVED_DIRECTORIES = ['/dev', '/proc', '/sys', '/run', '/var/run', '/etc', '/usr', '/tmp', '/init'];

const isBelow = (path: string, directory: string): boolean => path === directory || path.startsWith(`${directory}/`);

function checkContainerPath(path: string, spec: Spec, config: ClusterConfig): readonly Cause[] {
  const shared = new Set((spec.domain.devices.filesystems ?? []).map(({ name }) => name));
  return (spec.volumes ?? []).flatMap(({ name, containerPath }, index) => {
    if (!containerPath) return [];
    const field = `${path}.volumes[${index}].containerPath`;
    if (!config.hasGate('ContainerPathVolumes')) return [invalid(field, 'ContainerPathVolumes feature gate is not enabled')];
    const target = containerPath.path;
    const isClean = target.startsWith('/') && !target.split('/').some((part) => part === '..');
    return [
      ...when(!isClean, () => invalid(`${field}.path`, `${field}.path must be an absolute path without ".."`)),
      ...when(isClean && RESERVED_DIRECTORIES.some((directory) => isBelow(target, directory)), () =>
        invalid(`${field}.path`, `${field}.path must not be below ${RESERVED_DIRECTORIES.join(', ')}`),
      ),
      ...when(containerPath.readOnly === false, () => invalid(`${field}.readOnly`, `${field}.readOnly must be true`)),
      ...when(!shared.has(name), () =>
        invalid(field, `${field} needs a filesystem named ${name} in ${path}.domain.devices.filesystems`),
      ),
    ];
  });
}

function checkSharedStorage(path: string, spec: Spec, config: ClusterConfig): readonly Cause[] {
  if (config.hasGate('EnableVirtioFsStorageVolumes')) return [];
  const volumes = new Map((spec.volumes ?? []).map((volume) => [volume.name, volume]));
  return (spec.domain.devices.filesystems ?? []).flatMap(({ name }) => {
    const volume = volumes.get(name);
    return when((volume?.persistentVolumeClaim ?? volume?.dataVolume) !== undefined, () =>
      invalid(
        `${path}.domain.devices.filesystems`,
        `EnableVirtioFsStorageVolumes feature gate is not enabled, filesystem ${name} may not share a storage volume`,
      ),
    );
  });
}

/** Volumes that are plugged in for a job and never present at creation. */
export function checkUtilityVolumes(path: string, spec: Spec, isNew: boolean): readonly Cause[] {
  const list = spec.utilityVolumes ?? [];
  const field = `${path}.utilityVolumes`;
  if (list.length === 0) return [];
  if (isNew) return [invalid(field, 'utility volumes cannot be set when an instance is created')];
  const others = new Set((spec.volumes ?? []).map(({ name }) => name));
  return list.flatMap(({ name, claimName }, index) => [
    ...when(others.has(name) || list.findIndex((other) => other.name === name) !== index, () =>
      duplicate(`${field}[${index}].name`, `volume name ${name} is used more than once`),
    ),
    ...when(!claimName, () => required(`${field}[${index}].claimName`, `${field}[${index}].claimName must be set`)),
  ]);
}

/** Volumes with rules of their own. */
export function checkSpecialVolumes(path: string, spec: Spec, config: ClusterConfig): readonly Cause[] {
  return [...checkContainerPath(path, spec, config), ...checkSharedStorage(path, spec, config)];
}
