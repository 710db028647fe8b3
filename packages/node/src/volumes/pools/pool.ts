import { HOSTPATH_PROVISIONERS, LEGACY_POOL, type HostPathProvisioner, type StorageClass } from '@slipway/api';

/** A directory of the node in which volumes are kept, as an administrator declared it. */
export interface DeclaredPool {
  readonly name: string;
  readonly path: string;
}

/** Parameter of a class of `local.slipway.dev` that names its pool. */
const POOL_PARAMETER = 'pool';
/** The same of the hostpath provisioner. */
const STORAGE_POOL_PARAMETER = 'storagePool';

const NAME = /^[A-Za-z0-9][-_.A-Za-z0-9]{0,49}$/;
const PATH = /^(\/[A-Za-z0-9][-_.+A-Za-z0-9]*)+$/;
/** Top-level directories that belong to the system, or that a sandbox has as its own. */
const SYSTEM = new Set('bin boot dev disk etc host lib lib32 lib64 libx32 proc root run sbin sys usr'.split(' '));
/** A pool beside the files of the system, not in their place. */
const TOO_SHORT = new Set(['/home', '/media', '/mnt', '/opt', '/srv', '/tmp', '/var', '/var/lib', '/var/tmp']);

/** The pools that the HostPathProvisioner objects declare; of two with one name the older object's. Pure. */
export function declaredPools(provisioners: readonly HostPathProvisioner[]): readonly DeclaredPool[] {
  const age = ({ metadata }: HostPathProvisioner): string => `${metadata.creationTimestamp} ${metadata.name}`;
  const pools = new Map<string, DeclaredPool>();
  for (const { spec, metadata } of [...provisioners].sort((a, b) => age(a).localeCompare(age(b)))) {
    if (metadata.deletionTimestamp !== undefined) continue;
    const { pathConfig, storagePools = [] } = spec ?? {};
    const legacy = pathConfig?.path ? [{ name: LEGACY_POOL, path: pathConfig.path }] : [];
    for (const { name, path } of [...legacy, ...storagePools]) if (!pools.has(name)) pools.set(name, { name, path });
  }
  return [...pools.values()];
}

/** Why a pool cannot be what it was declared as; undefined when nothing is wrong with the words. Pure. */
export function complaintAboutPool({ name, path }: DeclaredPool): string | undefined {
  if (!NAME.test(name)) return `"${name}" is no name for a pool: use letters, digits, "-", "_" and "."`;
  if (path.length > 255 || !PATH.test(path))
    return `"${path}" is no path for a pool: use an absolute path of letters, digits, "-", "_", "." and "+"`;
  const [, top = ''] = path.split('/');
  if (SYSTEM.has(top) || TOO_SHORT.has(path))
    return `${path} belongs to the system: use a directory of its own, such as /var/hpvolumes`;
  return undefined;
}

/** Name of the pool in which volumes of the class are made; undefined is the node's own directory. Pure. */
export function poolOfClass(storageClass: StorageClass | undefined): string | undefined {
  const { provisioner = '', parameters = {} } = storageClass ?? {};
  if (HOSTPATH_PROVISIONERS.some((name) => name === provisioner)) return parameters[STORAGE_POOL_PARAMETER] || LEGACY_POOL;
  return parameters[POOL_PARAMETER] || undefined;
}
