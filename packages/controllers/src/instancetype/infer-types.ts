import {
  DataSourceKind,
  DataVolumeKind,
  type kubevirt,
  PersistentVolumeClaimKind,
  type VirtualMachine,
  VolumeSnapshotKind,
} from '@slipway/api';
import { isNotFound, type KubeObject, type ObjectKey, type ResourceKind } from '@slipway/apimachinery';
import type { Client } from '@slipway/client';

/** Which of the two matchers of a VM is meant. */
export type MatcherName = 'instancetype' | 'preference';
type Matcher = kubevirt.InstancetypeMatcher | kubevirt.PreferenceMatcher;
type Labels = Readonly<Record<string, string>>;

/** A volume that says nothing about the instance type to use. */
export class InferenceError extends Error {
  constructor(message: string) {
    super(message);
    this.name = 'InferenceError';
  }
}

/** Reads that inference needs; a missing object is undefined. */
async function find<T extends KubeObject>(client: Client, kind: ResourceKind<T>, key: ObjectKey, signal?: AbortSignal) {
  try {
    return await client.get(kind, key, signal === undefined ? {} : { signal });
  } catch (error) {
    if (isNotFound(error)) return undefined;
    throw error;
  }
}

interface Search {
  readonly client: Client;
  readonly signal: AbortSignal | undefined;
  /** Names the default that is looked for. */
  readonly label: string;
}

interface Source {
  readonly namespace?: string;
  readonly name?: string;
}

/** Labels of a claim, or of what the DataVolume of that name is made from. */
async function claimLabels(search: Search, key: ObjectKey): Promise<Labels | undefined> {
  const claim = await find(search.client, PersistentVolumeClaimKind, key, search.signal);
  if (claim?.metadata.labels?.[search.label] !== undefined) return claim.metadata.labels;
  const dataVolume = await find(search.client, DataVolumeKind, key, search.signal);
  if (dataVolume === undefined) return claim?.metadata.labels;
  if (dataVolume.metadata.labels?.[search.label] !== undefined) return dataVolume.metadata.labels;
  return sourceLabels(search, dataVolume.spec, key.namespace);
}

async function sourceLabels(
  search: Search,
  { source, sourceRef }: Pick<kubevirt.DataVolumeSpec, 'source' | 'sourceRef'>,
  namespace: string,
): Promise<Labels | undefined> {
  if (source?.pvc !== undefined) return claimLabels(search, keyOfSource(source.pvc, namespace));
  if (source?.snapshot !== undefined)
    return (await find(search.client, VolumeSnapshotKind, keyOfSource(source.snapshot, namespace), search.signal))?.metadata
      .labels;
  if (sourceRef === undefined)
    throw new InferenceError('unable to infer defaults from DataVolumeSpec as DataVolumeSource is not supported');
  if (sourceRef.kind !== 'DataSource')
    throw new InferenceError(`unable to infer defaults from DataVolumeSourceRef as Kind ${sourceRef.kind} is not supported`);
  const key = { namespace: sourceRef.namespace ?? namespace, name: sourceRef.name };
  const dataSource = await find(search.client, DataSourceKind, key, search.signal);
  if (dataSource === undefined)
    throw new InferenceError(`unable to find DataSource ${key.namespace}/${key.name} to infer defaults`);
  if (dataSource.metadata.labels?.[search.label] !== undefined) return dataSource.metadata.labels;
  const resolved = dataSource.status?.source ?? dataSource.spec.source;
  return sourceLabels(search, resolved as kubevirt.DataVolumeSpec, key.namespace); // same members, generated once per group
}

const keyOfSource = ({ namespace, name }: Source, home: string): ObjectKey => ({
  namespace: namespace ?? home,
  name: name ?? '',
});

async function volumeLabels(search: Search, vm: VirtualMachine, volumeName: string): Promise<Labels | undefined> {
  const volume = vm.spec.template.spec?.volumes?.find(({ name }) => name === volumeName);
  if (!volume) throw new InferenceError(`unable to find volume ${volumeName} to infer defaults`);
  const namespace = vm.metadata.namespace ?? 'default';
  const name = volume.persistentVolumeClaim?.claimName ?? volume.dataVolume?.name;
  if (name === undefined) throw new InferenceError(`unable to infer defaults from volume ${volumeName} as type is not supported`);
  const template = vm.spec.dataVolumeTemplates?.find(({ metadata }) => metadata?.name === name);
  if (volume.dataVolume === undefined || template === undefined) return claimLabels(search, { namespace, name });
  const own = template.metadata?.labels as Labels | undefined; // string map in the API
  return own?.[search.label] === undefined ? sourceLabels(search, template.spec, namespace) : own;
}

async function inferred(
  client: Client,
  vm: VirtualMachine,
  which: MatcherName,
  matcher: Matcher,
  signal: AbortSignal | undefined,
): Promise<{ readonly name: string; readonly kind?: string } | undefined> {
  const known = vm.status?.[`${which}Ref`];
  // what was inferred once stays, whatever becomes of the volume's labels
  if (known?.name !== undefined && known.inferFromVolume === matcher.inferFromVolume)
    return { name: known.name, ...(known.kind !== undefined && { kind: known.kind }) };
  const label = `instancetype.kubevirt.io/default-${which}`;
  try {
    const labels = await volumeLabels({ client, signal, label }, vm, matcher.inferFromVolume ?? '');
    const name = labels?.[label];
    if (name === undefined) throw new InferenceError(`unable to find required ${label} label on the volume`);
    const kind = labels?.[`${label}-kind`];
    return { name, ...(kind !== undefined && { kind }) };
  } catch (error) {
    if (error instanceof InferenceError && matcher.inferFromVolumeFailurePolicy === 'Ignore') return undefined;
    throw error;
  }
}

/** A guest that takes its size from an inferred type, but only if there is one, may bring a size for the other case. */
function withoutMemory(vm: VirtualMachine): VirtualMachine['spec']['template'] {
  const { template } = vm.spec;
  if (template.spec?.domain.memory === undefined) return template;
  const { memory: _, ...domain } = template.spec.domain;
  return { ...template, spec: { ...template.spec, domain } };
}

/**
 * The VM with matchers that point to a volume replaced by what that volume names; a matcher whose inference failed and
 * may fail is gone. The stored object stays as sent. Throws InferenceError.
 */
export async function withInferredTypes(client: Client, vm: VirtualMachine, signal?: AbortSignal): Promise<VirtualMachine> {
  const { instancetype, preference, ...spec } = vm.spec;
  const result: VirtualMachine['spec'] = { ...spec };
  if (instancetype !== undefined) {
    const isInferred = instancetype.inferFromVolume !== undefined && !instancetype.name;
    const found = isInferred ? await inferred(client, vm, 'instancetype', instancetype, signal) : undefined;
    if (!isInferred) result.instancetype = instancetype;
    else if (found) result.instancetype = named(instancetype, found);
    if (found && instancetype.inferFromVolumeFailurePolicy === 'Ignore') result.template = withoutMemory(vm);
  }
  if (preference !== undefined) {
    const isInferred = preference.inferFromVolume !== undefined && !preference.name;
    const found = isInferred ? await inferred(client, vm, 'preference', preference, signal) : undefined;
    if (!isInferred) result.preference = preference;
    else if (found) result.preference = named(preference, found);
  }
  return { ...vm, spec: result };
}

function named<M extends Matcher>(matcher: M, found: { readonly name: string; readonly kind?: string }): M {
  const { inferFromVolume: _, inferFromVolumeFailurePolicy: __, ...rest } = matcher;
  return { ...rest, ...found } as M; // the same matcher with a name
}
