import type { kubevirt } from '@slipway/api';
import type { ClusterConfig } from '../config.ts';
import { isAmd64 } from '../domain/shape.ts';

type Spec = kubevirt.VirtualMachineInstanceSpec;

/** Appends a disk for each volume that no disk or filesystem uses. */
export function addMissingDisks(spec: Spec): void {
  const { devices } = spec.domain;
  const used = new Set([...(devices.disks ?? []), ...(devices.filesystems ?? [])].map(({ name }) => name));
  for (const volume of spec.volumes ?? []) {
    if (used.has(volume.name) || volume.memoryDump || volume.containerPath) continue;
    devices.disks = [...(devices.disks ?? []), { name: volume.name }];
  }
}

function defaultDisk(disk: kubevirt.Disk, bus: string): void {
  if (!disk.disk && !disk.cdrom && !disk.lun) disk.disk = {};
  for (const target of [disk.disk, disk.cdrom, disk.lun]) if (target) target.bus ||= bus;
  if (!disk.cdrom) return;
  disk.cdrom.readonly ??= true;
  disk.cdrom.tray ||= 'closed';
}

/** How a guest that names no interface is connected. Slirp is discontinued; its guests sat behind NAT, so they still do. */
function defaultBinding({ configuration }: ClusterConfig): 'bridge' | 'masquerade' {
  const configured = configuration.network?.defaultNetworkInterface;
  return configured === 'masquerade' || configured === 'slirp' ? 'masquerade' : 'bridge';
}

/** The pod network and an interface on it, for specs that name neither. */
export function defaultNetwork(spec: Spec, config: ClusterConfig): void {
  const { devices } = spec.domain;
  if (devices.autoattachPodInterface === false) return;
  if ((devices.interfaces ?? []).length > 0 || (spec.networks ?? []).length > 0) return;
  devices.interfaces = [{ name: 'default', [defaultBinding(config)]: {} }];
  spec.networks = [{ name: 'default', pod: {} }];
}

function pullPolicy(image: string): 'Always' | 'IfNotPresent' {
  if (image.includes('@')) return 'IfNotPresent';
  const tag = image.slice(image.lastIndexOf('/') + 1).split(':')[1];
  return tag === undefined || tag === 'latest' ? 'Always' : 'IfNotPresent';
}

function defaultPullPolicies(spec: Spec): void {
  const sources = [
    ...(spec.volumes ?? []).flatMap(({ containerDisk }) => containerDisk ?? []),
    ...[spec.domain.firmware?.kernelBoot?.container].flatMap((container) => container ?? []),
  ];
  for (const source of sources) if (source.image) source.imagePullPolicy ??= pullPolicy(source.image);
}

function defaultWatchdog(watchdog: kubevirt.Watchdog | undefined, architecture: string | undefined): void {
  if (!watchdog) return;
  if (!watchdog.i6300esb && !watchdog.diag288) {
    if (isAmd64(architecture)) watchdog.i6300esb = {};
    else watchdog.diag288 = {};
  }
  for (const model of [watchdog.i6300esb, watchdog.diag288]) if (model) model.action ||= 'reset';
}

/** Fills in disks, network, inputs and watchdog. */
export function defaultDevices(spec: Spec, config: ClusterConfig): void {
  const { devices } = spec.domain;
  addMissingDisks(spec);
  const bus = isAmd64(spec.architecture) ? 'sata' : 'virtio';
  for (const disk of devices.disks ?? []) defaultDisk(disk, bus);
  defaultNetwork(spec, config);
  for (const input of devices.inputs ?? []) {
    input.bus ||= 'usb';
    input.type ||= 'tablet';
  }
  defaultWatchdog(devices.watchdog, spec.architecture);
  defaultPullPolicies(spec);
}
