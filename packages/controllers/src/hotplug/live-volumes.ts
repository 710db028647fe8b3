import type { kubevirt } from '@slipway/api';
import { deepEqual } from '@slipway/apimachinery';
import { hotpluggableVolumes, isHotpluggable } from '@slipway/virt';
import { withLists } from './volume-requests.ts';

type Spec = kubevirt.VirtualMachineInstanceSpec;

const DEFAULT_BUS = 'scsi';

/**
 * The running instance's volumes and disks with the template's hotpluggable ones; what is permanent stays. Undefined
 * when nothing differs. Hotpluggable CD-ROM volumes fill and empty their drive.
 */
export function liveVolumes(
  template: Spec,
  instance: Spec,
): { readonly volumes: readonly kubevirt.Volume[]; readonly disks: readonly kubevirt.Disk[] } | undefined {
  const wanted = hotpluggableVolumes(template);
  const permanent = (instance.volumes ?? []).filter((volume) => !isHotpluggable(volume));
  const permanentNames = new Set(permanent.map(({ name }) => name));
  const added = wanted.filter(({ name }) => !permanentNames.has(name));
  const disks = instance.domain.devices.disks ?? [];
  const gone = new Set(
    hotpluggableVolumes(instance)
      .map(({ name }) => name)
      .filter((name) => !added.some((volume) => volume.name === name)),
  );
  const kept = disks.filter(({ name, cdrom }) => !gone.has(name) || cdrom !== undefined);
  const fresh = added.filter(({ name }) => !kept.some((disk) => disk.name === name)).map(({ name }) => diskOf(template, name));
  const next = {
    volumes: inOrder(instance.volumes ?? [], [...permanent, ...added]),
    disks: [...kept, ...fresh],
  };
  return deepEqual(next, { volumes: instance.volumes ?? [], disks }) ? undefined : next;
}

/** Volumes that were there keep their place. */
function inOrder(before: readonly kubevirt.Volume[], after: readonly kubevirt.Volume[]): readonly kubevirt.Volume[] {
  const place = (volume: kubevirt.Volume): number => {
    const index = before.findIndex(({ name }) => name === volume.name);
    return index < 0 ? before.length : index;
  };
  return [...after].sort((left, right) => place(left) - place(right));
}

/** Disk of a hotplugged volume; KubeVirt plugs into the SCSI bus unless another one is named. */
function diskOf(template: Spec, name: string): kubevirt.Disk {
  const disk = (template.domain.devices.disks ?? []).find((entry) => entry.name === name) ?? { name };
  if (disk.lun) return { ...disk, lun: { ...disk.lun, bus: disk.lun.bus || DEFAULT_BUS } };
  if (disk.cdrom) return disk;
  return { ...disk, disk: { ...disk.disk, bus: disk.disk?.bus || DEFAULT_BUS } };
}

/** The template without what can be plugged while the guest runs: for telling whether a restart is needed. */
export function withoutPluggableVolumes(spec: Spec): Spec {
  const names = new Set(hotpluggableVolumes(spec).map(({ name }) => name));
  return withLists(
    spec,
    (spec.volumes ?? []).filter(({ name }) => !names.has(name)),
    (spec.domain.devices.disks ?? []).filter(({ name, cdrom }) => !names.has(name) || cdrom !== undefined),
  );
}
