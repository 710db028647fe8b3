import type { VirtualMachineInstance } from '@slipway/api';
import {
  isObject,
  matchesLabels,
  selectorOf,
  StatusError,
  type LabelSelectorObject,
  type UnstructuredObject,
} from '@slipway/apimachinery';
import type { AdmissionHandler, AdmissionRequest } from '@slipway/runtime';
import {
  applyPresets,
  defaultInstance,
  malformedQuantity,
  PresetConflict,
  validateVirtualMachineInstance,
  validateVirtualMachineInstanceUpdate,
} from '@slipway/virt';
import type { AdmissionDeps } from './deps.ts';
import { PresetKind } from './kinds.ts';
import { refuseFor, refusePlainly } from './refuse.ts';
import type { ShapeCheck } from './shape-check.ts';

const MUTATOR = 'virtualmachineinstances-mutator.kubevirt.io';
const CREATE_VALIDATOR = 'virtualmachineinstances-create-validator.kubevirt.io';
const UPDATE_VALIDATOR = 'virtualmachineinstances-update-validator.kubevirt.io';
const EXCLUDE = 'virtualmachineinstancepresets.admission.kubevirt.io/exclude';

/** The registered rules name the kind, and the schema is checked before anything is validated. */
const asInstance = (object: UnstructuredObject): VirtualMachineInstance => object as unknown as VirtualMachineInstance;
const asObject = (vmi: VirtualMachineInstance): UnstructuredObject => vmi as unknown as UnstructuredObject;

/** Mutation runs before the schema check: what is not even shaped like an instance is left for that to refuse. */
function isShapedLikeInstance(object: UnstructuredObject): boolean {
  const { spec } = object;
  if (!isObject(spec) || !isObject(spec['domain'])) return false;
  const { devices } = spec['domain'];
  if (devices !== undefined && !isObject(devices)) return false;
  const lists = [spec['volumes'], spec['networks'], devices?.['disks'], devices?.['interfaces'], devices?.['inputs']];
  return lists.every((list) => list === undefined || (Array.isArray(list) && list.every(isObject)));
}

async function presetsFor(deps: AdmissionDeps, vmi: VirtualMachineInstance, namespace: string) {
  if (vmi.metadata.annotations?.[EXCLUDE] === 'true') return [];
  const presets = deps.presets?.(namespace) ?? (await deps.client.list(PresetKind, { namespace })).items;
  return presets.filter(({ spec }) => {
    const selector = selectorOf(spec?.selector as LabelSelectorObject | undefined); // published type differs in optionality only
    return selector !== undefined && matchesLabels(selector, vmi.metadata.labels ?? {});
  });
}

function setPending(vmi: VirtualMachineInstance, now: Date): void {
  const phaseTransitionTimestamp = now.toISOString().replace(/\.\d{3}Z$/, 'Z');
  vmi.status = { ...vmi.status, phase: 'Pending', phaseTransitionTimestamps: [{ phase: 'Pending', phaseTransitionTimestamp }] };
}

async function defaulted(
  deps: AdmissionDeps,
  request: AdmissionRequest,
  object: UnstructuredObject,
): Promise<UnstructuredObject> {
  const config = deps.config();
  const posted = asInstance(object);
  if (malformedQuantity(posted.spec.domain) !== undefined)
    refusePlainly(MUTATOR, "quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'");
  try {
    const vmi = applyPresets(posted, await presetsFor(deps, posted, request.namespace));
    if (wantsBridgeThatIsOff(vmi, config.configuration.network))
      refusePlainly(MUTATOR, 'Bridge interface is not enabled in kubevirt-config');
    const result = defaultInstance(vmi, config, { uuid: deps.newUuid() });
    nameBootImage(result);
    setPending(result, deps.now());
    return asObject(result);
  } catch (error) {
    // KubeVirt-compat: a 422 without reason and causes.
    if (error instanceof PresetConflict)
      throw new StatusError({ code: 422, message: `admission webhook "${MUTATOR}" denied the request: ${error.message}` });
    throw error;
  }
}

// KubeVirt-compat: a missing image becomes an empty one, which the rules refuse with a clearer text than the schema.
function nameBootImage({ spec }: VirtualMachineInstance): void {
  const container: { image?: string } | undefined = spec.domain.firmware?.kernelBoot?.container;
  if (container) container.image ??= '';
}

interface NetworkConfig {
  readonly defaultNetworkInterface?: string;
  readonly permitBridgeInterfaceOnPodNetwork?: boolean;
}

function wantsBridgeThatIsOff({ spec }: VirtualMachineInstance, network: NetworkConfig | undefined): boolean {
  if (network?.permitBridgeInterfaceOnPodNetwork !== false || (network.defaultNetworkInterface ?? 'bridge') !== 'bridge')
    return false;
  const { interfaces = [], autoattachPodInterface } = spec.domain.devices ?? {};
  return autoattachPodInterface !== false && interfaces.length === 0 && (spec.networks ?? []).length === 0;
}

/** Instances: stored fully defaulted, checked, and then changed by the platform alone. */
export function instanceHandler(deps: AdmissionDeps, checkShape: ShapeCheck): AdmissionHandler {
  return {
    name: 'virtual-machine-instance',
    rules: [{ group: 'kubevirt.io', resources: ['virtualmachineinstances'], operations: ['CREATE', 'UPDATE'] }],

    async mutate(request) {
      const { object, oldObject, operation } = request;
      if (object === undefined) return undefined;
      if (operation === 'CREATE') {
        checkShape(MUTATOR, object);
        return isShapedLikeInstance(object) ? defaulted(deps, request, object) : undefined;
      }
      // Status belongs to the platform; a user's change of it is undone, not refused.
      if (deps.isPlatform(request.user) || oldObject === undefined) return undefined;
      return { ...object, status: oldObject['status'] };
    },

    async validate({ object, oldObject, operation, user }) {
      if (object === undefined) return [];
      const requester = { isPlatform: deps.isPlatform(user) };
      const vmi = asInstance(object);
      if (operation === 'CREATE') refuseFor(CREATE_VALIDATOR, validateVirtualMachineInstance(vmi, deps.config(), requester));
      else if (oldObject !== undefined && object.metadata.deletionTimestamp === undefined)
        refuseFor(UPDATE_VALIDATOR, validateVirtualMachineInstanceUpdate(vmi, asInstance(oldObject), requester));
      return [];
    },
  };
}
