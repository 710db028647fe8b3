import type { kubevirt } from '@slipway/api';
import type { UnstructuredObject } from '@slipway/apimachinery';
import type { AdmissionHandler } from '@slipway/runtime';
import {
  type Cause,
  preferenceWarnings,
  validateExport,
  validateImmutable,
  validateInstancetype,
  validateMigrationPolicy,
  validatePreference,
  validatePreset,
  validateReplicaSet,
  validateSnapshot,
} from '@slipway/virt';
import { VmSnapshotFinalizer } from '../vm-snapshot/snapshot-state.ts';
import type { AdmissionDeps } from './deps.ts';
import { refuseFor, refusePlainly } from './refuse.ts';

interface Declaration {
  readonly webhook: string;
  readonly group: string;
  readonly resources: readonly string[];
  /** Refused with a plain 400 while this gate is off. */
  readonly gate?: { readonly name: string; readonly message: string };
  /** Put on when the object is created, so that it is never without; the controller takes it off. */
  readonly finalizer?: string;
  readonly causes: (object: UnstructuredObject, deps: AdmissionDeps) => readonly Cause[];
  /** For the client, when nothing is wrong. */
  readonly warnings?: (object: UnstructuredObject) => readonly string[];
  readonly updateCauses?: (object: UnstructuredObject, old: UnstructuredObject) => readonly Cause[];
}

/** Kinds whose rules need nothing but the object itself. */
const DECLARATIONS: readonly Declaration[] = [
  {
    webhook: 'virtualmachineinstancetype-validator.instancetype.kubevirt.io',
    group: 'instancetype.kubevirt.io',
    resources: ['virtualmachineinstancetypes', 'virtualmachineclusterinstancetypes'],
    causes: (object) => validateInstancetype(object as unknown as kubevirt.VirtualMachineInstancetype),
  },
  {
    webhook: 'virtualmachinepreference-validator.instancetype.kubevirt.io',
    group: 'instancetype.kubevirt.io',
    resources: ['virtualmachinepreferences', 'virtualmachineclusterpreferences'],
    causes: (object) => validatePreference(object as unknown as kubevirt.VirtualMachinePreference),
    warnings: (object) => preferenceWarnings(object as unknown as kubevirt.VirtualMachinePreference),
  },
  {
    webhook: 'migration-policy-validator.kubevirt.io',
    group: 'migrations.kubevirt.io',
    resources: ['migrationpolicies'],
    causes: (object, deps) => validateMigrationPolicy(object as unknown as kubevirt.MigrationPolicy, deps.config()),
  },
  {
    webhook: 'virtualmachinepreset-validator.kubevirt.io',
    group: 'kubevirt.io',
    resources: ['virtualmachineinstancepresets'],
    causes: (object, deps) => validatePreset(object as unknown as kubevirt.VirtualMachineInstancePreset, deps.config()),
  },
  {
    webhook: 'virtualmachinereplicaset-validator.kubevirt.io',
    group: 'kubevirt.io',
    resources: ['virtualmachineinstancereplicasets'],
    causes: (object, deps) => validateReplicaSet(object as unknown as kubevirt.VirtualMachineInstanceReplicaSet, deps.config()),
  },
  {
    webhook: 'virtualmachinesnapshot-validator.snapshot.kubevirt.io',
    group: 'snapshot.kubevirt.io',
    resources: ['virtualmachinesnapshots'],
    gate: { name: 'Snapshot', message: 'snapshot feature gate not enabled' },
    finalizer: VmSnapshotFinalizer.snapshot,
    causes: (object) => validateSnapshot(object as unknown as kubevirt.VirtualMachineSnapshot),
    updateCauses: validateImmutable,
  },
  {
    webhook: 'virtualmachineexport-validator.export.kubevirt.io',
    group: 'export.kubevirt.io',
    resources: ['virtualmachineexports'],
    gate: { name: 'VMExport', message: 'vm export feature gate not enabled' },
    causes: (object) => validateExport(object as unknown as kubevirt.VirtualMachineExport),
    updateCauses: validateImmutable,
  },
];

function handlerOf(declaration: Declaration, deps: AdmissionDeps): AdmissionHandler {
  const { webhook, group, resources, gate, finalizer } = declaration;
  return {
    name: resources[0] ?? webhook,
    rules: [{ group, resources, operations: ['CREATE', 'UPDATE'] }],

    ...(finalizer !== undefined && {
      async mutate({ object, operation }) {
        if (operation !== 'CREATE' || object === undefined) return undefined;
        const finalizers = [...new Set([...(object.metadata.finalizers ?? []), finalizer])];
        return { ...object, metadata: { ...object.metadata, finalizers } };
      },
    }),

    async validate({ object, oldObject }) {
      if (object === undefined || object.metadata.deletionTimestamp !== undefined) return [];
      if (gate && !deps.config().hasGate(gate.name)) refusePlainly(webhook, gate.message);
      // Objects that may not change are checked against their old self only.
      if (oldObject !== undefined && declaration.updateCauses) refuseFor(webhook, declaration.updateCauses(object, oldObject));
      else refuseFor(webhook, declaration.causes(object, deps));
      return declaration.warnings?.(object) ?? [];
    },
  };
}

export function simpleHandlers(deps: AdmissionDeps): readonly AdmissionHandler[] {
  return DECLARATIONS.map((declaration) => handlerOf(declaration, deps));
}
