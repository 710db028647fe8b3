import type { VirtualMachine } from '@slipway/api';
import { TerminalError } from '@slipway/apimachinery';
import type { Cause, RenderInputs } from '@slipway/virt';
import { resolveTypes } from '../instancetype/index.ts';
import type { AdmissionDeps } from './deps.ts';

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
