import type { kubevirt, VirtualMachineInstance, VirtualMachineInstanceMigration } from '@slipway/api';
import { VmiCondition, VmiPhase } from '@slipway/api';
import type { MigrationSettings } from '@slipway/virt';
import { backOffMs } from '../evacuation/plan-evacuation.ts';
import { isMigratable } from '../evacuation/eviction-verdict.ts';
import { hasCondition, isDeleting } from '../virtual-machine-instance/instance-state.ts';
import { isFinalMigration } from '../virtual-machine-instance-migration/migration-state.ts';

type Migration = VirtualMachineInstanceMigration;

/** On a migration that was made because its guest runs from an old image, or needs new devices. */
export const WORKLOAD_UPDATE_ANNOTATION = 'kubevirt.io/workloadUpdateMigration';
/** On an instance whose launcher pod is not from the image of this version. */
export const OUTDATED_LABEL = 'kubevirt.io/outdatedLauncherImage';

const DEFAULT_BATCH_SIZE = 10;
const DEFAULT_INTERVAL_MS = 60_000;
const RETRY_MS = 5_000;

export interface WorkloadUpdateInput {
  readonly strategy: kubevirt.KubeVirtWorkloadUpdateStrategy | undefined;
  readonly vmis: readonly VirtualMachineInstance[];
  readonly migrations: readonly Migration[];
  /** Image of launcher pods of this version. */
  readonly image: string;
  readonly settings: MigrationSettings;
  /** When guests were evicted last; undefined: never. */
  readonly lastEvictionMs: number | undefined;
  readonly nowMs: number;
}

export interface WorkloadUpdatePlan {
  /** Instances whose label is wrong, and what it must be. */
  readonly labels: readonly { readonly vmi: VirtualMachineInstance; readonly isOutdated: boolean }[];
  readonly migrate: readonly { readonly vmi: VirtualMachineInstance; readonly priority: 'system-critical' | 'user-triggered' }[];
  readonly evict: readonly VirtualMachineInstance[];
  /** Migrations of this controller for which there is no reason any more. */
  readonly abort: readonly Migration[];
  readonly retryInMs: number | undefined;
}

/** Brings guests to launchers of this version, and to devices that they can only have there. Pure. */
export function planWorkloadUpdates(input: WorkloadUpdateInput): WorkloadUpdatePlan {
  const { vmis, migrations, strategy, nowMs } = input;
  const running = vmis.filter((vmi) => vmi.status?.phase === VmiPhase.running && !isDeleting(vmi));
  const active = migrations.filter((one) => !isFinalMigration(one));
  const methods = strategy?.workloadUpdateMethods ?? [];
  const outdated = (vmi: VirtualMachineInstance): boolean => isOutdated(vmi, input.image);
  const needsMove = (vmi: VirtualMachineInstance): boolean => outdated(vmi) || isMoveRequired(vmi);
  const isBusy = (vmi: VirtualMachineInstance): boolean => active.some((one) => concerns(one, vmi));
  const wanted = running.filter((vmi) => needsMove(vmi) && !isBusy(vmi));
  const movable = methods.includes('LiveMigrate') ? wanted.filter(isMigratable) : [];
  const rested = movable.filter((vmi) => backOffMs(updatesOf(vmi, migrations), nowMs, WORKLOAD_UPDATE_ANNOTATION) <= 0);
  const room = Math.max(0, input.settings.parallelMigrationsPerCluster - active.length);
  const rest = methods.includes('Evict') ? wanted.filter((vmi) => outdated(vmi) && !movable.includes(vmi)) : [];
  const evictions = planEvictions(input, rest);
  const isWaiting = rested.length > room || rested.length < movable.length;
  const retries = [...(isWaiting ? [RETRY_MS] : []), ...(evictions.retryInMs === undefined ? [] : [evictions.retryInMs])];
  return {
    labels: running.flatMap((vmi) =>
      outdated(vmi) === OUTDATED_LABEL in (vmi.metadata.labels ?? {}) ? [] : [{ vmi, isOutdated: outdated(vmi) }],
    ),
    migrate: rested.slice(0, room).map((vmi) => ({ vmi, priority: outdated(vmi) ? 'system-critical' : 'user-triggered' })),
    evict: evictions.evict,
    abort: active.filter(
      (one) => isOurs(one) && !isDeleting(one) && running.some((vmi) => concerns(one, vmi) && !needsMove(vmi)),
    ),
    retryInMs: retries.length === 0 ? undefined : Math.min(...retries),
  };
}

function planEvictions(
  { strategy, lastEvictionMs, nowMs }: WorkloadUpdateInput,
  wanted: readonly VirtualMachineInstance[],
): Pick<WorkloadUpdatePlan, 'evict' | 'retryInMs'> {
  if (wanted.length === 0) return { evict: [], retryInMs: undefined };
  const intervalMs = durationMs(strategy?.batchEvictionInterval);
  const leftMs = lastEvictionMs === undefined ? 0 : lastEvictionMs + intervalMs - nowMs;
  if (leftMs > 0) return { evict: [], retryInMs: leftMs };
  return { evict: wanted.slice(0, strategy?.batchEvictionSize ?? DEFAULT_BATCH_SIZE), retryInMs: intervalMs };
}

const UNITS: Readonly<Record<string, number>> = { ms: 1, s: 1_000, m: 60_000, h: 3_600_000 };

/** A duration such as `1m30s`. */
function durationMs(text: unknown): number {
  const parts = [...(typeof text === 'string' ? text : '').matchAll(/([\d.]+)(ms|s|m|h)/g)];
  if (parts.length === 0) return DEFAULT_INTERVAL_MS;
  return parts.reduce((sum, [, value, unit = '']) => sum + Number(value) * (UNITS[unit] ?? 0), 0);
}

function isOutdated({ status }: VirtualMachineInstance, image: string): boolean {
  const own = status?.launcherContainerImageVersion;
  return own !== undefined && own !== '' && own !== image;
}

/** It wants something that it can only have in another pod. */
function isMoveRequired(vmi: VirtualMachineInstance): boolean {
  return hasCondition(vmi, VmiCondition.migrationRequired);
}

const isOurs = ({ metadata }: Migration): boolean => metadata.annotations?.[WORKLOAD_UPDATE_ANNOTATION] !== undefined;

const concerns = ({ metadata, spec }: Migration, vmi: VirtualMachineInstance): boolean =>
  metadata.namespace === vmi.metadata.namespace && spec.vmiName === vmi.metadata.name;

const updatesOf = (vmi: VirtualMachineInstance, migrations: readonly Migration[]): readonly Migration[] =>
  migrations.filter((one) => concerns(one, vmi));
