import { DataVolumeKind, PersistentVolumeClaimKind, type kubevirt, type VirtualMachine } from '@slipway/api';
import { TerminalError } from '@slipway/apimachinery';
import type { Cause, RenderInputs } from '@slipway/virt';
import { resolveTypes } from '../instancetype/index.ts';
import type { AdmissionDeps } from './deps.ts';
import { find } from './look-up.ts';

type Which = 'instancetype' | 'preference';

const MISSING: Readonly<Record<string, string>> = { FailedFindInstancetype: 'instancetype', FailedFindPreference: 'preference' };

const KINDS: Readonly<Record<Which, readonly string[]>> = {
  instancetype: [
    '',
    'virtualmachineinstancetype',
    'virtualmachineinstancetypes',
    'virtualmachineclusterinstancetype',
    'virtualmachineclusterinstancetypes',
  ],
  preference: [
    '',
    'virtualmachinepreference',
    'virtualmachinepreferences',
    'virtualmachineclusterpreference',
    'virtualmachineclusterpreferences',
  ],
};

/** A volume that says nothing about the instance type to use. */
export class InferenceError extends Error {
  constructor(message: string) {
    super(message);
    this.name = 'InferenceError';
  }
}

type Labels = Readonly<Record<string, string>>;

async function labelsOfVolume(deps: AdmissionDeps, vm: VirtualMachine, volumeName: string): Promise<Labels> {
  const volume = vm.spec.template.spec?.volumes?.find(({ name }) => name === volumeName);
  if (!volume) throw new InferenceError(`unable to find volume ${volumeName} to infer defaults`);
  const namespace = vm.metadata.namespace ?? 'default';
  const claimName = volume.persistentVolumeClaim?.claimName ?? volume.dataVolume?.name;
  if (claimName === undefined)
    throw new InferenceError(`unable to infer defaults from volume ${volumeName} as type is not supported`);
  const template = vm.spec.dataVolumeTemplates?.find(({ metadata }) => metadata?.name === claimName);
  const found =
    (await find(deps.client, PersistentVolumeClaimKind, { namespace, name: claimName })) ??
    (volume.dataVolume ? await find(deps.client, DataVolumeKind, { namespace, name: claimName }) : undefined);
  return { ...(template?.metadata?.labels as Labels | undefined), ...found?.metadata.labels }; // string map in the API
}

async function inferred<M extends kubevirt.InstancetypeMatcher | kubevirt.PreferenceMatcher>(
  deps: AdmissionDeps,
  vm: VirtualMachine,
  which: Which,
  matcher: M | undefined,
): Promise<M | undefined> {
  if (!matcher?.inferFromVolume || matcher.name) return matcher;
  const label = `instancetype.kubevirt.io/default-${which}`;
  try {
    const labels = await labelsOfVolume(deps, vm, matcher.inferFromVolume);
    const name = labels[label];
    if (name === undefined) throw new InferenceError(`unable to find required ${label} label on the volume`);
    const { inferFromVolume: _, inferFromVolumeFailurePolicy: __, ...rest } = matcher;
    const kind = labels[`${label}-kind`];
    return { ...rest, name, ...(kind !== undefined && { kind }) } as M; // same matcher with a name
  } catch (error) {
    if (error instanceof InferenceError && matcher.inferFromVolumeFailurePolicy === 'Ignore') return undefined;
    throw error;
  }
}

/** The VM with inferred matchers named; its spec as stored stays as sent. Throws InferenceError. */
export async function withInferredTypes(deps: AdmissionDeps, vm: VirtualMachine): Promise<VirtualMachine> {
  const { instancetype, preference, ...spec } = vm.spec;
  const type = await inferred(deps, vm, 'instancetype', instancetype);
  const preferred = await inferred(deps, vm, 'preference', preference);
  return { ...vm, spec: { ...spec, ...(type && { instancetype: type }), ...(preferred && { preference: preferred }) } };
}

function badKind(vm: VirtualMachine): Cause | undefined {
  for (const which of ['instancetype', 'preference'] as const) {
    const kind = vm.spec[which]?.kind ?? '';
    if (KINDS[which].includes(kind.toLowerCase())) continue;
    const title = which === 'instancetype' ? 'InstancetypeMatcher' : 'PreferenceMatcher';
    return {
      reason: 'FieldValueNotFound',
      field: `spec.${which}`,
      message: `Failure to find ${which}: got unexpected kind in ${title}: ${kind}`,
    };
  }
  return undefined;
}

/** The instance type and preference a VM names, or the cause why they cannot be found. */
export async function resolveMatchers(deps: AdmissionDeps, vm: VirtualMachine): Promise<RenderInputs | Cause> {
  const named = [vm.spec.instancetype, vm.spec.preference].every((matcher) => matcher === undefined || matcher.name);
  if (!named) return {};
  const wrong = badKind(vm);
  if (wrong) return wrong;
  try {
    return await resolveTypes(deps.client, vm);
  } catch (error) {
    const which = error instanceof TerminalError ? MISSING[error.reason] : undefined;
    if (which === undefined || !(error instanceof Error)) throw error;
    return { reason: 'FieldValueNotFound', field: `spec.${which}`, message: `Failure to find ${which}: ${error.message}` };
  }
}
