import {
  type ControllerRevision,
  ControllerRevisionKind,
  type kubevirt,
  type VirtualMachine,
  VirtualMachineInstancetypeKind,
} from '@slipway/api';
import { ignoreAlreadyExists, isNotFound, keyOf } from '@slipway/apimachinery';
import type { Client } from '@slipway/client';
import type { Lister } from '@slipway/runtime';
import { type MatcherName, withInferredTypes } from './infer-types.ts';
import { isStartRevision, recordedSpec } from '../virtual-machine/start-revision.ts';
import { getInstancetype, getPreference, isSameType, keptSpec, type TypeObject } from './resolve-types.ts';

type StatusRef = kubevirt.InstancetypeStatusRef;

export interface TypeRevisionDeps {
  readonly client: Client;
  readonly revisions: Lister<ControllerRevision>;
}

const VERSION = VirtualMachineInstancetypeKind.version;
const label = (suffix: string): string => `instancetype.kubevirt.io/object-${suffix}`;

const DEFAULT_KINDS: Readonly<Record<MatcherName, string>> = {
  instancetype: 'virtualmachineclusterinstancetype',
  preference: 'virtualmachineclusterpreference',
};

/**
 * The VM with `status.instancetypeRef` and `status.preferenceRef` brought up to date: each names the ControllerRevision
 * in which the object is kept as it was when the VM first met it, so that later changes of the object do not reach the
 * VM. Writes revisions, not the VM. Throws TerminalError or InferenceError when a type cannot be found.
 */
export async function pinTypes(deps: TypeRevisionDeps, vm: VirtualMachine, signal: AbortSignal): Promise<VirtualMachine> {
  const { instancetypeRef, preferenceRef, ...status } = vm.status ?? {};
  const { instancetype, preference } = vm.spec;
  if (!instancetype && !preference) {
    await drop(deps, vm, () => true, signal);
    return instancetypeRef || preferenceRef ? { ...vm, status } : vm;
  }
  const named = await withInferredTypes(deps.client, vm, signal);
  const type = await pinned(deps, named, 'instancetype', instancetypeRef, signal);
  const preferred = await pinned(deps, named, 'preference', preferenceRef, signal);
  return {
    ...vm,
    status: {
      ...status,
      ...(type && { instancetypeRef: { ...type, ...inferenceOf(instancetype) } }),
      ...(preferred && { preferenceRef: { ...preferred, ...inferenceOf(preference) } }),
    },
  };
}

function inferenceOf(matcher: kubevirt.InstancetypeMatcher | kubevirt.PreferenceMatcher | undefined): StatusRef {
  const { inferFromVolume, inferFromVolumeFailurePolicy } = matcher ?? {};
  return {
    ...(inferFromVolume !== undefined && { inferFromVolume }),
    ...(inferFromVolumeFailurePolicy !== undefined && { inferFromVolumeFailurePolicy }),
  };
}

async function pinned(
  deps: TypeRevisionDeps,
  vm: VirtualMachine,
  which: MatcherName,
  known: StatusRef | undefined,
  signal: AbortSignal,
): Promise<StatusRef | undefined> {
  const matcher = vm.spec[which];
  if (!matcher?.name) return undefined;
  const ref = { name: matcher.name, kind: matcher.kind || DEFAULT_KINDS[which] };
  if (matcher.revisionName) return { ...ref, controllerRevisionRef: { name: matcher.revisionName } };
  const revisionName = known?.controllerRevisionRef?.name;
  if (isSameType(matcher, known) && revisionName)
    return { ...ref, controllerRevisionRef: { name: await upgraded(deps, vm, revisionName, signal) } };
  const object =
    which === 'instancetype'
      ? await getInstancetype(deps.client, vm, matcher, signal)
      : await getPreference(deps.client, vm, matcher, signal);
  const revision = typeRevision(vm, object);
  const key = { namespace: vm.metadata.namespace ?? '', name: revision.metadata.name ?? '' };
  if (deps.revisions.get(key) === undefined) await keep(deps, revision, signal);
  return { ...ref, controllerRevisionRef: { name: key.name } };
}

/**
 * Name of the record in the version that is served now: a record that an older release has made is written anew, and
 * goes when no running instance was started from it.
 */
async function upgraded(deps: TypeRevisionDeps, vm: VirtualMachine, name: string, signal: AbortSignal): Promise<string> {
  const record = deps.revisions.get({ namespace: vm.metadata.namespace ?? '', name });
  const labels = record?.metadata.labels ?? {};
  const version = labels[label('version')];
  const spec = keptSpec(record?.data);
  if (version === undefined || version === VERSION || spec === undefined) return name;
  const revision = typeRevision(vm, {
    apiVersion: `${VirtualMachineInstancetypeKind.group}/${VERSION}`,
    kind: labels[label('kind')] ?? '',
    metadata: {
      name: labels[label('name')] ?? '',
      uid: labels[label('uid')] ?? '',
      generation: Number(labels[label('generation')] ?? 0),
    },
    spec,
  });
  await keep(deps, revision, signal);
  await drop(deps, vm, ({ metadata }) => metadata.name === name, signal);
  return revision.metadata.name ?? '';
}

const isTypeRevision = ({ metadata }: ControllerRevision): boolean => metadata.labels?.[label('name')] !== undefined;

/** Deletes records of types that the VM needs no more; not those that a running instance was started from. */
async function drop(
  { client, revisions }: TypeRevisionDeps,
  vm: VirtualMachine,
  isUnneeded: (revision: ControllerRevision) => boolean,
  signal: AbortSignal,
): Promise<void> {
  const owned = revisions.ownedBy(vm.metadata.uid ?? '');
  const starts = owned.filter(isStartRevision).map(recordedSpec);
  const used = new Set(starts.flatMap((spec) => [spec?.instancetype?.revisionName, spec?.preference?.revisionName]));
  for (const revision of owned) {
    if (!isTypeRevision(revision) || used.has(revision.metadata.name) || !isUnneeded(revision)) continue;
    try {
      await client.delete(ControllerRevisionKind, keyOf(revision), { signal });
    } catch (error) {
      if (!isNotFound(error)) throw error;
    }
  }
}

async function keep({ client }: TypeRevisionDeps, revision: ControllerRevision, signal: AbortSignal): Promise<void> {
  // the name holds the object's uid and generation, so an existing one has the same content
  await client.create(ControllerRevisionKind, revision, { signal }).catch(ignoreAlreadyExists);
}

/** The record of an instance type or preference as one VM uses it. */
export function typeRevision(vm: VirtualMachine, { apiVersion, kind, metadata, spec }: TypeObject<unknown>): ControllerRevision {
  const version = apiVersion.slice(apiVersion.indexOf('/') + 1);
  const { name = '', namespace, uid = '', generation = 0 } = metadata;
  return {
    apiVersion: 'apps/v1',
    kind: 'ControllerRevision',
    metadata: {
      name: `${vm.metadata.name}-${name}-${version}-${uid}-${generation}`,
      namespace: vm.metadata.namespace ?? '',
      labels: {
        [label('generation')]: String(generation),
        [label('kind')]: kind,
        [label('name')]: name,
        [label('uid')]: uid,
        [label('version')]: version,
      },
      ownerReferences: [
        {
          apiVersion: 'kubevirt.io/v1',
          kind: 'VirtualMachine',
          name: vm.metadata.name ?? '',
          uid: vm.metadata.uid ?? '',
          controller: true,
          blockOwnerDeletion: true,
        },
      ],
    },
    revision: 0,
    data: { apiVersion, kind, metadata: { name, ...(namespace && { namespace }), uid, generation }, spec },
  };
}
