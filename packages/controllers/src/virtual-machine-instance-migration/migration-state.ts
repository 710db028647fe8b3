import type { Pod, VirtualMachineInstance, VirtualMachineInstanceMigration } from '@slipway/api';
import { MIGRATION_JOB_UID } from '@slipway/virt';

type Migration = VirtualMachineInstanceMigration;

export const MigrationPhase = {
  unset: '',
  pending: 'Pending',
  scheduling: 'Scheduling',
  scheduled: 'Scheduled',
  preparingTarget: 'PreparingTarget',
  targetReady: 'TargetReady',
  running: 'Running',
  succeeded: 'Succeeded',
  failed: 'Failed',
} as const;

/** On an instance: the node that prepares for its guest. */
export const TARGET_NODE_LABEL = 'kubevirt.io/migrationTargetNodeName';

export const MigrationCondition = {
  abortRequested: 'migrationAbortRequested',
  rejectedByQuota: 'migrationRejectedByResourceQuota',
} as const;

export function isFinalMigration({ status }: Migration): boolean {
  return status?.phase === MigrationPhase.succeeded || status?.phase === MigrationPhase.failed;
}

/** It has, or will at once have, a target pod: it counts against the limits. */
export function isRunningMigration(migration: Migration): boolean {
  const phase = migration.status?.phase ?? '';
  return phase !== MigrationPhase.unset && phase !== MigrationPhase.pending && !isFinalMigration(migration);
}

/** Whether the instance's state is that of this migration. */
export function isHandedOff(migration: Migration, vmi: VirtualMachineInstance | undefined): boolean {
  const uid = migration.metadata.uid;
  return uid !== undefined && vmi?.status?.migrationState?.migrationUid === uid;
}

export const migrationOfPod = ({ metadata }: Pod): string | undefined => metadata.labels?.[MIGRATION_JOB_UID];

/** Oldest first; what was created in the same second by name. */
export function byAge(left: Migration, right: Migration): number {
  const key = ({ metadata }: Migration): string => `${metadata.creationTimestamp ?? ''} ${metadata.name ?? ''}`;
  return key(left) < key(right) ? -1 : 1;
}
