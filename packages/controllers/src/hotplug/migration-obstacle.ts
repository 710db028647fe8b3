import type { VirtualMachineInstance } from '@slipway/api';

/** Why something of a running instance cannot change now: reason and message of the VM's condition `Failure`. */
export interface ChangeFailure {
  readonly reason: string;
  readonly message: string;
}

/** Whether the guest is on its way to another node. Pure. */
export function isMigrating({ status }: VirtualMachineInstance): boolean {
  const migration = status?.migrationState;
  return migration !== undefined && !migration.completed && !migration.failed;
}

/** Why this cannot be done now; undefined: no migration is in the way. Pure. */
export function migrationObstacle(vmi: VirtualMachineInstance, what: string): string | undefined {
  return isMigrating(vmi) ? `${what} is not allowed while VMI is migrating` : undefined;
}
