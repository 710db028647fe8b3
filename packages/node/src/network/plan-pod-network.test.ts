import type { VirtualMachineInstance } from '@slipway/api';
import { describe, expect, it } from 'vitest';
import { hostNames } from './host-names.ts';
import { planPodNetwork, type PodNetworkInputs } from './plan-pod-network.ts';

function inputs(spec: object): PodNetworkInputs {
  return {
    podUid: 'pod-1',
    netns: 'abc123-web',
    tapUid: 60_001,
    vmi: { metadata: { name: 'web', uid: 'vmi-1' }, spec } as VirtualMachineInstance, // only networks matter
    owner: 'vm-1',
    hostname: 'web',
    addresses: { v4: '10.244.0.2', v6: 'fd10:244::2' },
    podCidrV4: '10.244.0.0/24',
    podCidrV6: 'fd10:244::/64',
    mtu: 1450,
    resolver: { nameservers: ['192.0.2.53'], searches: ['example.org'] },
    names: hostNames('abc123'),
  };
}

const pod = { name: 'default', pod: {} };

describe('planPodNetwork', () => {
  it('hides a masqueraded guest behind the address of the pod', () => {
    const devices = { interfaces: [{ name: 'default', masquerade: {}, macAddress: '02:00:00:AA:00:01' }] };
    expect(planPodNetwork(inputs({ networks: [pod], domain: { devices } }))).toMatchSnapshot();
  });

  it('forwards the listed ports only, per protocol', () => {
    const ports = [{ port: 22 }, { port: 80, protocol: 'TCP' }, { port: 53, protocol: 'UDP' }];
    const devices = { interfaces: [{ name: 'default', masquerade: {}, ports }] };
    const { podNft } = planPodNetwork(inputs({ networks: [pod], domain: { devices } }));
    expect(podNft.match(/iifname "eth0" .*/g)).toEqual([
      'iifname "eth0" tcp dport { 22, 80 } counter dnat to 10.0.2.2',
      'iifname "eth0" udp dport { 53 } counter dnat to 10.0.2.2',
      'iifname "eth0" tcp dport { 22, 80 } counter dnat to fd10:0:2::2',
      'iifname "eth0" udp dport { 53 } counter dnat to fd10:0:2::2',
    ]);
  });

  it('uses the networks that the VMI names for its guest', () => {
    const network = { name: 'default', pod: { vmNetworkCIDR: '192.168.66.0/28', vmIPv6NetworkCIDR: 'fd66::/120' } };
    const devices = { interfaces: [{ name: 'default', masquerade: {} }] };
    const plan = planPodNetwork(inputs({ networks: [network], domain: { devices } }));
    expect(plan.guests[0]).toMatchObject({
      v4: { address: '192.168.66.2', prefix: 28, gateway: '192.168.66.1' },
      v6: { address: 'fd66::2', prefix: 120, network: 'fd66::' },
    });
  });

  it.each([
    [{}, 1],
    [{ networkInterfaceMultiqueue: true }, 4],
    [{ networkInterfaceMultiqueue: true, model: 'e1000e' }, 1],
  ])('%j with 4 CPUs: %i queues', (nic: { networkInterfaceMultiqueue?: boolean; model?: string }, queues) => {
    const { model, ...devices } = nic;
    const interfaces = [{ name: 'default', masquerade: {}, model }];
    const plan = planPodNetwork(inputs({ networks: [pod], domain: { cpu: { cores: 4 }, devices: { ...devices, interfaces } } }));
    expect(plan.taps[0]?.queues).toBe(queues);
    expect(plan.podIp.some((line) => line.includes('multi_queue'))).toBe(queues > 1);
  });

  it('connects a second network by names that fit into 15 characters', () => {
    const networks = [pod, { name: 'vlan2003', multus: { networkName: 'default/vlan2003' } }];
    const devices = {
      interfaces: [
        { name: 'default', masquerade: {} },
        { name: 'vlan2003', bridge: {} },
      ],
    };
    const plan = planPodNetwork(inputs({ networks, domain: { devices } }));
    expect(plan.attachments).toMatchSnapshot();
    expect(plan.taps.map(({ tapName }) => tapName.length <= 15)).toEqual([true, true]);
  });

  it('keeps generated MAC addresses with the VM', () => {
    const spec = { networks: [pod], domain: { devices: { interfaces: [{ name: 'default', masquerade: {} }] } } };
    const first = planPodNetwork(inputs(spec)).taps[0]?.mac;
    expect(planPodNetwork({ ...inputs(spec), podUid: 'pod-2' }).taps[0]?.mac).toBe(first);
    expect(planPodNetwork({ ...inputs(spec), owner: 'vm-2' }).taps[0]?.mac).not.toBe(first);
    expect(first).toMatch(/^02(:[0-9a-f]{2}){5}$/);
  });

  it('refuses a binding that it cannot make, with what to use instead', () => {
    const devices = { interfaces: [{ name: 'default', passtBinding: {} }] };
    expect(() => planPodNetwork(inputs({ networks: [pod], domain: { devices } }))).toThrow('passt');
  });
});
