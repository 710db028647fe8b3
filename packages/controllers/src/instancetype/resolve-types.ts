import {
  ControllerRevisionKind,
  VirtualMachineClusterInstancetypeKind,
  VirtualMachineClusterPreferenceKind,
  VirtualMachineInstancetypeKind,
  VirtualMachinePreferenceKind,
  type VirtualMachine,
} from '@slipway/api';
import { isNotFound, isObject, TerminalError } from '@slipway/apimachinery';
import type { Client } from '@slipway/client';
import type { RenderInputs, ResolvedInstancetype, ResolvedPreference } from '@slipway/virt';

interface Matcher {
  readonly name?: string;
  readonly kind?: string;
  readonly revisionName?: string;
}

/**
 * Finds the instance type and the preference that a VM names: the pinned revision when there is one, else the object.
 * Throws TerminalError with KubeVirt's reason when one does not exist.
 */
export async function resolveTypes(client: Client, vm: VirtualMachine, signal?: AbortSignal): Promise<RenderInputs> {
  const { instancetype, preference } = vm.spec;
  const pinned = vm.status;
  return {
    ...(instancetype !== undefined && {
      instancetype: await resolveInstancetype(client, vm, withPin(instancetype, pinned?.instancetypeRef), signal),
    }),
    ...(preference !== undefined && {
      preference: await resolvePreference(client, vm, withPin(preference, pinned?.preferenceRef), signal),
    }),
  };
}

interface StatusRef {
  readonly name?: string;
  readonly controllerRevisionRef?: { readonly name?: string };
}

/** The revision in status counts only while the VM still names the same object. */
function withPin(matcher: Matcher, ref: StatusRef | undefined): Matcher {
  const revisionName = matcher.revisionName || (ref?.name === matcher.name ? ref?.controllerRevisionRef?.name : undefined);
  return { ...matcher, ...(revisionName && { revisionName }) };
}

const isNamespaced = ({ kind = '' }: Matcher, name: string): boolean => {
  const wanted = kind.toLowerCase();
  return wanted === name || wanted === `${name}s`;
};

async function resolveInstancetype(
  client: Client,
  vm: VirtualMachine,
  matcher: Matcher,
  signal?: AbortSignal,
): Promise<ResolvedInstancetype> {
  const { name = '' } = matcher;
  const own = isNamespaced(matcher, 'virtualmachineinstancetype');
  const kind = own ? 'VirtualMachineInstancetype' : 'VirtualMachineClusterInstancetype';
  const key = { namespace: own ? (vm.metadata.namespace ?? '') : '', name };
  const options = signal === undefined ? {} : { signal };
  return orReason('FailedFindInstancetype', async () => {
    const spec = await pinnedSpec<ResolvedInstancetype['spec']>(client, vm, matcher, signal);
    if (spec !== undefined) return { name, kind, spec };
    const found = own
      ? await client.get(VirtualMachineInstancetypeKind, key, options)
      : await client.get(VirtualMachineClusterInstancetypeKind, key, options);
    return { name, kind, spec: found.spec };
  });
}

async function resolvePreference(
  client: Client,
  vm: VirtualMachine,
  matcher: Matcher,
  signal?: AbortSignal,
): Promise<ResolvedPreference> {
  const { name = '' } = matcher;
  const own = isNamespaced(matcher, 'virtualmachinepreference');
  const kind = own ? 'VirtualMachinePreference' : 'VirtualMachineClusterPreference';
  const key = { namespace: own ? (vm.metadata.namespace ?? '') : '', name };
  const options = signal === undefined ? {} : { signal };
  return orReason('FailedFindPreference', async () => {
    const spec = await pinnedSpec<ResolvedPreference['spec']>(client, vm, matcher, signal);
    if (spec !== undefined) return { name, kind, spec };
    const found = own
      ? await client.get(VirtualMachinePreferenceKind, key, options)
      : await client.get(VirtualMachineClusterPreferenceKind, key, options);
    return { name, kind, spec: found.spec };
  });
}

/** Spec of the object that a ControllerRevision has kept. */
async function pinnedSpec<S>(
  client: Client,
  vm: VirtualMachine,
  { revisionName }: Matcher,
  signal?: AbortSignal,
): Promise<S | undefined> {
  if (!revisionName) return undefined;
  const key = { namespace: vm.metadata.namespace ?? '', name: revisionName };
  const { data } = await client.get(ControllerRevisionKind, key, signal === undefined ? {} : { signal });
  const kept: unknown = data;
  // the record holds a copy of an object that was admitted when it was made
  return isObject(kept) && isObject(kept['spec']) ? (kept['spec'] as S) : undefined;
}

async function orReason<T>(reason: string, find: () => Promise<T>): Promise<T> {
  try {
    return await find();
  } catch (error) {
    if (isNotFound(error)) throw new TerminalError(reason, error instanceof Error ? error.message : String(error), error);
    throw error;
  }
}
