import { Label, type Pod, type VirtualMachineInstance, type VmiCalculator } from '@slipway/api';
import { formatQuantity } from '@slipway/apimachinery';
import { pod, vmi } from '@slipway/testkit';
import { describe, expect, it } from 'vitest';
import { podCharge } from './pod-charge.ts';

const launcher = (parts: { nodeName?: string; labels?: Record<string, string>; phase?: string } = {}): Pod =>
  pod('a/virt-launcher-web', {
    metadata: { name: 'virt-launcher-web', namespace: 'a', ...(parts.labels && { labels: parts.labels }) },
    spec: {
      ...(parts.nodeName && { nodeName: parts.nodeName }),
      containers: [{ name: 'compute', image: 'x', resources: { requests: { cpu: '100m', memory: '700Mi' } } }],
    },
    status: { phase: parts.phase ?? 'Running' },
  }).object;
const guest = (status: VirtualMachineInstance['status'] = {}): VirtualMachineInstance =>
  vmi('a/web', {
    spec: { domain: { devices: {}, cpu: { sockets: 2, cores: 2 }, memory: { guest: '2Gi' } } },
    status: { nodeName: 'here', ...status },
  }).object;
const charge = (which: Pod, of: VirtualMachineInstance | undefined, calculator: VmiCalculator): Record<string, string> =>
  Object.fromEntries([...podCharge(which, of, calculator)].map(([name, amount]) => [name, formatQuantity(amount)]));

const AS_POD = {
  'count/pods': '1',
  pods: '1',
  cpu: '100m',
  'requests.cpu': '100m',
  memory: '700Mi',
  'requests.memory': '700Mi',
};
const DEDICATED = (memory: string, cpus: string, count = '1') => ({
  'instances/vmi': count,
  'requests.instances/vmi': count,
  'cpu/vmi': cpus,
  'requests.cpu/vmi': cpus,
  'memory/vmi': memory,
  'requests.memory/vmi': memory,
});
const here = launcher({ nodeName: 'here' });
const target = launcher({ nodeName: 'there', labels: { [Label.migrationJobUid]: 'm' } });
const plugged = { memory: { guestCurrent: '1Gi' }, currentCPUTopology: { sockets: 1, cores: 2, threads: 1 } };

describe('the pod of a guest counts', () => {
  it.each<[string, Pod, VirtualMachineInstance | undefined, VmiCalculator, object]>([
    ['as itself', here, guest(), 'VmiPodUsage', AS_POD],
    ['as any other pod', here, guest(), 'IgnoreVmiCalculator', AS_POD],
    ['as itself without an instance', here, undefined, 'DedicatedVirtualResources', AS_POD],
    [
      'with the memory of the guest',
      here,
      guest(),
      'GuestEffectiveResources',
      { ...AS_POD, memory: '2Gi', 'requests.memory': '2Gi' },
    ],
    [
      'by the size of the guest',
      here,
      guest(),
      'VirtualResources',
      {
        pods: '1',
        'count/pods': '1',
        ...{ cpu: '4', 'requests.cpu': '4', 'limits.cpu': '4' },
        ...{ memory: '2Gi', 'requests.memory': '2Gi', 'limits.memory': '2Gi' },
      },
    ],
    ['under names of its own', here, guest(), 'DedicatedVirtualResources', DEDICATED('2Gi', '4')],
    ['by what is plugged so far', here, guest(plugged), 'DedicatedVirtualResources', DEDICATED('1Gi', '2')],
    ['not twice while it moves', target, guest(), 'DedicatedVirtualResources', DEDICATED('0', '0', '0')],
    ['what the move adds', target, guest(plugged), 'DedicatedVirtualResources', DEDICATED('1Gi', '2', '0')],
    [
      'in full where it has moved',
      launcher({ nodeName: 'here', labels: { [Label.migrationJobUid]: 'm' } }),
      guest(),
      'DedicatedVirtualResources',
      DEDICATED('2Gi', '4'),
    ],
    [
      'as an object once it has ended',
      launcher({ phase: 'Succeeded' }),
      guest(),
      'DedicatedVirtualResources',
      { 'count/pods': '1' },
    ],
  ])('%s', (_, which, of, calculator, expected) => expect(charge(which, of, calculator)).toEqual(expected));
});
