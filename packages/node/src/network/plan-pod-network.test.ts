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

const PLUGINS = {
  sidecar: { sidecarImage: 'reg/x:1', domainAttachmentType: 'tap' },
  empty: {},
  taps: { domainAttachmentType: 'tap', networkAttachmentDefinition: 'default/taps' },
  managed: { domainAttachmentType: 'managedTap' },
};

describe('planPodNetwork', () => {
  it('hides a masqueraded guest behind the address of the pod', () => {
    const devices = { interfaces: [{ name: 'default', masquerade: {}, macAddress: '02:00:00:AA:00:01' }] };
    expect(planPodNetwork(inputs({ networks: [pod], domain: { devices } }))).toMatchSnapshot();
  });

  it('forwards the listed ports only, per protocol', () => {
    const ports = [{ port: 22 }, { port: 80, protocol: 'TCP' }, { port: 53, protocol: 'UDP' }];
    const devices = { interfaces: [{ name: 'default', masquerade: {}, ports }] };
    const { podNft } = planPodNetwork(inputs({ networks: [pod], domain: { devices } }));
    expect(podNft.match(/iifname "eth0" (tcp|udp) dport .*/g)).toEqual([
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
    expect(plan.taps.map(({ tapName }) => (tapName ?? '').length <= 15)).toEqual([true, true]);
  });

  it('keeps generated MAC addresses with the VM', () => {
    const spec = { networks: [pod], domain: { devices: { interfaces: [{ name: 'default', masquerade: {} }] } } };
    const first = planPodNetwork(inputs(spec)).taps[0]?.mac;
    expect(planPodNetwork({ ...inputs(spec), podUid: 'pod-2' }).taps[0]?.mac).toBe(first);
    expect(planPodNetwork({ ...inputs(spec), owner: 'vm-2' }).taps[0]?.mac).not.toBe(first);
    expect(first).toMatch(/^02(:[0-9a-f]{2}){5}$/);
  });

  it.each<[string, object, RegExp]>([
    ['passt', { passtBinding: {} }, /needs a libvirt .* use masquerade/],
    ['a plugin that nobody has registered', { binding: { name: 'none' } }, /is not registered: add it to/],
    ['a plugin with a container', { binding: { name: 'sidecar' } }, /sidecar "reg\/x:1" is a container; .* runs no containers/],
    ['a plugin that makes no device', { binding: { name: 'empty' } }, /neither a domainAttachmentType/],
    ['a plugin with a tap on the pod network', { binding: { name: 'taps' } }, /needs domainAttachmentType "managedTap"/],
    ['a device of the pod network', { sriov: {} }, /use a Multus network/],
  ])('refuses %s, with what to do instead', (_, binding, message) => {
    const devices = { interfaces: [{ name: 'default', ...binding }] };
    expect(() => planPodNetwork({ ...inputs({ networks: [pod], domain: { devices } }), plugins: PLUGINS })).toThrow(message);
  });

  it('joins the tap that it manages for a plugin as for a bridge', () => {
    const of = (binding: object) =>
      planPodNetwork({
        ...inputs({ networks: [pod], domain: { devices: { interfaces: [{ name: 'default', ...binding }] } } }),
        plugins: PLUGINS,
      });
    expect(of({ binding: { name: 'managed' } })).toEqual(of({ bridge: {} }));
  });

  it('leaves the place of the pod network to the network that takes it', () => {
    const networks = [{ name: 'lab', multus: { networkName: 'lab', default: true } }];
    const plan = planPodNetwork(inputs({ networks, domain: { devices: { interfaces: [{ name: 'lab', bridge: {} }] } } }));
    expect(plan).toMatchObject({ hostIp: ['netns add abc123-web'], hostRoutes: [], podIPs: [], podNft: '' });
    expect(plan.attachments).toMatchObject([{ podInterfaceName: 'eth0', tap: { tapName: 'tap0' } }]);
  });

  it('leaves a proxy of Istio its ports, and what it passes on to the guest', () => {
    const base = inputs({ networks: [pod], domain: { devices: { interfaces: [{ name: 'default', masquerade: {} }] } } });
    const vmi = { ...base.vmi, metadata: { ...base.vmi?.metadata, annotations: { 'sidecar.istio.io/inject': 'true' } } };
    const { podNft } = planPodNetwork({ ...base, vmi: vmi as VirtualMachineInstance }); // only networks matter
    expect(podNft.slice(0, podNft.indexOf('table ip6'))).toMatchInlineSnapshot(`
      "table ip slipway
      delete table ip slipway
      table ip slipway {
        chain prerouting {
          type nat hook prerouting priority -100; policy accept;
          iifname "eth0" tcp dport 22 counter dnat to 10.0.2.2
        }
        chain output {
          type nat hook output priority -100; policy accept;
          tcp dport { 15000, 15001, 15004, 15006, 15008, 15009, 15020, 15021, 15053, 15090 } return
          ip daddr { 127.0.0.1, 10.244.0.2 } counter dnat to 10.0.2.2
        }
        chain postrouting {
          type nat hook postrouting priority 100; policy accept;
          ip saddr 10.0.2.2 oifname "eth0" counter masquerade
          oifname "k6t-eth0" ip saddr { 127.0.0.1, 127.0.0.6 } counter snat to 10.0.2.1
        }
        chain untracked {
          type filter hook postrouting priority 101; policy accept;
          ct state invalid tcp flags & (syn | ack) == ack ip saddr 10.0.2.2 oifname "eth0" counter ip saddr set 10.244.0.2
        }
      }
      "
    `);
  });
});
