import type { kubevirt, VirtualMachineInstance } from '@slipway/api';
import { describe, expect, it } from 'vitest';
import { clusterConfig } from '../config.ts';
import { liveMigrationObstacle, migrationMethod, storageMigrationObstacle } from './live-migratable.ts';

type Devices = kubevirt.Devices;
interface Parts {
  readonly devices?: Devices;
  readonly domain?: object;
  readonly volumes?: kubevirt.Volume[];
  readonly accessModes?: string[];
  readonly annotations?: Record<string, string>;
  readonly networks?: kubevirt.Network[];
}

const disk = (extra: object = {}): kubevirt.Disk => ({ name: 'root', disk: { bus: 'virtio' }, ...extra });
const ROOT: kubevirt.Volume = { name: 'root', persistentVolumeClaim: { claimName: 'claim' } };
const POD: kubevirt.Network = { name: 'default', pod: {} };

function guest({ devices = {}, domain = {}, volumes = [], accessModes, annotations = {}, networks = [] }: Parts) {
  const volumeStatus = accessModes && [
    { name: 'root', target: 'vda', persistentVolumeClaimInfo: { claimName: 'claim', accessModes } },
  ];
  return {
    apiVersion: 'kubevirt.io/v1',
    kind: 'VirtualMachineInstance',
    metadata: { name: 'web', annotations },
    spec: { domain: { devices, ...domain }, volumes, networks },
    status: { ...(volumeStatus && { volumeStatus }) },
  } as VirtualMachineInstance; // as the agent sees it, in what is looked at
}

const local = { devices: { disks: [disk()] }, volumes: [ROOT], accessModes: ['ReadWriteOnce'] };
const bridge = { devices: { interfaces: [{ name: 'default', bridge: {} }] }, networks: [POD] };
const plugin = { devices: { interfaces: [{ name: 'default', binding: { name: 'fast' } }] }, networks: [POD] };
const PLUGINS = { network: { binding: { fast: { migration: {} } } } };

describe('liveMigrationObstacle', () => {
  it.each<[string, Parts, string | undefined, kubevirt.KubeVirtConfiguration?]>([
    ['nothing at all', {}, undefined],
    ['a disk that only this node has', local, undefined],
    ['a shared disk', { ...local, accessModes: ['ReadWriteMany'] }, undefined],
    ['masquerade', { devices: { interfaces: [{ name: 'default', masquerade: {} }] }, networks: [POD] }, undefined],
    ['a bridge on the pod network', bridge, 'InterfaceNotLiveMigratable'],
    ['the same, allowed', { ...bridge, annotations: { 'kubevirt.io/allow-pod-bridge-network-live-migration': '' } }, undefined],
    ['a bridge elsewhere', { ...bridge, networks: [{ name: 'default', multus: { networkName: 'lan' } }] }, undefined],
    ['a plugin', plugin, 'InterfaceNotLiveMigratable'],
    ['a plugin that says it can', plugin, undefined, PLUGINS],
    ['a host device', { devices: { hostDevices: [{ name: 'a', deviceName: 'b' }] } }, 'HostDeviceNotLiveMigratable'],
    ['memory encryption', { domain: { launchSecurity: { sev: {} } } }, 'SEVNotLiveMigratable'],
    ['TDX', { domain: { launchSecurity: { tdx: {} } } }, 'TDXNotLiveMigratable'],
    ['virtiofs', { devices: { filesystems: [{ name: 'share', virtiofs: {} }] } }, 'VirtIOFSNotLiveMigratable'],
    ['a file of the host', { volumes: [{ name: 'root', hostDisk: { path: '/x', type: 'Disk' } }] }, 'DisksNotLiveMigratable'],
    ['a shareable local disk', { ...local, devices: { disks: [disk({ shareable: true })] } }, 'DisksNotLiveMigratable'],
    ['a CD-ROM from a local claim', { ...local, devices: { disks: [{ name: 'root', cdrom: {} }] } }, 'DisksNotLiveMigratable'],
    [
      'a CD-ROM from a shared claim',
      { ...local, accessModes: ['ReadWriteMany'], devices: { disks: [{ name: 'root', cdrom: {} }] } },
      undefined,
    ],
  ])('for %s', (_, parts, reason, configuration = {}) => {
    expect(liveMigrationObstacle(guest(parts), clusterConfig(configuration))?.reason).toBe(reason);
  });

  it('is as KubeVirt has it when that is asked for', () => {
    const strict = clusterConfig({}, { strictLiveMigratable: true });
    expect(liveMigrationObstacle(guest(local), strict)).toEqual({
      reason: 'DisksNotLiveMigratable',
      message:
        'cannot migrate VMI: PVC claim is not shared, live migration requires that all PVCs must be shared (using ReadWriteMany access mode)',
    });
    expect(liveMigrationObstacle(guest({ ...local, accessModes: ['ReadWriteMany'] }), strict)).toBeUndefined();
  });

  it('tells all that is wrong with the storage at once', () => {
    const strict = clusterConfig({}, { strictLiveMigratable: true });
    const both = guest({ ...local, devices: { disks: [disk()], filesystems: [{ name: 'share', virtiofs: {} }] } });
    expect(storageMigrationObstacle(both, strict)?.message).toMatch(/^DisksNotLiveMigratable: .*, VirtIOFSNotLiveMigratable: /);
    expect(storageMigrationObstacle(guest(local), clusterConfig())).toBeUndefined();
  });
});

describe('migrationMethod', () => {
  it.each<[string, Parts, string]>([
    ['without disks', {}, 'LiveMigration'],
    ['with a shared disk', { ...local, accessModes: ['ReadWriteMany'] }, 'LiveMigration'],
    ['with a local disk', local, 'BlockMigration'],
    [
      'with a container disk',
      { devices: { disks: [disk()] }, volumes: [{ name: 'root', containerDisk: { image: 'x' } }] },
      'BlockMigration',
    ],
    [
      'with a container disk as CD-ROM',
      { devices: { disks: [{ name: 'root', cdrom: {} }] }, volumes: [{ name: 'root', containerDisk: { image: 'x' } }] },
      'LiveMigration',
    ],
  ])('%s', (_, parts, method) => expect(migrationMethod(guest(parts))).toBe(method));
});
