import { chown, writeFile } from 'node:fs/promises';
import { join, parse } from 'node:path';
import { type ConfigMap, ConfigMapKind, type core, type Pod, type Secret, SecretKind } from '@slipway/api';
import { isNotFound } from '@slipway/apimachinery';
import type { Client } from '@slipway/client';
import { makeDirectory } from './volume-files.ts';
import { VolumeError } from './volume-error.ts';

/** Variables that a pod may set for a data mover: CDI's contract and nothing that steers the runtime. */
const ALLOWED_VARIABLE =
  /^(IMPORTER_[A-Z0-9_]+|PREALLOCATION|INSECURE_TLS|OWNER_UID|FILESYSTEM_OVERHEAD|GOOGLE_APPLICATION_CREDENTIALS)$/;
/** Keys of Secrets and ConfigMaps; checked because they become file names. */
const KEY = /^[A-Za-z0-9._-]{1,253}$/;

export interface MoverInput {
  readonly client: Client;
  /** Directory of root in which mounted files are put. */
  readonly directory: string;
  readonly uid: number;
}

/** Environment of the data mover: literal values, values from Secrets, and mount points replaced by host directories. */
export async function moverEnvironment(pod: Pod, input: MoverInput, signal: AbortSignal): Promise<Record<string, string>> {
  const container = pod.spec?.containers[0];
  const mounts = await mountFiles(pod, input, signal);
  const env: Record<string, string> = {};
  for (const variable of container?.env ?? []) {
    if (!ALLOWED_VARIABLE.test(variable.name)) continue;
    const value = variable.value ?? (await fromSecret(variable, pod, input, signal));
    if (value !== undefined) env[variable.name] = onHost(value, mounts);
  }
  return env;
}

/** A mount point, or a file right below one, where it is on the host; every other value as it is. */
function onHost(value: string, mounts: ReadonlyMap<string, string>): string {
  const { dir, base } = parse(value);
  const parent = mounts.get(dir);
  return mounts.get(value) ?? (parent !== undefined && isFileName(base) ? join(parent, base) : value);
}

async function fromSecret(
  variable: core.EnvVar,
  pod: Pod,
  { client }: MoverInput,
  signal: AbortSignal,
): Promise<string | undefined> {
  const reference = variable.valueFrom?.secretKeyRef;
  if (reference?.name === undefined) return undefined;
  const secret = await readObject(client.get(SecretKind, keyIn(pod, reference.name), { signal }), 'Secret', reference.name);
  const value = secret.data?.[reference.key];
  if (value === undefined && reference.optional === true) return undefined;
  if (value === undefined)
    throw new VolumeError('CreateContainerConfigError', `Secret "${reference.name}" has no key "${reference.key}"`);
  return Buffer.from(value, 'base64').toString('utf8');
}

/** Writes Secret and ConfigMap volumes to disk; returns mount path → host directory. */
async function mountFiles(pod: Pod, input: MoverInput, signal: AbortSignal): Promise<ReadonlyMap<string, string>> {
  const directories = new Map<string, string>();
  for (const [index, mount] of (pod.spec?.containers[0]?.volumeMounts ?? []).entries()) {
    const volume = pod.spec?.volumes?.find(({ name }) => name === mount.name);
    const files = volume && (await filesOf(volume, pod, input, signal));
    if (files === undefined) continue;
    const directory = join(input.directory, `mount-${index}`);
    await makeDirectory(directory, 0o710);
    await chown(directory, 0, input.uid);
    for (const [key, data] of files) await writeFile(join(directory, key), data, { mode: 0o440 });
    for (const [key] of files) await chown(join(directory, key), 0, input.uid);
    // read by the mover's user, listed by it too
    await makeDirectory(directory, 0o750);
    directories.set(mount.mountPath, directory);
  }
  return directories;
}

async function filesOf(
  volume: core.Volume,
  pod: Pod,
  { client }: MoverInput,
  signal: AbortSignal,
): Promise<readonly (readonly [string, Buffer])[] | undefined> {
  const { secret, configMap } = volume;
  if (secret?.secretName !== undefined) {
    const found: Secret = await readObject(
      client.get(SecretKind, keyIn(pod, secret.secretName), { signal }),
      'Secret',
      secret.secretName,
    );
    return entries(found.data, 'base64');
  }
  if (configMap?.name !== undefined) {
    const found: ConfigMap = await readObject(
      client.get(ConfigMapKind, keyIn(pod, configMap.name), { signal }),
      'ConfigMap',
      configMap.name,
    );
    return [...entries(found.data, 'utf8'), ...entries(found.binaryData, 'base64')];
  }
  return undefined;
}

const isFileName = (key: string): boolean => KEY.test(key) && !key.startsWith('..');

const entries = (data: Readonly<Record<string, string>> | undefined, encoding: BufferEncoding): [string, Buffer][] =>
  Object.entries(data ?? {}).flatMap(([key, value]) => (isFileName(key) ? [[key, Buffer.from(value, encoding)]] : []));

const keyIn = (pod: Pod, name: string) => ({ namespace: pod.metadata.namespace ?? '', name });

async function readObject<T>(reading: Promise<T>, kind: string, name: string): Promise<T> {
  try {
    return await reading;
  } catch (error) {
    if (isNotFound(error))
      throw new VolumeError('CreateContainerConfigError', `${kind} "${name}" does not exist: create it`, error);
    throw error;
  }
}
