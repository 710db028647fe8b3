import type { kubevirt, VirtualMachineInstance } from '@slipway/api';

type InstanceSpec = kubevirt.VirtualMachineInstanceSpec;

interface Specs {
  readonly started: InstanceSpec;
  readonly current: InstanceSpec;
}

/**
 * Both specs as they compare for a guest whose disks may have got other claims since its start: it was started from what it
 * has now. `isMoving`: it gets those of the current spec too. Pure.
 */
export function withClaimsOfGuest({ started, current }: Specs, { spec }: VirtualMachineInstance, isMoving: boolean): Specs {
  const claims = new Map((spec.volumes ?? []).map((volume) => [volume.name, claimNameOf(volume)]));
  return {
    started: withClaims(started, (name) => claims.get(name)),
    current: withClaims(current, (name) => (isMoving ? claims.get(name) : undefined)),
  };
}

/** Whether the guest's volumes have the claims that this spec names for them. Pure. */
export function hasClaimsOf({ spec }: VirtualMachineInstance, wanted: InstanceSpec | undefined): boolean {
  const claims = new Map((wanted?.volumes ?? []).map((volume) => [volume.name, claimNameOf(volume)]));
  return (spec.volumes ?? []).every((volume) => !claims.has(volume.name) || claims.get(volume.name) === claimNameOf(volume));
}

const claimNameOf = ({ dataVolume, persistentVolumeClaim }: kubevirt.Volume): string | undefined =>
  dataVolume?.name ?? persistentVolumeClaim?.claimName;

/** A DataVolume's claim has its name. */
function withClaims(spec: InstanceSpec, nameOf: (volume: string) => string | undefined): InstanceSpec {
  if (spec.volumes === undefined) return spec;
  const volumes = spec.volumes.map((volume): kubevirt.Volume => {
    const claimName = claimNameOf(volume);
    const { dataVolume, persistentVolumeClaim, ...rest } = volume;
    const isPluggable = (dataVolume ?? persistentVolumeClaim)?.hotpluggable === true;
    if (claimName === undefined || isPluggable) return volume;
    return { ...rest, persistentVolumeClaim: { ...persistentVolumeClaim, claimName: nameOf(volume.name) ?? claimName } };
  });
  return { ...spec, volumes };
}
