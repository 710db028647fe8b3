import type { kubevirt } from '@slipway/api';
import { describe, expect, it } from 'vitest';
import { withRequests } from './volume-request-queue.ts';

const SPEC: kubevirt.VirtualMachineInstanceSpec = { domain: { devices: { disks: [{ name: 'cd', cdrom: { bus: 'sata' } }] } } };
const add = (name: string, claimName = name): kubevirt.VirtualMachineVolumeRequest => ({
  addVolumeOptions: {
    ...{ name, disk: { name: '', disk: { bus: 'scsi' } } },
    volumeSource: { persistentVolumeClaim: { claimName, hotpluggable: true } },
  },
});
const remove = (name: string): kubevirt.VirtualMachineVolumeRequest => ({ removeVolumeOptions: { name } });
const after = (...requests: kubevirt.VirtualMachineVolumeRequest[]) => {
  const { volumes = [], domain } = withRequests(SPEC, requests);
  return [volumes.map(({ name }) => name), (domain.devices.disks ?? []).map(({ name }) => name)];
};

describe('withRequests', () => {
  it.each([
    ['in order', [add('a'), add('b'), remove('a')], [['b'], ['cd', 'b']]],
    ['those that are followed already change nothing', [add('a'), add('a'), remove('b')], [['a'], ['cd', 'a']]],
    ['a claim is used once', [add('a', 'x'), add('b', 'x')], [['a'], ['cd', 'a']]],
    ['a drive is filled, and stays when it is emptied', [add('cd', 'iso')], [['cd'], ['cd']]],
    ['and', [add('cd', 'iso'), remove('cd')], [[], ['cd']]],
  ])('%s', (_, requests, expected) => {
    expect(after(...requests)).toEqual(expected);
  });
});
