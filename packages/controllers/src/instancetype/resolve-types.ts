import {
  ControllerRevisionKind,
  VirtualMachineClusterInstancetypeKind,
  VirtualMachineClusterPreferenceKind,
  VirtualMachineInstancetypeKind,
  VirtualMachinePreferenceKind,
  type VirtualMachine,
} from '@slipway/api';
import { isNotFound, isObject, type ObjectMeta, TerminalError } from '@slipway/apimachinery';
import type { Client } from '@slipway/client';
import type { RenderInputs, ResolvedInstancetype, ResolvedPreference } from '@slipway/virt';
import type { MatcherName } from './infer-types.ts';

/** Name, kind and pinned revision under which a VM asks for a type. */
export interface TypeReference {
  readonly name?: string;
  readonly kind?: string;
  readonly revisionName?: string;
}

/**
 * Finds the instance type and the preference that a VM names: the pinned revision when there is one, else the object.
 * Matchers that infer must have been replaced. Throws TerminalError with KubeVirt's reason when one does not exist.
 */
export async function resolveTypes(client: Client, vm: VirtualMachine, signal?: AbortSignal): Promise<RenderInputs> {
  const { instancetype, preference } = vm.spec;
  const pinned = vm.status;
  return {
    ...(instancetype?.name && {
      instancetype: await resolveInstancetype(client, vm, withPin(instancetype, pinned?.instancetypeRef), signal),
    }),
    ...(preference?.name && {
      preference: await resolvePreference(client, vm, withPin(preference, pinned?.preferenceRef), signal),
    }),
  };
}

interface StatusRef {
  readonly name?: string;
  readonly kind?: string;
  readonly controllerRevisionRef?: { readonly name?: string };
}

/** The revision in status counts only while the VM still names the same object. */
function withPin(matcher: TypeReference, ref: StatusRef | undefined): TypeReference {
  const revisionName = matcher.revisionName || (isSameType(matcher, ref) ? ref?.controllerRevisionRef?.name : undefined);
  return { ...matcher, ...(revisionName && { revisionName }) };
}

/** Whether both name one object; a missing kind is the cluster-wide one. */
export function isSameType(matcher: TypeReference, ref: StatusRef | undefined): boolean {
  return ref?.name === matcher.name && isClusterWide(matcher.kind) === isClusterWide(ref?.kind);
}

/** Whether a matcher's kind, in any of its spellings, is the cluster-wide one. */
export function isClusterWide(kind: string | undefined): boolean {
  return !/^virtualmachine(instancetype|preference)s?$/i.test(kind ?? '');
}

/** An object behind a matcher, with what its revision records. */
export interface TypeObject<S> {
  readonly apiVersion: string;
  readonly kind: string;
  readonly metadata: ObjectMeta;
  readonly spec: S;
}

/** The instance type itself, not a revision of it. */
export async function getInstancetype(
  client: Client,
  vm: VirtualMachine,
  { name = '', kind }: TypeReference,
  signal?: AbortSignal,
): Promise<TypeObject<ResolvedInstancetype['spec']>> {
  const options = signal === undefined ? {} : { signal };
  return orReason('instancetype', async () =>
    isClusterWide(kind)
      ? client.get(VirtualMachineClusterInstancetypeKind, { namespace: '', name }, options)
      : client.get(VirtualMachineInstancetypeKind, { namespace: vm.metadata.namespace ?? '', name }, options),
  );
}

/** The preference itself, not a revision of it. */
export async function getPreference(
  client: Client,
  vm: VirtualMachine,
  { name = '', kind }: TypeReference,
  signal?: AbortSignal,
): Promise<TypeObject<ResolvedPreference['spec']>> {
  const options = signal === undefined ? {} : { signal };
  return orReason('preference', async () => {
    const found = isClusterWide(kind)
      ? await client.get(VirtualMachineClusterPreferenceKind, { namespace: '', name }, options)
      : await client.get(VirtualMachinePreferenceKind, { namespace: vm.metadata.namespace ?? '', name }, options);
    return { ...found, spec: found.spec ?? {} };
  });
}

async function resolveInstancetype(
  client: Client,
  vm: VirtualMachine,
  matcher: TypeReference,
  signal?: AbortSignal,
): Promise<ResolvedInstancetype> {
  const name = matcher.name ?? '';
  const kind = isClusterWide(matcher.kind) ? 'VirtualMachineClusterInstancetype' : 'VirtualMachineInstancetype';
  const spec = await orReason('instancetype', () => pinnedSpec<ResolvedInstancetype['spec']>(client, vm, matcher, signal));
  return { name, kind, spec: spec ?? (await getInstancetype(client, vm, matcher, signal)).spec };
}

async function resolvePreference(
  client: Client,
  vm: VirtualMachine,
  matcher: TypeReference,
  signal?: AbortSignal,
): Promise<ResolvedPreference> {
  const name = matcher.name ?? '';
  const kind = isClusterWide(matcher.kind) ? 'VirtualMachineClusterPreference' : 'VirtualMachinePreference';
  const spec = await orReason('preference', () => pinnedSpec<ResolvedPreference['spec']>(client, vm, matcher, signal));
  return { name, kind, spec: spec ?? (await getPreference(client, vm, matcher, signal)).spec };
}

/** Spec of the object that a ControllerRevision has kept. */
async function pinnedSpec<S>(
  client: Client,
  vm: VirtualMachine,
  { revisionName }: TypeReference,
  signal?: AbortSignal,
): Promise<S | undefined> {
  if (!revisionName) return undefined;
  const key = { namespace: vm.metadata.namespace ?? '', name: revisionName };
  const { data } = await client.get(ControllerRevisionKind, key, signal === undefined ? {} : { signal });
  // the record holds a copy of an object that was admitted when it was made
  return keptSpec(data) as S | undefined;
}

/** The spec in a revision's data. The first alpha level kept it as base64 JSON, the later ones the object itself. */
export function keptSpec(data: unknown): Record<string, unknown> | undefined {
  if (!isObject(data)) return undefined;
  const { spec } = data;
  if (isObject(spec)) return spec;
  if (typeof spec !== 'string') return undefined;
  try {
    const decoded: unknown = JSON.parse(Buffer.from(spec, 'base64').toString('utf8'));
    return isObject(decoded) ? decoded : undefined;
  } catch {
    return undefined; // not a record of ours
  }
}

const REASONS: Readonly<Record<MatcherName, string>> = {
  instancetype: 'FailedFindInstancetype',
  preference: 'FailedFindPreference',
};

async function orReason<T>(which: MatcherName, find: () => Promise<T>): Promise<T> {
  try {
    return await find();
  } catch (error) {
    if (isNotFound(error)) throw new TerminalError(REASONS[which], error instanceof Error ? error.message : String(error), error);
    throw error;
  }
}
