import { ConfigMapKind, type kubevirt, SecretKind, ServiceAccountKind, type VirtualMachineInstance } from '@slipway/api';
import { isNotFound } from '@slipway/apimachinery';
import type { Client } from '@slipway/client';
import {
  cloudInitDisk,
  type ConfigDisk,
  downwardApiDisk,
  type KeyedData,
  keyedDisk,
  seedKeySecretNames,
  seedSecretNames,
  sysprepDisk,
} from '@slipway/virt';
import { VolumeError } from './volume-error.ts';

export interface ConfigDiskDeps {
  readonly client: Client;
  /** A token for a service account, bound to the instance's launcher pod. */
  readonly serviceAccountToken: (namespace: string, name: string, signal: AbortSignal) => Promise<string>;
}

type Builder = (
  vmi: VirtualMachineInstance,
  volume: kubevirt.Volume,
  deps: ConfigDiskDeps,
  signal: AbortSignal,
) => Promise<ConfigDisk>;

/** Collects the files of a volume that is made of configuration; undefined for every other volume. */
export function configDiskBuilder(volume: kubevirt.Volume): Builder | undefined {
  if (volume.cloudInitNoCloud ?? volume.cloudInitConfigDrive) return cloudInit;
  if (volume.downwardAPI) return async (vmi) => downwardApiDisk(vmi, volume);
  if (volume.serviceAccount) return serviceAccount;
  if (volume.configMap ?? volume.secret) return keyed;
  return volume.sysprep ? sysprep : undefined;
}

const cloudInit: Builder = async (vmi, volume, deps, signal) => {
  const namespace = vmi.metadata.namespace ?? '';
  const secrets = new Map<string, KeyedData>();
  for (const name of seedSecretNames(volume)) secrets.set(name, await secretData(deps, namespace, name, signal));
  const publicKeys: string[] = [];
  for (const name of seedKeySecretNames(vmi, volume)) {
    const keys = await secretData(deps, namespace, name, signal);
    publicKeys.push(...Object.values(keys).map((key) => Buffer.from(key).toString('utf8').trim()));
  }
  const disk = cloudInitDisk(vmi, volume, { secrets, publicKeys });
  if (disk === undefined) throw new VolumeError('FailedMount', `Volume ${volume.name} has no cloud-init source`);
  return disk;
};

const keyed: Builder = async (vmi, volume, deps, signal) => {
  const namespace = vmi.metadata.namespace ?? '';
  const { configMap, secret } = volume;
  const data =
    secret?.secretName === undefined
      ? await configMapData(deps, namespace, configMap?.name ?? '', signal, configMap?.optional)
      : await secretData(deps, namespace, secret.secretName, signal, secret.optional);
  return keyedDisk(volume, data);
};

const sysprep: Builder = async (vmi, { sysprep: source }, deps, signal) => {
  const namespace = vmi.metadata.namespace ?? '';
  const secretName = source?.secret?.name;
  const data =
    secretName === undefined
      ? await configMapData(deps, namespace, source?.configMap?.name ?? '', signal)
      : await secretData(deps, namespace, secretName, signal);
  return sysprepDisk(data);
};

const serviceAccount: Builder = async (vmi, volume, deps, signal) => {
  const namespace = vmi.metadata.namespace ?? '';
  const name = volume.serviceAccount?.serviceAccountName ?? '';
  await found(deps.client.get(ServiceAccountKind, { namespace, name }, { signal }), 'ServiceAccount', name);
  const root = await configMapData(deps, namespace, 'kube-root-ca.crt', signal, true);
  const encoder = new TextEncoder();
  const token = encoder.encode(await deps.serviceAccountToken(namespace, name, signal));
  return keyedDisk(volume, { ...root, namespace: encoder.encode(namespace), token });
};

async function secretData(
  { client }: ConfigDiskDeps,
  namespace: string,
  name: string,
  signal: AbortSignal,
  optional = false,
): Promise<KeyedData> {
  const secret = await found(client.get(SecretKind, { namespace, name }, { signal }), 'Secret', name, optional);
  return decode(secret?.data, 'base64');
}

async function configMapData(
  { client }: ConfigDiskDeps,
  namespace: string,
  name: string,
  signal: AbortSignal,
  optional = false,
): Promise<KeyedData> {
  const configMap = await found(client.get(ConfigMapKind, { namespace, name }, { signal }), 'ConfigMap', name, optional);
  return { ...decode(configMap?.data, 'utf8'), ...decode(configMap?.binaryData, 'base64') };
}

const decode = (data: Readonly<Record<string, string>> | undefined, encoding: BufferEncoding): KeyedData =>
  Object.fromEntries(Object.entries(data ?? {}).map(([key, value]) => [key, new Uint8Array(Buffer.from(value, encoding))]));

async function found<T>(reading: Promise<T>, kind: string, name: string, optional = false): Promise<T | undefined> {
  try {
    return await reading;
  } catch (error) {
    if (!isNotFound(error)) throw error;
    if (optional) return undefined;
    throw new VolumeError('FailedMount', `${kind} "${name}" does not exist: create it, and the VM starts by itself`, error);
  }
}
