import {
  VirtualMachineInstanceKind,
  type VirtualMachineInstanceMigration,
  VirtualMachineInstanceMigrationKind,
} from '@slipway/api';
import { isObject, type UnstructuredObject } from '@slipway/apimachinery';
import type { AdmissionHandler } from '@slipway/runtime';
import {
  MIGRATION_FINALIZER,
  MIGRATION_SELECTOR_LABEL,
  migrationObstacle,
  validateMigration,
  validateMigrationUpdate,
} from '@slipway/virt';
import type { AdmissionDeps } from './deps.ts';
import { find } from './look-up.ts';
import { refuseFor, refusePlainly } from './refuse.ts';
import type { ShapeCheck } from './shape-check.ts';

const MUTATOR = 'migrations-mutator.kubevirt.io';
const CREATE_VALIDATOR = 'migration-create-validator.kubevirt.io';
const UPDATE_VALIDATOR = 'migration-update-validator.kubevirt.io';

const asMigration = (object: UnstructuredObject): VirtualMachineInstanceMigration =>
  object as unknown as VirtualMachineInstanceMigration; // schema-checked

async function checkInstance(deps: AdmissionDeps, migration: VirtualMachineInstanceMigration, namespace: string): Promise<void> {
  const name = migration.spec.vmiName ?? '';
  const vmi = await find(deps.client, VirtualMachineInstanceKind, { namespace, name });
  if (!vmi) {
    // A receiving migration comes before the instance it creates.
    if (migration.spec.receive === undefined) refusePlainly(CREATE_VALIDATOR, `the VMI "${namespace}/${name}" does not exist`);
    return;
  }
  const { items } = await deps.client.list(VirtualMachineInstanceMigrationKind, { namespace });
  const obstacle = migrationObstacle(vmi, items);
  if (obstacle !== undefined) refusePlainly(CREATE_VALIDATOR, obstacle);
}

/** Migrations: labelled and protected by a finalizer at creation, unchangeable afterwards. */
export function migrationHandler(deps: AdmissionDeps, checkShape: ShapeCheck): AdmissionHandler {
  return {
    name: 'virtual-machine-instance-migration',
    rules: [{ group: 'kubevirt.io', resources: ['virtualmachineinstancemigrations'], operations: ['CREATE', 'UPDATE'] }],

    async mutate({ object, operation }) {
      if (operation !== 'CREATE' || object === undefined) return undefined;
      checkShape(MUTATOR, object);
      if (!isObject(object['spec'])) return undefined;
      const { metadata } = object;
      const finalizers = metadata.finalizers ?? [];
      const vmiName = object['spec']['vmiName'];
      return {
        ...object,
        metadata: {
          ...metadata,
          labels: { ...metadata.labels, [MIGRATION_SELECTOR_LABEL]: typeof vmiName === 'string' ? vmiName : '' },
          finalizers: finalizers.includes(MIGRATION_FINALIZER) ? finalizers : [...finalizers, MIGRATION_FINALIZER],
        },
      };
    },

    async validate({ object, oldObject, namespace, user }) {
      if (object === undefined || object.metadata.deletionTimestamp !== undefined) return [];
      const migration = asMigration(object);
      if (oldObject !== undefined) {
        refuseFor(UPDATE_VALIDATOR, validateMigrationUpdate(migration, asMigration(oldObject)));
        return [];
      }
      refuseFor(CREATE_VALIDATOR, validateMigration(migration, deps.config(), deps.isPlatform(user)));
      await checkInstance(deps, migration, namespace);
      return [];
    },
  };
}
