import type { kubevirt, VirtualMachineInstance } from '@slipway/api';
import { isHotpluggable } from '../hotplug/volumes.ts';
import { type LauncherContext, PRIVATE_DIR, type PodVolume, VOLUME_DIR, type VolumeDevice, type VolumeMount } from './context.ts';

/** Volumes of the pod with the mounts of the compute container. */
export interface PodVolumes {
  readonly volumes: PodVolume[];
  readonly mounts: VolumeMount[];
  readonly devices: VolumeDevice[];
}

const parentOf = (path: string): string => path.slice(0, path.lastIndexOf('/')) || '/';

/** Claim behind a volume, if there is one. */
export function claimNameOf(volume: kubevirt.Volume): string | undefined {
  return (
    volume.persistentVolumeClaim?.claimName ??
    volume.dataVolume?.name ??
    volume.ephemeral?.persistentVolumeClaim?.claimName ??
    volume.memoryDump?.claimName
  );
}

function addClaim(out: PodVolumes, volume: kubevirt.Volume, claimName: string, context: LauncherContext): void {
  const readOnly = volume.persistentVolumeClaim?.readOnly === true;
  out.volumes.push({ name: volume.name, persistentVolumeClaim: { claimName, ...(readOnly && { readOnly }) } });
  if (context.claims.get(claimName)?.spec?.volumeMode === 'Block')
    out.devices.push({ name: volume.name, devicePath: `/dev/${volume.name}` });
  else out.mounts.push({ name: volume.name, mountPath: `${VOLUME_DIR}/${volume.name}` });
}

interface ConfigVolume {
  readonly directory: string;
  readonly source: Omit<PodVolume, 'name'>;
}

const optionalOf = ({ optional }: { readonly optional?: boolean }) => (optional === undefined ? {} : { optional });

function configVolume({ configMap, secret, downwardAPI, sysprep }: kubevirt.Volume): ConfigVolume | undefined {
  if (configMap)
    return {
      directory: 'config-map',
      source: { configMap: { ...(configMap.name && { name: configMap.name }), ...optionalOf(configMap) } },
    };
  if (secret)
    return {
      directory: 'secret',
      source: { secret: { ...(secret.secretName && { secretName: secret.secretName }), ...optionalOf(secret) } },
    };
  if (downwardAPI) return { directory: 'downwardapi', source: { downwardAPI: { items: downwardAPI.fields ?? [] } } };
  if (sysprep?.secret) return { directory: 'sysprep', source: { secret: { secretName: sysprep.secret.name ?? '' } } };
  if (sysprep?.configMap) return { directory: 'sysprep', source: { configMap: { name: sysprep.configMap.name ?? '' } } };
  return undefined;
}

function addConfig(out: PodVolumes, volume: kubevirt.Volume, shared: boolean): boolean {
  const config = configVolume(volume);
  if (!config) return false;
  const { name } = volume;
  out.volumes.push({ name, ...config.source });
  if (!shared) out.mounts.push({ name, mountPath: `${PRIVATE_DIR}/${config.directory}/${name}`, readOnly: true });
  return true;
}

const SEED_KEYS = { udata: ['userdata', 'userData'], ndata: ['networkdata', 'networkData'] } as const;

function addSeedSecrets(out: PodVolumes, volume: kubevirt.Volume): void {
  const source = volume.cloudInitNoCloud ?? volume.cloudInitConfigDrive;
  const refs = [
    ['udata', source?.secretRef?.name],
    ['ndata', source?.networkDataSecretRef?.name],
  ] as const;
  for (const [kind, secretName] of refs) {
    if (secretName === undefined) continue;
    const name = `${volume.name}-${kind}`;
    out.volumes.push({ name, secret: { secretName } });
    for (const key of SEED_KEYS[kind])
      out.mounts.push({ name, mountPath: `${PRIVATE_DIR}/secret/${volume.name}/${key}`, subPath: key, readOnly: true });
  }
}

function addVolume(out: PodVolumes, vmi: VirtualMachineInstance, volume: kubevirt.Volume, context: LauncherContext): void {
  const shared = (vmi.spec.domain.devices.filesystems ?? []).some(({ name }) => name === volume.name);
  const isDisk = (vmi.spec.domain.devices.disks ?? []).some(({ name }) => name === volume.name);
  const claimName = claimNameOf(volume);
  if (claimName !== undefined) {
    if (!isHotpluggable(volume)) addClaim(out, volume, claimName, context);
    return;
  }
  if (addConfig(out, volume, shared && !isDisk)) return;
  if (volume.hostDisk) {
    const type = volume.hostDisk.type === 'DiskOrCreate' ? 'DirectoryOrCreate' : 'Directory';
    out.volumes.push({ name: volume.name, hostPath: { path: parentOf(volume.hostDisk.path), type } });
    out.mounts.push({ name: volume.name, mountPath: `${VOLUME_DIR}/${volume.name}` });
  } else if (volume.downwardMetrics) {
    out.volumes.push({ name: volume.name, emptyDir: { medium: 'Memory', sizeLimit: '1Mi' } });
    out.mounts.push({ name: volume.name, mountPath: `${PRIVATE_DIR}/downwardmetric-disk` });
  } else addSeedSecrets(out, volume);
}

function addAccessCredentials(out: PodVolumes, vmi: VirtualMachineInstance): void {
  for (const { sshPublicKey, userPassword } of vmi.spec.accessCredentials ?? []) {
    const secretName = (sshPublicKey ?? userPassword)?.source.secret?.secretName;
    if (secretName === undefined) continue;
    const name = `${secretName}-access-cred`;
    if (out.volumes.some((volume) => volume.name === name)) continue;
    out.volumes.push({ name, secret: { secretName } });
    out.mounts.push({ name, mountPath: `${PRIVATE_DIR}/secret/${name}`, readOnly: true });
  }
}

function addBaseDirectories(out: PodVolumes, vmi: VirtualMachineInstance, { profile }: LauncherContext): void {
  const add = (name: string, mountPath: string | undefined, propagation?: 'HostToContainer') => {
    out.volumes.push({ name, emptyDir: {} });
    if (mountPath !== undefined) out.mounts.push({ name, mountPath, ...(propagation && { mountPropagation: propagation }) });
  };
  add('private', PRIVATE_DIR);
  add('public', '/var/run/kubevirt');
  add('sockets', '/var/run/kubevirt/sockets');
  if (profile.helperContainers) add('virt-bin-share-dir', undefined);
  add('libvirt-runtime', '/var/run/libvirt');
  add('ephemeral-disks', '/var/run/kubevirt-ephemeral-disks');
  if (!profile.imageVolumes && profile.helperContainers)
    add('container-disks', '/var/run/kubevirt/container-disks', 'HostToContainer');
  if (!vmi.spec.domain.devices.disableHotplug) add('hotplug-disks', '/var/run/kubevirt/hotplug-disks', 'HostToContainer');
}

function addHugepages(out: PodVolumes): void {
  out.volumes.push({ name: 'hugepages', emptyDir: { medium: 'HugePages' } }, { name: 'hugetblfs-dir', emptyDir: {} });
  out.mounts.push(
    { name: 'hugepages', mountPath: '/dev/hugepages' },
    { name: 'hugetblfs-dir', mountPath: '/dev/hugepages/libvirt/qemu' },
  );
}

function addNetworkInfo(out: PodVolumes, vmi: VirtualMachineInstance, { profile }: LauncherContext): void {
  if (!(vmi.spec.domain.devices.interfaces ?? []).some(({ sriov }) => sriov)) return;
  const [name, path] = profile.currentMetadata
    ? ['network-info-annotation', 'network-info']
    : ['network-pci-map-annotation', 'network-pci-map'];
  const fieldPath = `metadata.annotations['kubevirt.io/${path}']`;
  out.volumes.push({ name, downwardAPI: { items: [{ path, fieldRef: { fieldPath } }] } });
  out.mounts.push({ name, mountPath: '/etc/podinfo' });
}

const STATE_PATHS = [
  ['swtpm', '/var/lib/libvirt/swtpm'],
  ['swtpm-localca', '/var/lib/swtpm-localca'],
  ['nvram', `${PRIVATE_DIR}/libvirt/qemu/nvram`],
] as const;

function addState(out: PodVolumes, { stateClaim }: LauncherContext): void {
  if (stateClaim === undefined) return;
  out.volumes.push({ name: 'vm-state', persistentVolumeClaim: { claimName: stateClaim } });
  for (const [subPath, mountPath] of STATE_PATHS) out.mounts.push({ name: 'vm-state', mountPath, subPath });
}

/** All volumes of a launcher pod. */
export function podVolumes(vmi: VirtualMachineInstance, context: LauncherContext): PodVolumes {
  const out: PodVolumes = { volumes: [], mounts: [], devices: [] };
  addBaseDirectories(out, vmi, context);
  for (const volume of vmi.spec.volumes ?? []) addVolume(out, vmi, volume, context);
  addAccessCredentials(out, vmi);
  if (vmi.spec.domain.memory?.hugepages) addHugepages(out);
  addNetworkInfo(out, vmi, context);
  addState(out, context);
  return out;
}
