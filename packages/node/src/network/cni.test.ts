import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import { type CommandRunner, type FakeAnswer, fakeRunner, HostError, ipCommand } from '@slipway/hostapi';
import { describe, expect, it } from 'vitest';
import { Cni, type CniAttachment } from './cni.ts';
import type { NetworkRequest } from './cni-request.ts';

const { signal } = new AbortController();
const NO_LINKS = '[]';

const attachment = (vlan?: number): CniAttachment => ({
  podUid: 'u1',
  netns: 'ns1',
  ifname: 'net1',
  hostLink: 'swv1',
  mac: '02:00:00:00:00:01',
  config: JSON.stringify({ cniVersion: '0.4.0', name: 'lab', type: 'bridge', bridge: 'br-lab', vlan }),
  podName: 'p',
  podNamespace: 'default',
});

function cni(links: string, refuseVlan: boolean) {
  const runner = fakeRunner((argv) => {
    if (argv.includes('show')) return links;
    if (refuseVlan && argv.includes('vlan_filtering'))
      return { exitCode: 2, stderr: 'RTNETLINK answers: Operation not supported' };
    return '';
  });
  return { runner, cni: new Cni({ runner, ip: ipCommand(runner), pluginDirs: [] }) };
}

it('makes a bridge that is missing, and says so', async () => {
  const { cni: made, runner } = cni(NO_LINKS, false);
  expect((await made.add(attachment(2003), signal)).createdBridge).toBe('br-lab');
  expect(runner.calls.map(({ argv, stdin }) => `${argv.join(' ')} ${stdin ?? ''}`.trim())).toContain(
    'ip link add br-lab type bridge stp_state 0 forward_delay 0 vlan_filtering 1',
  );
});

it('leaves a bridge of others as it is', async () => {
  const { cni: made, runner } = cni('[{"ifname":"br-lab"}]', false);
  expect((await made.add(attachment(), signal)).createdBridge).toBeUndefined();
  expect(runner.calls.some(({ argv }) => argv.includes('bridge'))).toBe(false);
});

it.each([NO_LINKS, '[{"ifname":"br-lab"}]'])(
  'says when the kernel cannot filter VLANs, and makes nothing (links %s)',
  async (links) => {
    const { cni: made, runner } = cni(links, true);
    await expect(made.add(attachment(2003), signal)).rejects.toThrow(/cannot carry VLAN 2003: .* Leave "vlan" out/);
    expect(runner.calls).toHaveLength(2);
  },
);

describe("the host's plugins", () => {
  const custom = (config: object, request?: NetworkRequest): CniAttachment => ({
    ...attachment(),
    config: JSON.stringify(config),
    ...(request && { request }),
  });
  const chain = {
    cniVersion: '1.0.0',
    name: 'lab',
    plugins: [
      { type: 'macvlan', capabilities: { mac: true, ips: true }, ipam: { type: 'static' } },
      { type: 'cnv-tuning', ipam: { type: 'host-local' } },
    ],
  };
  const RESULT = { cniVersion: '1.0.0', ips: [{ address: '10.9.0.4/24', gateway: '10.9.0.1' }] };

  async function withPlugins<T>(
    answers: Readonly<Record<string, unknown>>,
    use: (made: Cni, runs: Run[]) => Promise<T>,
  ): Promise<T> {
    const pluginDir = await mkdtemp(join(tmpdir(), 'slipway-cni-'));
    for (const type of ['macvlan', 'tuning', 'gc']) await writeFile(join(pluginDir, type), '');
    const runs: Run[] = [];
    const runner = fakeRunner((argv, { env, stdin }) => {
      const command = env?.['CNI_COMMAND'] ?? '';
      runs.push({ type: basename(argv[0] ?? ''), command, config: JSON.parse(String(stdin)), env: env ?? {} });
      const answer = answers[command];
      return answer === undefined ? '' : JSON.stringify(answer);
    });
    try {
      return await use(new Cni({ runner, ip: ipCommand(runner), pluginDirs: [pluginDir] }), runs);
    } finally {
      await rm(pluginDir, { recursive: true });
    }
  }
  interface Run {
    readonly type: string;
    readonly command: string;
    readonly config: Record<string, unknown>;
    readonly env: Readonly<Record<string, string | undefined>>;
  }

  it('run in order, each with the result of the one before, and back in the other order with the last', async () => {
    await withPlugins({ ADD: RESULT }, async (made, runs) => {
      const wanted = custom(chain);
      const { raw, ips } = await made.add(wanted, signal);
      expect(ips).toEqual(['10.9.0.4']);
      await made.check(wanted, raw, signal);
      await made.delete(wanted, raw, signal);
      expect(runs.map(({ type, command, config }) => [type, command, config['prevResult']])).toEqual([
        ['macvlan', 'ADD', undefined],
        ['tuning', 'ADD', RESULT],
        ['macvlan', 'CHECK', RESULT],
        ['tuning', 'CHECK', RESULT],
        ['tuning', 'DEL', RESULT],
        ['macvlan', 'DEL', RESULT],
      ]);
    });
  });

  it('get what is asked of them by capabilities or by arguments', async () => {
    await withPlugins({ ADD: RESULT }, async (made, runs) => {
      await made.add(custom(chain, { ips: ['10.9.0.4/24'], cniArgs: { tier: 'gold' }, deviceId: '0000:03:00.2' }), signal);
      const [first, second] = runs;
      expect(first?.config).toMatchObject({
        runtimeConfig: { mac: '02:00:00:00:00:01', ips: ['10.9.0.4/24'] },
        args: { cni: { tier: 'gold' } },
        deviceID: '0000:03:00.2',
      });
      expect(second?.config).toMatchObject({ args: { cni: { tier: 'gold', ips: ['10.9.0.4/24'] } } });
      expect(second?.config['runtimeConfig']).toBeUndefined();
      expect(first?.env['CNI_ARGS']).toContain('K8S_POD_NAME=p;');
    });
  });

  it('are not asked to check when the network says so, or its version knows no check', async () => {
    await withPlugins({}, async (made, runs) => {
      await made.check(custom({ ...chain, disableCheck: true }), RESULT, signal);
      await made.check(custom({ ...chain, cniVersion: '0.3.1' }), RESULT, signal);
      expect(runs).toEqual([]);
    });
  });

  it('collect garbage when they are of a version that can', async () => {
    const network = (cniVersion: string): string => JSON.stringify({ cniVersion, name: 'lab', type: 'gc' });
    await withPlugins({ VERSION: { supportedVersions: ['1.0.0', '1.1.0'] } }, async (made, runs) => {
      await made.collectGarbage(network('1.0.0'), [attachment()], signal);
      expect(runs).toEqual([]);
      await made.collectGarbage(network('1.1.0'), [attachment()], signal);
      expect(runs.at(-1)).toMatchObject({
        command: 'GC',
        config: { 'cni.dev/valid-attachments': [{ containerID: 'u1', ifname: 'net1' }] },
      });
    });
    await withPlugins({ VERSION: { supportedVersions: ['1.0.0'] } }, async (made, runs) => {
      await made.collectGarbage(network('1.1.0'), [], signal);
      expect(runs.map(({ command }) => command)).toEqual(['VERSION']);
    });
  });
});

describe('bridges of Open vSwitch', () => {
  const ovs = {
    ...attachment(),
    config: '{"type":"ovs","bridge":"br-ovs","vlan":7,"trunk":[{"minID":10,"maxID":12},{"id":20}]}',
  };
  const made = (answer: (argv: readonly string[]) => FakeAnswer | undefined) => {
    const runner = fakeRunner(answer);
    return { runner, cni: new Cni({ runner, ip: ipCommand(runner), pluginDirs: [] }) };
  };

  it('get a port with its VLANs', async () => {
    const { runner, cni: used } = made((argv) => (argv.includes('ofport') ? '3\n[]\n' : ''));
    await used.add(ovs, signal);
    await used.delete(ovs, undefined, signal);
    const lines = runner.calls.filter(({ argv }) => argv[0] === 'ovs-vsctl').map(({ argv }) => argv.slice(2).join(' '));
    expect(lines).toEqual([
      'br-exists br-ovs',
      'get bridge br-ovs datapath_type',
      '--may-exist add-port br-ovs swv1 tag=7 trunks=10,11,12,20 vlan_mode=native-untagged',
      'get interface swv1 ofport error',
      '--if-exists del-port swv1',
    ]);
  });

  it('say what is missing', async () => {
    await expect(made(() => ({ exitCode: 2 })).cni.add(ovs, signal)).rejects.toThrow(/there is no such bridge; make it with/);
    const runner: CommandRunner = {
      run: () => Promise.reject(new HostError('Program "ovs-vsctl" is not installed', { command: 'ovs-vsctl' })),
    };
    const without = new Cni({ runner, ip: ipCommand(runner), pluginDirs: [] });
    await expect(without.add(ovs, signal)).rejects.toThrow(/apt-get install openvswitch-switch/);
  });
});

it('puts a port into a trunk of VLANs', async () => {
  const { cni: used, runner } = cni(NO_LINKS, false);
  const config = '{"type":"cnv-bridge","bridge":"br-lab","vlanTrunk":[{"minID":100,"maxID":102},{"id":7}]}';
  await used.add({ ...attachment(), config }, signal);
  expect(runner.calls.map(({ argv }) => argv.join(' ')).filter((line) => line.startsWith('bridge'))).toEqual([
    'bridge vlan del dev swv1 vid 1',
    'bridge vlan add dev swv1 vid 100-102',
    'bridge vlan add dev swv1 vid 7',
  ]);
});

describe('virtual functions', () => {
  const DEVICE = '0000:03:02.1';
  const network = (more: object = {}): CniAttachment => ({
    ...{ ...attachment(), request: { deviceId: DEVICE } },
    config: JSON.stringify({ cniVersion: '0.4.0', name: 'fast', type: 'sriov', ...more }),
  });
  const made = () => {
    const runner = fakeRunner();
    const portOf = (address: string) => (address === DEVICE ? { link: 'ens1f0', index: 1 } : undefined);
    return { runner, used: new Cni({ runner, ip: ipCommand(runner), pluginDirs: [], portOf }) };
  };

  it('are set up by their physical one, and cleared again', async () => {
    const { runner, used } = made();
    const wanted = network({ vlan: 100, vlanQoS: 2, spoofchk: 'on', trust: 'off', link_state: 'enable', ipam: {} });
    await used.add(wanted, signal);
    await used.delete(wanted, {}, signal);
    expect(runner.calls.map(({ argv }) => argv.join(' '))).toEqual([
      'ip link set dev ens1f0 vf 1 mac 02:00:00:00:00:01 vlan 100 qos 2 spoofchk on trust off state enable',
      'ip link set dev ens1f0 vf 1 mac 00:00:00:00:00:00 vlan 0 state auto',
    ]);
  });

  it.each<[string, object, string | undefined, RegExp]>([
    ['a VLAN that is none', { vlan: '1; x' }, DEVICE, /"vlan" of the SR-IOV network is not a number/],
    ['a word that is none', { trust: 'maybe' }, DEVICE, /"trust" .* none of on, off/],
    ['another binding', {}, undefined, /needs an interface with the binding sriov/],
    ['a device that is gone', {}, '0000:09:00.0', /has no physical function/],
    ['address management', { ipam: { type: 'static' } }, DEVICE, /CNI plugin "sriov" is not installed/],
  ])('refuse %s', async (_, config, deviceId, message) => {
    const { request: _request, ...plain } = network(config);
    await expect(made().used.add({ ...plain, ...(deviceId && { request: { deviceId } }) }, signal)).rejects.toThrow(message);
  });
});
