import {
  type cdi,
  CDIKind,
  CSIDriverKind,
  type PersistentVolume,
  type StorageClass,
  StorageClassKind,
  type StorageProfile,
  StorageProfileKind,
} from '@slipway/api';
import { type KubeObject, quantityValue, tryParseQuantity } from '@slipway/apimachinery';
import type { Informers, Lister } from '@slipway/runtime';
import { Annotation } from '../constants.ts';
import type { ClaimSpec, CloneFacts } from '../data-volume/complete-claim.ts';
import { planStrategy, type StrategyFacts, type StrategyPlan } from './clone-strategy.ts';

interface PlannerDeps {
  readonly classes: Lister<StorageClass>;
  readonly profiles: Lister<StorageProfile>;
  readonly cdis: Lister<cdi.CDI>;
  readonly csiDrivers: Lister<KubeObject>;
}

export const plannerDeps = (informers: Informers): PlannerDeps => ({
  classes: informers.lister(StorageClassKind),
  profiles: informers.lister(StorageProfileKind),
  cdis: informers.lister(CDIKind),
  csiDrivers: informers.lister(CSIDriverKind),
});

const FILES = 'Filesystem';
/** Provisioners of the node agents take sources without a CSIDriver object. */
const OWN_DRIVER = /\.slipway\.dev$/;

/** Chooses how a claim is cloned, by what its class, its profile and the CDI object say. */
export class ClonePlanner {
  private readonly deps: PlannerDeps;

  constructor(deps: PlannerDeps) {
    this.deps = deps;
  }

  plan(spec: ClaimSpec, source: CloneFacts, requested: string | undefined): StrategyPlan {
    const { classes, profiles, cdis } = this.deps;
    const key = { namespace: '', name: spec.storageClassName ?? '' };
    const profile = profiles.get(key)?.status;
    return planStrategy({
      isSnapshot: source.kind === 'VolumeSnapshot',
      source: { driver: source.driver ?? '', volumeMode: source.volumeMode ?? FILES, sizeBytes: source.capacityBytes },
      target: this.target(spec, classes.get(key)),
      requested,
      override: cdis.list()[0]?.spec.cloneStrategyOverride,
      advised: profile?.cloneStrategy,
      snapshotClass: profile?.snapshotClass,
    });
  }

  private target(spec: ClaimSpec, storageClass: StorageClass | undefined): StrategyFacts['target'] {
    const driver = storageClass?.provisioner ?? '';
    return {
      driver,
      volumeMode: spec.volumeMode ?? FILES,
      sizeBytes: bytesOf(spec.resources?.requests?.['storage']),
      canExpand: storageClass?.allowVolumeExpansion === true,
      canPopulate: OWN_DRIVER.test(driver) || this.deps.csiDrivers.get({ namespace: '', name: driver }) !== undefined,
    };
  }
}

/** The request that the provisioner acts upon, with the chosen strategy and why it is not the wanted one. */
export function cloneAnnotations(
  { kind, namespace, name, node }: Pick<CloneFacts, 'kind' | 'namespace' | 'name' | 'node'>,
  { strategy, fallback }: StrategyPlan,
): Record<string, string> {
  return {
    [kind === 'VolumeSnapshot' ? Annotation.snapshotRequest : Annotation.cloneRequest]: `${namespace}/${name}`,
    [Annotation.cloneType]: strategy,
    ...(fallback && { [Annotation.cloneFallback]: fallback.message }),
    ...(node !== undefined && { [Annotation.selectedNode]: node }),
  };
}

/** Who made a volume, and can clone it. */
export function driverOf({ metadata, spec }: PersistentVolume, storageClass: StorageClass | undefined): string {
  return spec?.csi?.driver ?? metadata.annotations?.['pv.kubernetes.io/provisioned-by'] ?? storageClass?.provisioner ?? '';
}

/** Bytes of a quantity; 0 when it is none. */
export function bytesOf(quantity: unknown): number {
  const parsed = tryParseQuantity(quantity);
  return parsed === undefined ? 0 : Number(quantityValue(parsed));
}
