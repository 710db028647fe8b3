import type { kubevirt, VirtualMachineInstance } from '@slipway/api';

type Spec = kubevirt.VirtualMachineInstanceSpec;

/** A volume that comes and goes while the guest runs: the launcher pod does not carry it. */
export function isHotpluggable(volume: kubevirt.Volume): boolean {
  return (
    volume.persistentVolumeClaim?.hotpluggable === true ||
    volume.dataVolume?.hotpluggable === true ||
    volume.memoryDump !== undefined
  );
}

/** Hotpluggable volumes of a spec, in its order. */
export function hotpluggableVolumes(spec: Pick<Spec, 'volumes'> | undefined): readonly kubevirt.Volume[] {
  return (spec?.volumes ?? []).filter(isHotpluggable);
}

/** The spec without hotpluggable volumes and their disks: what the guest boots with. An empty drive stays. */
export function withoutHotplugVolumes(spec: Spec): Spec {
  const names = new Set(hotpluggableVolumes(spec).map(({ name }) => name));
  if (names.size === 0) return spec;
  const { disks = [] } = spec.domain.devices;
  return {
    ...spec,
    ...(spec.volumes && { volumes: spec.volumes.filter(({ name }) => !names.has(name)) }),
    domain: {
      ...spec.domain,
      devices: { ...spec.domain.devices, disks: disks.filter(({ name, cdrom }) => !names.has(name) || cdrom !== undefined) },
    },
  };
}

/** The instance as its domain is defined at boot; hotplugged disks are attached to that one by one. */
export function bootInstance(vmi: VirtualMachineInstance): VirtualMachineInstance {
  const spec = withoutHotplugVolumes(vmi.spec);
  return spec === vmi.spec ? vmi : { ...vmi, spec };
}
