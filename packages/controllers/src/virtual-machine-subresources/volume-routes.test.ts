import {
  type kubevirt,
  type VirtualMachineInstance,
  VirtualMachineInstanceKind,
  type VirtualMachine,
  VirtualMachineKind,
} from '@slipway/api';
import { StatusError } from '@slipway/apimachinery';
import type { RouteRequest } from '@slipway/runtime';
import { testWorld, vm, vmi } from '@slipway/testkit';
import { clusterConfig } from '@slipway/virt';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { virtualMachineSubresources } from './index.ts';

let world = testWorld({ controllers: [] });
let gates: kubevirt.DeveloperConfiguration = {};
beforeEach(() => {
  world = testWorld({ controllers: [] });
  gates = {};
});
afterEach(() => world.close());

const ROOT: kubevirt.Volume = { name: 'root', persistentVolumeClaim: { claimName: 'root' } };
const ADD = {
  name: 'data',
  disk: { disk: { bus: 'scsi' }, serial: 'S' },
  volumeSource: { persistentVolumeClaim: { claimName: 'c' } },
};
const PLUGGED: kubevirt.Volume = { name: 'data', persistentVolumeClaim: { claimName: 'c', hotpluggable: true } };

const version = { gitVersion: '', gitCommit: '', gitTreeState: '', buildDate: '', goVersion: '', compiler: '', platform: '' };
/** `202`, or the code and message of the refusal. */
async function put(kind: 'virtualmachines' | 'virtualmachineinstances', verb: string, body: unknown): Promise<string> {
  const config = () => clusterConfig({ developerConfiguration: gates });
  const api = virtualMachineSubresources({
    ...{ client: world.client, nodes: world.nodes, version, config },
    expandVm: async (object) => object,
  });
  const route = api.routes.find(({ resource, subresource }) => resource === kind && subresource === verb);
  const request: RouteRequest = {
    ...{ user: { username: 'jane', groups: [] }, method: 'PUT', version: 'v1', namespace: 'default', name: 'web', rest: [] },
    ...{ query: new URLSearchParams(), body, signal: new AbortController().signal },
  };
  try {
    return String((await route?.methods['PUT']?.(request))?.status);
  } catch (error) {
    if (error instanceof StatusError) return `${error.code} ${error.message}`;
    throw error;
  }
}

const template = (): Promise<VirtualMachine> => world.get(VirtualMachineKind, 'web');
const instance = (): Promise<VirtualMachineInstance> => world.get(VirtualMachineInstanceKind, 'web');
const specOf = (volumes: kubevirt.Volume[]) => ({
  domain: { devices: { disks: volumes.map(({ name }) => ({ name })) } },
  volumes,
});
const machine = (volumes: kubevirt.Volume[] = [ROOT]) =>
  vm('web', { spec: { runStrategy: 'Always', template: { spec: specOf(volumes) } } });
const guest = (volumes: kubevirt.Volume[] = [ROOT], phase = 'Running') =>
  vmi('web', { spec: specOf(volumes), status: { phase, nodeName: 'node-a' } });

describe('addvolume and removevolume of a VM', () => {
  it('change the template', async () => {
    await world.with(machine());
    expect(await put('virtualmachines', 'addvolume', ADD)).toBe('202');
    expect((await template()).spec.template.spec).toMatchObject({
      volumes: [ROOT, PLUGGED],
      domain: { devices: { disks: [{ name: 'root' }, { name: 'data', disk: { bus: 'scsi' }, serial: 'S' }] } },
    });
    expect(await put('virtualmachines', 'removevolume', { name: 'data' })).toBe('202');
    expect((await template()).spec.template.spec).toMatchObject(specOf([ROOT]));
  });

  it('change nothing in a dry run', async () => {
    await world.close();
    world = testWorld({ api: 'server', controllers: [] });
    await world.with(machine());
    expect(await put('virtualmachines', 'addvolume', { ...ADD, dryRun: ['All'] })).toBe('202');
    expect((await template()).spec.template.spec?.volumes).toEqual([ROOT]);
  });

  it.each([
    ['addvolume', undefined, /^400 Request with no body/],
    ['addvolume', { ...ADD, name: '' }, /^400 .*requires name/],
    ['addvolume', { ...ADD, disk: undefined }, /^400 .*requires disk/],
    ['addvolume', { ...ADD, volumeSource: undefined }, /^400 .*requires VolumeSource/],
    ['addvolume', { ...ADD, volumeSource: { emptyDisk: {} } }, /^400 .*persistentVolumeClaim/],
    ['addvolume', { ...ADD, name: 'root' }, /^409 .*volume with that name already exists/],
    ['addvolume', { ...ADD, volumeSource: { dataVolume: { name: 'root' } } }, /^409 .*\[root\] because it already exists/],
    ['removevolume', {}, /^400 .*requires name/],
    ['removevolume', { name: 'nix' }, /^409 .*does not exist/],
    ['removevolume', { name: 'root' }, /^409 .*not hotpluggable/],
  ])('%s %j is refused', async (verb, body, expected) => {
    await world.with(machine());
    expect(await put('virtualmachines', verb, body)).toMatch(expected);
  });

  it('are requests in the status with the older gate', async () => {
    gates = { featureGates: ['HotplugVolumes'] };
    await world.with(machine(), guest());
    expect(await put('virtualmachines', 'addvolume', ADD)).toBe('202');
    const vmNow = await template();
    expect(vmNow.spec.template.spec?.volumes).toEqual([ROOT]);
    expect(vmNow.status?.volumeRequests).toMatchObject([{ addVolumeOptions: { name: 'data', volumeSource: PLUGGED_SOURCE } }]);
    expect(await put('virtualmachines', 'addvolume', ADD)).toMatch(/^409 .*request for volume \[data\] already exists/);
  });

  it('need one of the gates', async () => {
    gates = { disabledFeatureGates: ['DeclarativeHotplugVolumes'] };
    await world.with(machine());
    expect(await put('virtualmachines', 'addvolume', ADD)).toMatch(/^400 .*HotplugVolumes/);
  });
});

const PLUGGED_SOURCE = { persistentVolumeClaim: { claimName: 'c', hotpluggable: true } };

describe('addvolume and removevolume of a VMI', () => {
  it('change the running instance', async () => {
    await world.with(guest());
    expect(await put('virtualmachineinstances', 'addvolume', ADD)).toBe('202');
    expect((await instance()).spec.volumes).toEqual([ROOT, PLUGGED]);
    expect(await put('virtualmachineinstances', 'removevolume', { name: 'data' })).toBe('202');
    expect((await instance()).spec).toMatchObject(specOf([ROOT]));
  });

  it('need a running guest that follows no VM', async () => {
    await world.with(guest([ROOT], 'Scheduled'));
    expect(await put('virtualmachineinstances', 'addvolume', ADD)).toMatch(/^409 .*not running/);
    const owner = { apiVersion: 'kubevirt.io/v1', kind: 'VirtualMachine', name: 'web', uid: 'u', controller: true };
    const owned = { ...(await instance()) };
    await world.client.update(VirtualMachineInstanceKind, {
      ...owned,
      metadata: { ...owned.metadata, ownerReferences: [owner] },
      status: { ...owned.status, phase: 'Running' },
    });
    expect(await put('virtualmachineinstances', 'addvolume', ADD)).toBe('400 VMI default/web is owned by a VM');
    gates = { featureGates: ['HotplugVolumes'] };
    expect(await put('virtualmachineinstances', 'addvolume', ADD)).toBe('202');
  });
});
