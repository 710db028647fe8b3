import { type kubevirt, VirtualMachineKind } from '@slipway/api';
import { isObject, type UnstructuredObject } from '@slipway/apimachinery';
import type { AdmissionHandler, AdmissionRequest } from '@slipway/runtime';
import { validateClone, validateCloneUpdate, validateImmutable, validateRestore } from '@slipway/virt';
import type { AdmissionDeps } from './deps.ts';
import { RestoreKind, SnapshotKind } from './kinds.ts';
import { find } from './look-up.ts';
import { refuseFor, refusePlainly } from './refuse.ts';

const RESTORE_VALIDATOR = 'virtualmachinerestore-validator.snapshot.kubevirt.io';
const CLONE_VALIDATOR = 'vm-clone-validator.kubevirt.io';

async function checkRestore(
  deps: AdmissionDeps,
  restore: kubevirt.VirtualMachineRestore,
  { namespace, user }: AdmissionRequest,
): Promise<void> {
  const { target, virtualMachineSnapshotName } = restore.spec;
  const { items } = await deps.client.list(RestoreKind, { namespace });
  refuseFor(
    RESTORE_VALIDATOR,
    validateRestore(restore, {
      isPlatform: deps.isPlatform(user),
      target: await find(deps.client, VirtualMachineKind, { namespace, name: target.name }),
      snapshot: await find(deps.client, SnapshotKind, { namespace, name: virtualMachineSnapshotName }),
      inProgress: items.filter(
        ({ spec, status, metadata }) =>
          spec.target.name === target.name && status?.complete !== true && metadata.name !== restore.metadata.name,
      ),
    }),
  );
}

export function restoreHandler(deps: AdmissionDeps): AdmissionHandler {
  return {
    name: 'virtual-machine-restore',
    rules: [{ group: 'snapshot.kubevirt.io', resources: ['virtualmachinerestores'], operations: ['CREATE', 'UPDATE'] }],

    async validate(request) {
      const { object, oldObject } = request;
      if (object === undefined || object.metadata.deletionTimestamp !== undefined) return [];
      if (!deps.config().hasGate('Snapshot')) refusePlainly(RESTORE_VALIDATOR, 'snapshot feature gate not enabled');
      if (oldObject !== undefined) refuseFor(RESTORE_VALIDATOR, validateImmutable(object, oldObject));
      else await checkRestore(deps, object as unknown as kubevirt.VirtualMachineRestore, request); // schema-checked
      return [];
    },
  };
}

async function cloneContext(deps: AdmissionDeps, { spec }: kubevirt.VirtualMachineClone, namespace: string) {
  const key = { namespace, name: spec.source.name };
  if (spec.source.kind !== 'VirtualMachine')
    return { source: undefined, sourceExists: (await find(deps.client, SnapshotKind, key)) !== undefined };
  const source = await find(deps.client, VirtualMachineKind, key);
  return { source, sourceExists: source !== undefined };
}

const asClone = (object: UnstructuredObject): kubevirt.VirtualMachineClone => object as unknown as kubevirt.VirtualMachineClone; // schema-checked

// KubeVirt-compat: a missing group is written as null, which the schema then refuses.
const withGroup = (reference: Record<string, unknown>): Record<string, unknown> => ({
  ...reference,
  apiGroup: reference['apiGroup'] ?? null,
});

/** Clones: a target name is made up when none is given. */
export function cloneHandler(deps: AdmissionDeps): AdmissionHandler {
  return {
    name: 'virtual-machine-clone',
    rules: [{ group: 'clone.kubevirt.io', resources: ['virtualmachineclones'], operations: ['CREATE', 'UPDATE'] }],

    async mutate({ object, operation }) {
      if (operation !== 'CREATE' || object === undefined || !isObject(object['spec'])) return undefined;
      const { source, target } = object['spec'];
      if (!isObject(source) || typeof source['name'] !== 'string') return undefined;
      const base = isObject(target) ? target : { apiGroup: source['apiGroup'] ?? null, kind: 'VirtualMachine' };
      const hasName = typeof base['name'] === 'string' && base['name'] !== '';
      const named = hasName ? base : { ...base, name: `clone-${source['name']}-${deps.newUuid().slice(0, 5)}` };
      return { ...object, spec: { ...object['spec'], source: withGroup(source), target: withGroup(named) } };
    },

    async validate({ object, oldObject, namespace }) {
      if (object === undefined || object.metadata.deletionTimestamp !== undefined) return [];
      const clone = asClone(object);
      if (oldObject !== undefined) refuseFor(CLONE_VALIDATOR, validateCloneUpdate(clone, asClone(oldObject)));
      else refuseFor(CLONE_VALIDATOR, validateClone(clone, await cloneContext(deps, clone, namespace)));
      return [];
    },
  };
}
