import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { type CommandRunner, hostRunner, ipCommand } from '@slipway/hostapi';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { Cni, type CniAttachment } from './cni.ts';
import { inPod, sh } from './testing/pod-client.ts';

const PREFIX = 'f0c5ov';
const BRIDGE = `${PREFIX}br`;
const { signal } = new AbortController();
const hasOvs = ['/usr/sbin/ovs-vswitchd', '/usr/sbin/ovsdb-server'].every((path) => existsSync(path));

/** An Open vSwitch of the test's own, with the data path of the daemon, which needs no kernel module. */
async function startOvs(directory: string): Promise<void> {
  const db = `unix:${directory}/db.sock`;
  await sh(`cd ${directory}; export OVS_RUNDIR=${directory} OVS_LOGDIR=${directory} OVS_DBDIR=${directory}
ovsdb-tool create conf.db /usr/share/openvswitch/vswitch.ovsschema
ovsdb-server conf.db --remote=p${db} --pidfile=${directory}/db.pid --detach --log-file --verbose=console:off
ovs-vsctl --db=${db} --no-wait init
ovs-vswitchd ${db} --pidfile=${directory}/vs.pid --detach --log-file --verbose=console:off
ovs-vsctl --db=${db} --timeout=30 add-br ${BRIDGE} -- set bridge ${BRIDGE} datapath_type=netdev`);
}

const inNamespaceOf = (netns: string, [program, ...args]: readonly [string, ...string[]]): [string, ...string[]] =>
  program === 'ip' ? ['nsenter', `--net=/run/netns/${netns}`, program, ...args] : [program, ...args];

describe.skipIf(!hasOvs)('a bridge of Open vSwitch', () => {
  const directory = mkdtempSync('/tmp/slipway-ovs-');
  const runner: CommandRunner = {
    run: ([program, ...args], options, aborting) =>
      hostRunner.run(
        program === 'ovs-vsctl' ? [program, `--db=unix:${directory}/db.sock`, ...args] : [program, ...args],
        options,
        aborting,
      ),
  };
  const cni = new Cni({ runner, ip: ipCommand(runner), pluginDirs: [] });
  const attachment = (name: string, vlan: number): CniAttachment => ({
    ...{ podUid: `uid-${name}`, netns: `${PREFIX}-${name}`, ifname: 'net1', hostLink: `${PREFIX}v${name}` },
    ...{ mac: '02:00:00:00:00:01', podName: name, podNamespace: 'default' },
    config: JSON.stringify({ type: 'ovs', bridge: BRIDGE, vlan }),
  });
  const pods = [attachment('a', 7), attachment('b', 7), attachment('c', 8)];

  beforeAll(async () => {
    await startOvs(directory);
    for (const [index, pod] of pods.entries()) {
      await sh(`ip netns add ${pod.netns}`);
      await cni.add(pod, signal);
      await sh(`ip -n ${pod.netns} addr add 192.168.78.${index + 1}/24 dev net1; ip -n ${pod.netns} link set net1 up`);
    }
  }, 60_000);
  afterAll(async () => {
    for (const { netns } of pods) await sh(`ip netns del ${netns} 2>/dev/null; true`);
    for (const name of ['vs', 'db']) process.kill(Number(readFileSync(join(directory, `${name}.pid`), 'utf8')), 'SIGKILL');
    await sh(`ip link del ${BRIDGE} 2>/dev/null; true`);
    rmSync(directory, { recursive: true, force: true });
  });

  it('joins who is in the same VLAN, and nobody else', async () => {
    const ping = (to: number): Promise<string> => inPod(pods[0]?.netns ?? '', `busybox ping -c 1 -W 5 192.168.78.${to}; true`);
    expect(await ping(2)).toContain('1 packets received');
    expect(await ping(3)).toContain(' 0 packets received');
    // TCP too: who sends leaves checksums to a card that is none
    await inPod(pods[1]?.netns ?? '', `echo from-b > ${directory}/page; busybox httpd -p 80 -h ${directory}`);
    const page = await inPod(pods[0]?.netns ?? '', 'timeout 20 busybox wget -q -O - http://192.168.78.2/page');
    await sh(`kill $(ip netns pids ${pods[1]?.netns})`);
    expect(page).toBe('from-b\n');
  }, 60_000);

  it('says so when its daemon does not see the links of a node in another network namespace', async () => {
    const node = `${PREFIX}-node`;
    const stranger = attachment('d', 7);
    const inNode: CommandRunner = {
      run: (argv, options, aborting) => runner.run(inNamespaceOf(node, argv), options, aborting),
    };
    await sh(`ip netns add ${node}; ip netns add ${stranger.netns}`);
    try {
      const there = new Cni({ runner: inNode, ip: ipCommand(inNode), pluginDirs: [] });
      await expect(there.add(stranger, signal)).rejects.toThrow(/Open vSwitch.*another network namespace/);
      expect(await sh(`ovs-vsctl --db=unix:${directory}/db.sock list-ports ${BRIDGE}`)).not.toContain(stranger.hostLink);
    } finally {
      await sh(`ip netns del ${stranger.netns}; ip netns del ${node}`);
    }
  }, 60_000);

  it('is left by who goes', async () => {
    const [, second] = pods;
    if (second === undefined) throw new Error('No pod');
    await cni.check(second, {}, signal);
    await cni.delete(second, {}, signal);
    await expect(cni.check(second, {}, signal)).rejects.toThrow(/Open vSwitch/);
    await cni.delete(second, {}, signal);
    expect(await sh('ip -o link')).not.toContain(second.hostLink);
  }, 60_000);
});
