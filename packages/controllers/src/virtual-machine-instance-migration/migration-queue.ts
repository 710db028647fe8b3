import type { VirtualMachineInstanceMigration } from '@slipway/api';
import type { MigrationSettings } from '@slipway/virt';
import { byAge, isFinalMigration, isRunningMigration } from './migration-state.ts';

type Migration = VirtualMachineInstanceMigration;

/** `spec.priority`, most urgent first; without one a migration comes in where users' do. */
const PRIORITIES = ['system-critical', 'user-triggered', 'system-maintenance'];

const rankOf = ({ spec }: Migration): number => {
  const rank = PRIORITIES.indexOf(spec.priority ?? 'user-triggered');
  return rank < 0 ? PRIORITIES.length : rank;
};

/**
 * Whether a pending migration may begin: so many may run in the cluster and away from one node. Those that wait are taken by
 * priority, then by age; one whose node is busy lets others pass. Pure.
 */
export function hasSlot(
  migration: Migration,
  all: readonly Migration[],
  nodeOf: (migration: Migration) => string | undefined,
  limits: Pick<MigrationSettings, 'parallelMigrationsPerCluster' | 'parallelOutboundMigrationsPerNode'>,
): boolean {
  const running = all.filter(isRunningMigration);
  const perNode = new Map<string, number>();
  const count = (node: string | undefined): number => perNode.get(node ?? '') ?? 0;
  const take = (node: string | undefined): void => void perNode.set(node ?? '', count(node) + 1);
  for (const one of running) take(nodeOf(one));
  let left = limits.parallelMigrationsPerCluster - running.length;
  const waiting = all.filter((one) => !isFinalMigration(one) && !isRunningMigration(one) && !one.metadata.deletionTimestamp);
  const inTurn = waiting.sort((left, right) => rankOf(left) - rankOf(right) || byAge(left, right));
  for (const one of inTurn) {
    const node = nodeOf(one);
    if (left <= 0) return false;
    const isFree = count(node) < limits.parallelOutboundMigrationsPerNode;
    if (one.metadata.uid === migration.metadata.uid) return isFree && node !== undefined;
    // one whose guest does not run yet waits for that first
    if (!isFree || node === undefined) continue;
    take(node);
    left -= 1;
  }
  return false;
}
