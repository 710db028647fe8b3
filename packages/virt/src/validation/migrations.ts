import { isDeepStrictEqual } from 'node:util';
import type { kubevirt, VirtualMachineInstance, VirtualMachineInstanceMigration } from '@slipway/api';
import type { ClusterConfig } from '../config.ts';
import { milliOf } from '../quantity.ts';
import { type Cause, forbidden, invalid, notSupported, required, when } from './causes.ts';

export const MIGRATION_SELECTOR_LABEL = 'kubevirt.io/vmi-name';
export const MIGRATION_FINALIZER = 'kubevirt.io/migrationJobFinalize';

const FINAL = ['Succeeded', 'Failed'];

/** Rules on the migration alone. */
export function validateMigration(
  migration: VirtualMachineInstanceMigration,
  config: ClusterConfig,
  isPlatform: boolean,
): readonly Cause[] {
  const { vmiName, priority, sendTo, receive } = migration.spec;
  const decentralized = sendTo !== undefined || receive !== undefined;
  return [
    ...when(!vmiName, () => required('spec.vmiName', 'vmiName is missing')),
    ...when(priority !== undefined && !isPlatform, () =>
      forbidden('spec.priority', 'only the virt-controller may set a priority'),
    ),
    ...when(decentralized && !config.hasGate('DecentralizedLiveMigration'), () =>
      invalid('spec', 'DecentralizedLiveMigration feature gate is not enabled in kubevirt-config'),
    ),
    ...when(sendTo !== undefined && receive !== undefined && sendTo.migrationID !== receive.migrationID, () =>
      invalid('spec', 'sendTo migrationID must equal receive migrationID'),
    ),
  ];
}

/** Why this instance cannot be migrated now; undefined when it can. These refusals carry no causes. */
export function migrationObstacle(
  vmi: VirtualMachineInstance,
  others: readonly VirtualMachineInstanceMigration[],
): string | undefined {
  if (FINAL.includes(vmi.status?.phase ?? '')) return 'Cannot migrate VMI in finalized state.';
  const migratable = vmi.status?.conditions?.find(({ type }) => type === 'LiveMigratable');
  if (migratable?.status === 'False')
    return `Cannot migrate VMI, Reason: ${migratable.reason ?? ''}, Message: ${migratable.message ?? ''}`;
  const running = others.find(({ spec, status }) => spec.vmiName === vmi.metadata.name && !FINAL.includes(status?.phase ?? ''));
  if (running)
    return `in-flight migration detected. Active migration job (${running.metadata.uid ?? ''}) is currently already in progress for VMI ${vmi.metadata.name}.`;
  return undefined;
}

/** Rules for changing a migration. */
export function validateMigrationUpdate(
  migration: VirtualMachineInstanceMigration,
  old: VirtualMachineInstanceMigration,
): readonly Cause[] {
  if (!isDeepStrictEqual(migration.spec, old.spec))
    return [notSupported(undefined, "update of Migration object's spec is restricted")];
  const inFlight = !FINAL.includes(old.status?.phase ?? '');
  const changed = migration.metadata.labels?.[MIGRATION_SELECTOR_LABEL] !== old.metadata.labels?.[MIGRATION_SELECTOR_LABEL];
  return when(inFlight && changed && old.metadata.labels?.[MIGRATION_SELECTOR_LABEL] !== undefined, () =>
    notSupported(undefined, "selector label can't be modified on an in-flight migration"),
  );
}

/** Rules for migration policies. */
export function validateMigrationPolicy({ spec }: kubevirt.MigrationPolicy, config: ClusterConfig): readonly Cause[] {
  const { experimental } = spec;
  const gated = (used: boolean, field: string, gate: string): readonly Cause[] =>
    when(used && !config.hasGate(gate), () => invalid(field, `${gate} feature gate is not enabled`));
  return [
    ...when((spec.completionTimeoutPerGiB ?? 0) < 0, () => invalid('spec.completionTimeoutPerGiB', 'must not be negative')),
    ...when(spec.bandwidthPerMigration !== undefined && milliOf(spec.bandwidthPerMigration) < 0n, () =>
      invalid('spec.bandwidthPerMigration', 'must not be negative'),
    ),
    ...when(spec.maxDowntimeMs !== undefined && spec.maxDowntimeMs <= 0, () => invalid('spec.maxDowntimeMs', 'must be positive')),
    ...gated(experimental?.stallDetector !== undefined, 'spec.experimental.stallDetector', 'MigrationStallDetection'),
    ...gated(experimental?.downtimeTuning !== undefined, 'spec.experimental.downtimeTuning', 'MigrationDowntimeTuning'),
    ...when(experimental?.stallDetector !== undefined && experimental.downtimeTuning !== undefined, () =>
      invalid('spec.experimental', 'stallDetector and downtimeTuning are mutually exclusive'),
    ),
  ];
}
