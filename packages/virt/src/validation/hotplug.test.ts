import type { kubevirt } from '@slipway/api';
import { describe, expect, it } from 'vitest';
import { clusterConfig } from '../config.ts';
import { storedInstance } from '../testing.ts';
import { validateVirtualMachineInstance, validateVirtualMachineInstanceUpdate } from './instance.ts';

type Disk = kubevirt.Disk;
type Volume = kubevirt.Volume;

const root: Volume = { name: 'root', containerDisk: { image: 'a/b' } };
const rootDisk: Disk = { name: 'root', disk: { bus: 'virtio' } };
const data: Volume = { name: 'data', persistentVolumeClaim: { claimName: 'c', hotpluggable: true } };

const instance = (volumes: Volume[], disks: Disk[], more: object = {}) =>
  storedInstance({ volumes, ...more, domain: { devices: { disks } } });

/** Field or message of what the platform may not change. */
const faults = (now: ReturnType<typeof instance>, old = instance([root], [rootDisk])): readonly string[] =>
  validateVirtualMachineInstanceUpdate(now, old, { isPlatform: true }).map(({ field, message }) => field ?? message);

describe('what the platform may change in a stored instance', () => {
  it.each<[string, Disk, readonly string[]]>([
    ['a virtio disk', { name: 'data', disk: { bus: 'virtio' } }, []],
    ['a SCSI disk', { name: 'data', disk: { bus: 'scsi' } }, []],
    ['a SCSI LUN', { name: 'data', lun: { bus: 'scsi' } }, []],
    ['a SATA disk', { name: 'data', disk: { bus: 'sata' } }, ['spec.domain.devices.disks[1].disk.bus']],
    ['a virtio LUN', { name: 'data', lun: { bus: 'virtio' } }, ['spec.domain.devices.disks[1].lun.bus']],
    [
      'a SCSI disk with its own IO thread',
      { name: 'data', disk: { bus: 'scsi' }, dedicatedIOThread: true },
      ['spec.domain.devices.disks[1].dedicatedIOThread'],
    ],
  ])('%s', (_, disk, expected) => expect(faults(instance([root, data], [rootDisk, disk]))).toEqual(expected));

  it('wants a disk for each new volume, and a claim behind it', () => {
    const diskless = instance([root, data], [rootDisk]);
    diskless.spec.domain.devices.disks = [rootDisk];
    expect(faults(diskless)).toEqual(['spec.domain.devices.disks']);
    const plain = { name: 'data', emptyDisk: { capacity: '1Gi' } };
    expect(faults(instance([root, plain], [rootDisk, { name: 'data', disk: { bus: 'virtio' } }]))).toEqual(['spec.volumes[1]']);
  });

  it('keeps permanent volumes and disks', () => {
    expect(faults(instance([], []))).toEqual(['Number of permanent volumes has changed: root']);
    const other = { name: 'root', disk: { bus: 'scsi' } } as const;
    expect(faults(instance([root], [other]))).toEqual(['permanent disk root has changed']);
    const image = { name: 'root', containerDisk: { image: 'c/d' } };
    expect(faults(instance([image], [rootDisk]))).toEqual(['permanent volume root has changed']);
  });

  it('lets a disc leave its drive', () => {
    const drive: Disk = { name: 'root', cdrom: { bus: 'sata' } };
    expect(faults(instance([], [drive]), instance([root], [drive]))).toEqual([]);
  });

  it('names utility volumes once, and never at creation', () => {
    const old = instance([root], [rootDisk]);
    const utility = (...names: string[]) => ({ ...old, spec: { ...old.spec, utilityVolumes: names.map(toUtility) } });
    expect(faults(utility('u'), old)).toEqual([]);
    expect(faults(utility('u', 'u'), old)).toEqual(['spec.utilityVolumes[1].name']);
    expect(faults(utility('root'), old)).toEqual(['spec.utilityVolumes[0].name']);
    const config = clusterConfig({ developerConfiguration: { featureGates: ['UtilityVolumes'] } });
    const created = validateVirtualMachineInstance(utility('u'), config, { isPlatform: true });
    expect(created.map(({ field }) => field)).toEqual(['spec.utilityVolumes']);
  });
});

const toUtility = (name: string) => ({ name, claimName: 'c' });
