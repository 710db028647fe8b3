import type { NetworkPolicy, Pod } from '@slipway/api';
import { hostRunner } from '@slipway/hostapi';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type PacketWorld, packetWorld } from '../network/testing/packet-world.ts';
import { podRules } from './pod-rules.ts';
import { policyRuleset } from './policy-ruleset.ts';

const TABLE = 'slipway_f0pol0_policies';
const signal = new AbortController().signal;
const TWO = '10.244.7.2';
const TWO_V6 = 'fd10:244:7::2';

const pod = (name: string, last: number): Pod =>
  ({
    metadata: { name, namespace: 'a', uid: name, labels: { app: name } },
    spec: { nodeName: 'here', containers: [{ name: 'main', ports: [{ name: 'web', containerPort: 8080 }] }] },
    status: { phase: 'Running', podIPs: [{ ip: `10.244.7.${last}` }, { ip: `fd10:244:7::${last}` }] },
  }) as unknown as Pod; // only these fields matter

describe('the rules of policies, in a network', () => {
  let world: PacketWorld;

  const enforce = async (...specs: readonly object[]): Promise<void> => {
    const policies = specs.map((spec, index) => ({ metadata: { name: `p${index}`, namespace: 'a' }, spec }) as NetworkPolicy);
    const pods = podRules({
      policies,
      pods: [pod('two', 2), pod('three', 3)],
      namespaces: new Map([['a', { team: 'a' }]]),
      nodeName: 'here',
    });
    await world.nft.apply(policyRuleset({ table: TABLE, pods }), signal);
  };
  const from = (name: 'pod2' | 'pod3' | 'outside' | 'host', address: string, port = 8080): Promise<string> =>
    world.ask(world[name], address, port);

  beforeAll(async () => {
    world = await packetWorld('f0pol0');
  });
  afterAll(() => world?.close());

  it('let everything pass while no policy selects a pod', async () => {
    await enforce({ podSelector: { matchLabels: { app: 'nobody' } } });
    expect(await from('pod3', TWO)).toBe('pod2 10.244.7.3');
    expect(await from('outside', TWO)).toBe('pod2 192.0.2.9');
  });

  it('deny what nothing allows, but not to the host, whose agent must reach its pods', async () => {
    await enforce({ podSelector: {}, policyTypes: ['Ingress'] });
    expect(await world.askInVain(world.pod3, TWO, 8080)).toBe('silence');
    expect(await world.askInVain(world.pod3, TWO_V6, 8080)).toBe('silence');
    expect(await world.askInVain(world.outside, TWO, 8080)).toBe('silence');
    expect(await from('host', TWO)).toBe('pod2 10.244.7.1');
  });

  it('allow what any policy allows: pods by labels, and one port of them', async () => {
    const podSelector = { matchLabels: { app: 'two' } };
    await enforce(
      { podSelector, policyTypes: ['Ingress'] },
      { podSelector, ingress: [{ from: [{ podSelector: { matchLabels: { app: 'three' } } }], ports: [{ port: 'web' }] }] },
    );
    expect(await from('pod3', TWO)).toBe('pod2 10.244.7.3');
    expect(await from('pod3', TWO_V6)).toBe('pod2 fd10:244:7::3');
    expect(await world.askInVain(world.pod3, TWO, 9090)).toBe('silence');
    expect(await world.askInVain(world.outside, TWO, 8080)).toBe('silence');
    expect(await from('pod2', '10.244.7.3', 9090)).toBe('pod3 10.244.7.2'); // it is not selected
  });

  it('allow networks but for parts of them, and ranges of ports', async () => {
    const from192 = (except: string[]) => ({
      from: [{ ipBlock: { cidr: '192.0.2.0/24', except } }],
      ports: [{ port: 8000, endPort: 8999 }],
    });
    await enforce({ podSelector: {}, ingress: [from192([])] });
    expect(await from('outside', TWO)).toBe('pod2 192.0.2.9');
    expect(await world.askInVain(world.outside, TWO, 9090)).toBe('silence');
    await enforce({ podSelector: {}, ingress: [from192(['192.0.2.8/30'])] });
    expect(await world.askInVain(world.outside, TWO, 8080)).toBe('silence');
  });

  it('hold what pods send, also to the host, and let answers pass', async () => {
    await enforce({ podSelector: { matchLabels: { app: 'three' } }, policyTypes: ['Egress'] });
    expect(await world.askInVain(world.pod3, TWO, 8080)).toBe('silence');
    expect(await world.askInVain(world.pod3, '10.244.7.1', 22)).toBe('silence');
    expect(await from('pod2', '10.244.7.3')).toBe('pod3 10.244.7.2');
    const web = { to: [{ namespaceSelector: { matchLabels: { team: 'a' } } }], ports: [{ port: 'web', protocol: 'TCP' }] };
    await enforce({ podSelector: { matchLabels: { app: 'three' } }, policyTypes: ['Egress'], egress: [web] });
    expect(await from('pod3', TWO)).toBe('pod2 10.244.7.3');
    expect(await world.askInVain(world.pod3, TWO, 9090)).toBe('silence');
    // a pod that has forgotten its router asks for it with its own address
    await hostRunner.run(['ip', '-n', world.pod3, '-6', 'neigh', 'flush', 'dev', 'eth0'], {}, signal);
    expect(await from('pod3', TWO_V6)).toBe('pod2 fd10:244:7::3');
  });

  it('go away with the last policy', async () => {
    await world.nft.deleteTable({ family: 'inet', name: TABLE }, signal);
    expect(await from('pod3', TWO, 9090)).toBe('pod2 10.244.7.3');
  });
});
