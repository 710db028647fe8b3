import type { VirtualMachineInstance } from '@slipway/api';
import type { kubevirt } from '@slipway/api';
import type { ClusterConfig } from '../config.ts';
import type { DomainFacts, FirmwareImage, HostTopology, InterfaceFacts, VolumeFacts } from '../domain/facts.ts';
import { planDomain, renderDomain } from '../domain/plan.ts';
import { type GoldenCase, goldenConfig, goldenInstance } from './golden-case.ts';

/** What a recorded case says about its node. */
interface RecordedContext {
  readonly blockVolumes?: readonly string[];
  readonly volumesDiscardIgnore?: readonly string[];
  readonly disksInfo?: Readonly<Record<string, { readonly format?: 'raw' | 'qcow2' }>>;
  readonly cpuSet?: readonly number[];
  readonly topology?: { readonly numa_cells: HostTopology['cells'] };
  readonly env?: Readonly<Record<string, string>>;
  readonly directIO?: boolean;
  readonly allowEmulation?: boolean;
}

const PRIVATE = '/var/run/kubevirt-private';
const EPHEMERAL = '/var/run/kubevirt-ephemeral-disks';

/** Firmware files of a node of a KubeVirt cluster. */
function recordedFirmware(): readonly FirmwareImage[] {
  const image = (code: string, vars: string, features: readonly string[], directory = '/usr/share/OVMF'): FirmwareImage => ({
    code: `${directory}/${code}`,
    vars: `${directory}/${vars}`,
    architecture: directory.endsWith('AAVMF') ? 'aarch64' : 'x86_64',
    features,
  });
  return [
    image('OVMF_CODE.secboot.fd', 'OVMF_VARS.secboot.fd', ['secure-boot', 'enrolled-keys', 'requires-smm']),
    image('OVMF_CODE.fd', 'OVMF_VARS.fd', []),
    image('OVMF_CODE.cc.fd', 'OVMF_VARS.fd', ['amd-sev', 'amd-sev-es']),
    image('AAVMF_CODE.fd', 'AAVMF_VARS.fd', [], '/usr/share/AAVMF'),
  ];
}

const baseName = (path: string): string => path.slice(path.lastIndexOf('/') + 1);

type Placed = Pick<VolumeFacts, 'path' | 'format' | 'isBlock' | 'backing'>;

function claimPlace(name: string, context: RecordedContext, isHotplugged: boolean): Placed {
  const isBlock = context.blockVolumes?.includes(name) ?? false;
  if (isHotplugged) {
    const path = `/var/run/kubevirt/hotplug-disks/${name}`;
    return { path: isBlock ? path : `${path}.img`, format: 'raw', isBlock };
  }
  return { path: isBlock ? `/dev/${name}` : `${PRIVATE}/vmi-disks/${name}/disk.img`, format: 'raw', isBlock };
}

function overlayPlace(name: string, backing: NonNullable<VolumeFacts['backing']>): Placed {
  return { path: `${EPHEMERAL}/disk-data/${name}/disk.qcow2`, format: 'qcow2', backing };
}

function isoPlace(vmi: VirtualMachineInstance, volume: kubevirt.Volume): Placed | undefined {
  const iso = (path: string): Placed => ({ path, format: 'raw' });
  const seed = `${EPHEMERAL}/cloud-init-data/${vmi.metadata.namespace}/${vmi.metadata.name}`;
  if (volume.cloudInitNoCloud) return iso(`${seed}/noCloud.iso`);
  if (volume.cloudInitConfigDrive) return iso(`${seed}/configdrive.iso`);
  if (volume.configMap) return iso(`${PRIVATE}/config-map-disks/${volume.name}.iso`);
  if (volume.secret) return iso(`${PRIVATE}/secret-disks/${volume.name}.iso`);
  if (volume.downwardAPI) return iso(`${PRIVATE}/downwardapi-disks/${volume.name}.iso`);
  if (volume.serviceAccount) return iso(`${PRIVATE}/service-account-disk/service-account.iso`);
  if (volume.sysprep) return iso(`${PRIVATE}/sysprep-disks/${volume.name}.iso`);
  if (volume.downwardMetrics) return iso(`${PRIVATE}/downwardapi-disks/vhostmd0`);
  return undefined;
}

function placeOf(
  vmi: VirtualMachineInstance,
  volume: kubevirt.Volume,
  index: number,
  context: RecordedContext,
): Placed | undefined {
  const { name } = volume;
  const status = vmi.status?.volumeStatus?.find((entry) => entry.name === name);
  if (volume.containerDisk) {
    const path = `/var/run/kubevirt/container-disks/disk_${index}.img`;
    return overlayPlace(name, { path, format: context.disksInfo?.[name]?.format ?? 'qcow2' });
  }
  if (volume.ephemeral) {
    const { path, isBlock = false } = claimPlace(name, context, false);
    return overlayPlace(name, { path, format: 'raw', isBlock });
  }
  if (volume.emptyDisk) return { path: `/var/run/libvirt/empty-disks/${name}.qcow2`, format: 'qcow2' };
  if (volume.hostDisk) return { path: `${PRIVATE}/vmi-disks/${name}/${baseName(volume.hostDisk.path)}`, format: 'raw' };
  if (volume.persistentVolumeClaim ?? volume.dataVolume) return claimPlace(name, context, status?.hotplugVolume !== undefined);
  return isoPlace(vmi, volume);
}

function recordedVolumes(vmi: VirtualMachineInstance, context: RecordedContext): readonly VolumeFacts[] {
  const statuses = vmi.status?.volumeStatus ?? [];
  return (vmi.spec.volumes ?? []).flatMap((volume, index): VolumeFacts[] => {
    // Recorded with a status that does not list the volume: it was not there yet.
    if (statuses.length > 0 && !statuses.some(({ name }) => name === volume.name)) return [];
    const place = placeOf(vmi, volume, index, context);
    if (!place) return [];
    return [
      {
        name: volume.name,
        ...place,
        supportsDirectIO: context.directIO ?? true,
        preallocated: context.volumesDiscardIgnore?.includes(volume.name) ?? false,
      },
    ];
  });
}

function recordedKernel(vmi: VirtualMachineInstance): DomainFacts['kernelBoot'] {
  const container = vmi.spec.domain.firmware?.kernelBoot?.container;
  if (!container) return undefined;
  const file = (path: string | undefined) => path && `/var/run/kubevirt/container-disks/kernel-boot/${baseName(path)}`;
  const [kernel, initrd] = [file(container.kernelPath), file(container.initrdPath)];
  return { ...(kernel && { kernel }), ...(initrd && { initrd }) };
}

/** The facts that a node agent of KubeVirt would have had: KVM, its own directories, no taps yet. */
function recordedFacts(vmi: VirtualMachineInstance, context: RecordedContext, config: ClusterConfig): DomainFacts {
  const sockets = `${PRIVATE}/${vmi.metadata.uid}`;
  const { logSerialConsole } = vmi.spec.domain.devices;
  const interfaces: InterfaceFacts[] = (vmi.spec.domain.devices.interfaces ?? []).map(({ name }) => ({ name }));
  const kernelBoot = recordedKernel(vmi);
  return {
    config,
    accelerator: { kind: 'kvm' },
    allowEmulation: context.allowEmulation ?? false,
    volumes: recordedVolumes(vmi, context),
    interfaces,
    sockets: {
      serialConsole: `${sockets}/virt-serial0`,
      vnc: `${sockets}/virt-vnc`,
      usbRedirPrefix: `${sockets}/virt-usbredir-`,
      downwardMetrics: `${PRIVATE}/downwardmetrics-channel/downwardmetrics.sock`,
      virtiofsDir: '/var/run/kubevirt/virtiofs-containers',
      persistentReservation: '/var/run/kubevirt/daemons/pr/pr-helper.sock',
    },
    logs: logSerialConsole === false ? {} : { serialConsole: `${sockets}/virt-serial0-log` },
    nvramPath: `${PRIVATE}/libvirt/qemu/nvram/${vmi.metadata.name}_VARS.fd`,
    firmware: recordedFirmware(),
    ...(kernelBoot && { kernelBoot }),
    ...(context.cpuSet && { cpuSet: context.cpuSet }),
    ...(context.topology && { topology: { cells: context.topology.numa_cells } }),
    ...(context.env && { env: context.env }),
  };
}

/** What the comparison program gives beside the case, as JSON text. */
export interface GoldenEnvironment {
  readonly context?: string | undefined;
  readonly config?: string | undefined;
}

/**
 * Domain XML of one recorded case, through the planner that real guests use. The case is a parsed document with `input`,
 * `config` and `context`, or a defaulted VMI whose context and configuration come apart.
 */
export function goldenDomainXml(document: object, extra: GoldenEnvironment = {}): string {
  const recorded: GoldenCase = document;
  const context: RecordedContext & Readonly<Record<string, unknown>> =
    recorded.context ?? (extra.context === undefined ? {} : JSON.parse(extra.context));
  const config = goldenConfig(recorded, extra.config);
  const vmi = goldenInstance(recorded, context, config);
  return renderDomain(planDomain(vmi, recordedFacts(vmi, context, config)));
}
