import type { Node, VirtualMachineInstance, VirtualMachineInstanceMigration } from '@slipway/api';
import { VmiPhase } from '@slipway/api';
import type { MigrationSettings } from '@slipway/virt';
import { isDeleting } from '../virtual-machine-instance/instance-state.ts';
import { byAge, isFinalMigration } from '../virtual-machine-instance-migration/migration-state.ts';
import { evictionStrategyOf, isMigratable } from './eviction-verdict.ts';

type Migration = VirtualMachineInstanceMigration;

/** On a migration: the node it takes its guest away from. */
export const EVACUATION_ANNOTATION = 'kubevirt.io/evacuationMigration';
/** On an instance: who asked for its eviction. */
export const EVICTION_SOURCE = 'kubevirt.io/eviction-source';

const FIRST_BACK_OFF_MS = 20_000;
/** All places are taken: somebody's migration ends. */
const FULL_RETRY_MS = 5_000;
const MAX_BACK_OFF_MS = 30 * 60_000;

export interface EvacuationInput {
  readonly node: Node;
  /** Instances on that node. */
  readonly vmis: readonly VirtualMachineInstance[];
  /** All of the cluster. */
  readonly migrations: readonly Migration[];
  readonly settings: MigrationSettings;
  readonly clusterStrategy: string | undefined;
  readonly nowMs: number;
}

export interface EvacuationPlan {
  readonly migrate: readonly VirtualMachineInstance[];
  /** Instances whose last evacuations have failed, and how long they wait. */
  readonly waiting: readonly { readonly vmi: VirtualMachineInstance; readonly leftMs: number }[];
  readonly retryInMs: number | undefined;
}

/** Whether a guest is asked to leave its node, and may. Pure. */
export function mustLeave(
  vmi: VirtualMachineInstance,
  node: Node,
  settings: MigrationSettings,
  clusterStrategy?: string,
): boolean {
  if (vmi.status?.phase !== VmiPhase.running || isDeleting(vmi)) return false;
  const strategy = evictionStrategyOf(vmi, clusterStrategy);
  // External: somebody else sees the mark and acts
  if (strategy !== 'LiveMigrate' && strategy !== 'LiveMigrateIfPossible') return false;
  const isDrained = (node.spec?.taints ?? []).some(({ key }) => key === settings.nodeDrainTaintKey);
  return (isDrained || vmi.status.evacuationNodeName === node.metadata.name) && isMigratable(vmi);
}

/** Which guests of a node are moved away now. Pure. */
export function planEvacuation(input: EvacuationInput): EvacuationPlan {
  const { node, vmis, migrations, settings, nowMs } = input;
  const active = migrations.filter((one) => !isFinalMigration(one));
  const movesOf = (vmi: VirtualMachineInstance, list: readonly Migration[]): readonly Migration[] =>
    list.filter(({ metadata, spec }) => metadata.namespace === vmi.metadata.namespace && spec.vmiName === vmi.metadata.name);
  const leaving = vmis.filter((vmi) => mustLeave(vmi, node, settings, input.clusterStrategy));
  const idle = leaving.filter((vmi) => movesOf(vmi, active).length === 0);
  const waits = idle.map((vmi) => ({ vmi, leftMs: backOffMs(movesOf(vmi, migrations), nowMs) }));
  const waiting = waits.filter(({ leftMs }) => leftMs > 0);
  const ready = waits.filter(({ leftMs }) => leftMs <= 0).map(({ vmi }) => vmi);
  const fromHere = vmis.filter((vmi) => movesOf(vmi, active).length > 0).length;
  const room = Math.min(
    settings.parallelMigrationsPerCluster - active.length,
    settings.parallelOutboundMigrationsPerNode - fromHere,
  );
  const retries = [...waiting.map(({ leftMs }) => leftMs), ...(ready.length > room ? [FULL_RETRY_MS] : [])];
  return {
    migrate: ready.slice(0, Math.max(0, room)),
    waiting,
    retryInMs: retries.length === 0 ? undefined : Math.min(...retries),
  };
}

/** How long after migrations of a kind that have failed, one after the other, the next one waits: doubled each time. Pure. */
export function backOffMs(migrations: readonly Migration[], nowMs: number, annotation = EVACUATION_ANNOTATION): number {
  const evacuations = migrations
    .filter(({ metadata }) => metadata.annotations?.[annotation] !== undefined)
    .sort(byAge)
    .toReversed();
  const success = evacuations.findIndex(({ status }) => status?.phase !== 'Failed');
  const failures = success < 0 ? evacuations : evacuations.slice(0, success);
  const [last] = failures;
  if (last === undefined) return 0;
  const delayMs = Math.min(MAX_BACK_OFF_MS, FIRST_BACK_OFF_MS * 2 ** (failures.length - 1));
  return Math.max(0, endedMs(last) + delayMs - nowMs);
}

function endedMs({ metadata, status }: Migration): number {
  const entry = status?.phaseTransitionTimestamps?.find(({ phase }) => phase === 'Failed');
  const at = Date.parse(entry?.phaseTransitionTimestamp ?? metadata.creationTimestamp ?? '');
  return Number.isNaN(at) ? 0 : at;
}
