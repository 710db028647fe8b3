import { clusterConfig, nodeSettings } from '@slipway/virt';
import { describe, expect, it } from 'vitest';
import { type NodeCapabilities, mergedLabels, nodeLabels, nodeStatus } from './node-object.ts';

const identity = { nodeName: 'box', podCidrV4: '10.244.1.0/24', podCidrV6: 'fd10:244:1::/64', addresses: ['192.0.2.1'] };
const host: NodeCapabilities = {
  hostname: 'box',
  architecture: 'amd64',
  cpuCount: 2,
  memoryBytes: 4 * 1024 ** 3,
  diskBytes: 100 * 1024 ** 3,
  kernelVersion: '6.1',
  osImage: 'Debian GNU/Linux 12',
  machineId: 'm',
  bootId: 'b',
  agentVersion: '0.1.0',
  libvirtVersion: '9.0.0',
  kvm: { state: 'unusable', reason: 'the probe guest made no progress' },
  hasVhostNet: false,
  hasVhostVsock: false,
  hugePages: new Map(),
  cpuModels: ['qemu64', 'Nehalem-v1', 'odd name'],
  cpuFeatures: ['sse4.2'],
  hostCpuModel: 'EPYC',
  cpuVendor: 'AMD',
  machineTypes: ['pc-q35-7.2', 'q35'],
};

const settings = nodeSettings(clusterConfig());

describe('the node object', () => {
  it('offers what the configuration leaves it', () => {
    const labels = nodeLabels(identity, host, settings);
    expect(labels['cpu-model.node.kubevirt.io/qemu64']).toBeUndefined();
    expect(labels['node-labeller.kubevirt.io/obsolete-host-model']).toBeUndefined();
    const other = nodeSettings(clusterConfig({ obsoleteCPUModels: { EPYC: true }, virtualMachineInstancesPerNode: 7 }));
    expect(nodeLabels(identity, host, other)).toMatchObject({
      'cpu-model.node.kubevirt.io/qemu64': 'true',
      'node-labeller.kubevirt.io/obsolete-host-model': 'true',
    });
    expect(nodeStatus(identity, host, other, undefined, 'now').capacity?.['devices.kubevirt.io/tun']).toBe('7');
    expect(nodeStatus(identity, host, settings, undefined, 'now').capacity?.['devices.kubevirt.io/tun']).toBe('1k');
  });

  it('labels what guests may ask for, and nothing that is no label', () => {
    const labels = nodeLabels(identity, host, settings);
    expect(labels).toMatchObject({
      'kubevirt.io/schedulable': 'true',
      'cpu-model.node.kubevirt.io/Nehalem-v1': 'true',
      'cpu-feature.node.kubevirt.io/sse4.2': 'true',
      'machine-type.node.kubevirt.io/q35': 'true',
    });
    expect(Object.keys(labels).some((name) => name.includes('odd'))).toBe(false);
  });

  it('keeps labels of people and drops models that QEMU no longer has', () => {
    const current = { rack: '7', 'cpu-model.node.kubevirt.io/486': 'true' };
    expect(mergedLabels(current, { a: 'b' })).toEqual({ rack: '7', a: 'b' });
    const away = { 'kubevirt.io/schedulable': 'false' };
    expect(mergedLabels(away, { 'kubevirt.io/schedulable': 'true' })).toEqual(away);
  });

  it('offers no KVM when it cannot run guests, and says why', () => {
    const status = nodeStatus(identity, host, settings, undefined, '2026-01-01T00:00:00Z');
    expect(status.allocatable?.['devices.kubevirt.io/kvm']).toBe('0');
    expect(status.conditions?.find((condition) => condition.reason === 'KVMUnusable')?.message).toMatch(/TCG.*no progress/);
    expect(status.allocatable?.['memory']).toBe(`${(4 * 1024 - 512) * 1024}Ki`);
  });

  it('offers reserved huge pages, and less of the other memory', () => {
    const hugePages = new Map([['hugepages-2Mi', 512 * 1024]]);
    const { allocatable } = nodeStatus(identity, { ...host, hugePages }, settings, undefined, 'now');
    expect(allocatable?.['hugepages-2Mi']).toBe(`${512 * 1024}Ki`);
    expect(allocatable?.['memory']).toBe(`${(4 * 1024 - 512 - 512) * 1024}Ki`);
  });

  it('is not ready while its host lacks something, and says what to do', () => {
    const lacking = nodeStatus(
      identity,
      { ...host, problem: 'QEMU is not installed: install qemu-system-x86' },
      settings,
      undefined,
      'now',
    );
    expect(lacking.conditions?.find(({ type }) => type === 'Ready')).toMatchObject({
      ...{ status: 'False', reason: 'KubeletNotReady' },
      message: 'This host cannot run guests yet: QEMU is not installed: install qemu-system-x86',
    });
    expect(nodeStatus(identity, host, settings, lacking, 'later').conditions?.find(({ type }) => type === 'Ready')?.status).toBe(
      'True',
    );
  });

  it('keeps the transition time of a condition while its status stays', () => {
    const first = nodeStatus(identity, host, settings, undefined, '2026-01-01T00:00:00Z');
    const later = nodeStatus(
      identity,
      { ...host, kvm: { state: 'usable', reason: '' } },
      settings,
      first,
      '2026-01-02T00:00:00Z',
    );
    const times = Object.fromEntries(later.conditions?.map((condition) => [condition.type, condition.lastTransitionTime]) ?? []);
    expect(times['Ready']).toBe('2026-01-01T00:00:00Z');
    expect(times['slipway.dev/KVMUsable']).toBe('2026-01-02T00:00:00Z');
  });
});
