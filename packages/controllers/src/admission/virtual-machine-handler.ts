import { Finalizer, type VirtualMachine } from '@slipway/api';
import type { UnstructuredObject } from '@slipway/apimachinery';
import type { AdmissionHandler, AdmissionRequest } from '@slipway/runtime';
import {
  type Cause,
  poolCause,
  validatePool,
  validatePoolUpdate,
  validateVirtualMachine,
  validateVirtualMachineUpdate,
} from '@slipway/virt';
import { InferenceError, withInferredTypes } from '../instancetype/index.ts';
import { cloneSourceCauses } from './clone-sources.ts';
import type { AdmissionDeps } from './deps.ts';
import { refuseFor, refusePlainly } from './refuse.ts';
import type { ShapeCheck } from './shape-check.ts';
import { resolveMatchers } from './resolve-matchers.ts';

const MUTATOR = 'virtualmachines-mutator.kubevirt.io';
const VALIDATOR = 'virtualmachine-validator.kubevirt.io';
const POOL_VALIDATOR = 'virtualmachinepool-validator.kubevirt.io';

const asVm = (object: UnstructuredObject): VirtualMachine => object as unknown as VirtualMachine; // schema-checked

/** Every rule on a VM, with the objects it refers to looked up. Throws a plain 400 for a failed inference. */
async function causesOf(deps: AdmissionDeps, posted: VirtualMachine, isPlatform: boolean): Promise<readonly Cause[]> {
  const config = deps.config();
  try {
    const vm = await withInferredTypes(deps.client, posted);
    const types = await resolveMatchers(deps, vm);
    if ('reason' in types) return [types];
    const { instancetype, preference } = types;
    const causes = validateVirtualMachine(vm, { config, isPlatform, instancetype, preference });
    return causes.length > 0 ? causes : await cloneSourceCauses(deps, vm);
  } catch (error) {
    if (error instanceof InferenceError) refusePlainly(MUTATOR, error.message);
    throw error;
  }
}

function warningsFor({ spec }: VirtualMachine): readonly string[] {
  return spec.running === undefined ? [] : ['spec.running is deprecated, please use spec.runStrategy instead.'];
}

/** A new VM with the controller's finalizer, so that the controller need not write it by itself. */
function withFinalizer(object: UnstructuredObject): UnstructuredObject | undefined {
  const finalizers = object.metadata.finalizers ?? [];
  if (finalizers.includes(Finalizer.virtualMachineController)) return undefined;
  return { ...object, metadata: { ...object.metadata, finalizers: [...finalizers, Finalizer.virtualMachineController] } };
}

/** VMs are checked and their spec is stored exactly as sent. */
export function virtualMachineHandler(deps: AdmissionDeps, checkShape: ShapeCheck): AdmissionHandler {
  return {
    name: 'virtual-machine',
    rules: [{ group: 'kubevirt.io', resources: ['virtualmachines'], operations: ['CREATE', 'UPDATE'] }],

    // The one step that comes before the schema check.
    async mutate({ object, operation }) {
      if (object === undefined) return undefined;
      checkShape(MUTATOR, object);
      return operation === 'CREATE' ? withFinalizer(object) : undefined;
    },

    async validate({ object, oldObject, user }) {
      // Objects on their way out must stay changeable, or their finalizers could not be removed.
      if (object === undefined || object.metadata.deletionTimestamp !== undefined) return [];
      const vm = asVm(object);
      const update = oldObject === undefined ? [] : validateVirtualMachineUpdate(vm, asVm(oldObject));
      refuseFor(VALIDATOR, [...(await causesOf(deps, vm, deps.isPlatform(user))), ...update]);
      return warningsFor(vm);
    },
  };
}

const asPool = (object: UnstructuredObject) => object as unknown as Parameters<typeof validatePool>[0]; // schema-checked

async function poolCauses(deps: AdmissionDeps, request: AdmissionRequest, object: UnstructuredObject): Promise<readonly Cause[]> {
  const pool = asPool(object);
  const causes = validatePool(pool);
  const template = pool.spec.virtualMachineTemplate;
  if (template?.spec === undefined) return causes;
  const vm = {
    apiVersion: 'kubevirt.io/v1',
    kind: 'VirtualMachine',
    metadata: { name: `${pool.metadata.name}-0`, namespace: request.namespace },
    spec: template.spec,
  } as VirtualMachine; // a template has the same spec
  return [...causes, ...(await causesOf(deps, vm, deps.isPlatform(request.user))).map(poolCause)];
}

export function poolHandler(deps: AdmissionDeps): AdmissionHandler {
  return {
    name: 'virtual-machine-pool',
    rules: [{ group: 'pool.kubevirt.io', resources: ['virtualmachinepools'], operations: ['CREATE', 'UPDATE'] }],

    async validate(request) {
      const { object, oldObject } = request;
      if (object === undefined || object.metadata.deletionTimestamp !== undefined) return [];
      const update = oldObject === undefined ? [] : validatePoolUpdate(asPool(object), asPool(oldObject));
      refuseFor(POOL_VALIDATOR, [...(await poolCauses(deps, request, object)), ...update]);
      return [];
    },
  };
}
