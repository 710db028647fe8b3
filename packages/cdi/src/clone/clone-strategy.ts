import type { CloneStrategy } from '../storage-profile/capabilities.ts';

/** One side of a clone. */
export interface CloneSide {
  /** Provisioner of the volume, or driver of the snapshot. */
  readonly driver: string;
  readonly volumeMode: string;
  readonly sizeBytes: number;
}

export interface StrategyFacts {
  readonly isSnapshot: boolean;
  readonly source: CloneSide;
  readonly target: CloneSide & {
    readonly canExpand: boolean;
    /** The provisioner takes a source; else somebody has to copy. */
    readonly canPopulate: boolean;
  };
  /** Asked for by the author of the clone. */
  readonly requested?: string | undefined;
  /** `spec.cloneStrategyOverride` of the CDI object. */
  readonly override?: string | undefined;
  /** `status.cloneStrategy` of the target class's StorageProfile. */
  readonly advised?: string | undefined;
  readonly snapshotClass?: string | undefined;
}

/** Why the wanted strategy cannot be had; the reason is that of CDI's event. */
export interface Fallback {
  readonly reason: string;
  readonly message: string;
}

export interface StrategyPlan {
  readonly strategy: CloneStrategy;
  readonly fallback?: Fallback;
}

const STRATEGIES: readonly string[] = ['copy', 'snapshot', 'csi-clone'] satisfies readonly CloneStrategy[];

/** How a claim gets the content of its source: the strategy that is wanted, or a copy and the reason. Pure. */
export function planStrategy(facts: StrategyFacts): StrategyPlan {
  const wanted = wantedStrategy(facts);
  if (wanted === 'copy') return { strategy: 'copy' };
  const obstacle = obstacleTo(wanted, facts);
  return obstacle === undefined ? { strategy: wanted } : { strategy: 'copy', fallback: obstacle };
}

function wantedStrategy({ isSnapshot, requested, override, advised }: StrategyFacts): CloneStrategy {
  const wanted = [requested, override, advised].find((text) => text !== undefined && STRATEGIES.includes(text)) ?? 'snapshot';
  // a snapshot is restored or copied, there is nothing to clone
  return isSnapshot && wanted === 'csi-clone' ? 'snapshot' : (wanted as CloneStrategy); // checked by the search
}

function obstacleTo(wanted: CloneStrategy, { isSnapshot, source, target, snapshotClass }: StrategyFacts): Fallback | undefined {
  if (!target.canPopulate) return { reason: 'NoPopulator', message: 'In tree storage class does not support snapshot/clone' };
  if (source.driver !== target.driver)
    return isSnapshot
      ? {
          reason: 'NoProvisionerMatch',
          message: `The snapshot is one of ${source.driver || 'no driver'}, the target class is one of ${target.driver}`,
        }
      : {
          reason: 'IncompatibleProvisioners',
          message: `The source is a volume of ${source.driver || 'no provisioner'}, the target class is one of ${target.driver}`,
        };
  if (source.volumeMode !== target.volumeMode)
    return {
      reason: 'IncompatibleVolumeModes',
      message: `The volume mode of the source is ${source.volumeMode}, that of the target ${target.volumeMode}`,
    };
  if (target.sizeBytes > source.sizeBytes && !target.canExpand)
    return {
      reason: 'NoVolumeExpansion',
      message: 'The target is larger than the source, and its class does not expand volumes',
    };
  if (wanted === 'snapshot' && !isSnapshot && snapshotClass === undefined)
    return { reason: 'NoVolumeSnapshotClass', message: `There is no VolumeSnapshotClass for ${target.driver}` };
  return undefined;
}
