// Two nodes on this machine: what they have in common is a link and the API alone.
import { type ImageServer, serveImages, type StatusReport } from '@slipway/daemon';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type GuestShell, guestShell, shellVm } from './src/guest-shell.ts';
import { takeHostSnapshot } from './src/host-snapshot.ts';
import { idleVm } from './src/manifests.ts';
import { guestImage, type Platform, startPlatform } from './src/platform.ts';

interface Node {
  metadata: { name: string; annotations?: Record<string, string> };
  spec: { unschedulable?: boolean };
  status: { addresses: { type: string; address: string }[]; conditions: { type: string; status: string }[] };
}
interface Vmi {
  metadata: { uid: string };
  status?: { phase?: string; nodeName?: string; interfaces?: { ipAddress?: string; ipAddresses?: string[] }[] };
}

const BOOT_MS = 240_000;

describe('two nodes', () => {
  /** What the names of everything on this host bear that belongs to the installation. */
  let marks: string[] = [];
  let platform: Platform;
  let images: ImageServer;
  let nodes: string[] = [];
  const shells: GuestShell[] = [];
  const addresses: string[][] = [];

  const status = async (): Promise<StatusReport> => JSON.parse((await platform.slipway('status', '-o', 'json')).stdout);
  const listNodes = async (): Promise<Node[]> => JSON.parse(await platform.kubectl('get', 'nodes', '-o', 'json')).items;
  const launcherOf = async (name: string): Promise<string> =>
    (await platform.kubectl('get', 'pods', '-l', `app=${name}`, '-o', 'name')).trim();

  beforeAll(async () => {
    const { qcow2Path } = await guestImage('tiny');
    platform = await startPlatform({ nodes: 2 });
    // a node does not see the loopback of this machine
    const config = JSON.parse(readFileSync(join(platform.dataDir, 'instance.json'), 'utf8'));
    const prefixes: string[] = config.nodes.map(({ hostPrefix }: { hostPrefix: string }) => hostPrefix);
    marks = [platform.dataDir, config.id, config.link.networkV4, ...prefixes];
    images = await serveImages({ '/tiny.qcow2': qcow2Path }, config.link.hostV4);
    nodes = (await listNodes()).map(({ metadata }) => metadata.name);
    // one after the other: two guests that boot at once take longer on two processors than one and then the other
    for (const [index, node] of nodes.entries()) {
      const name = `on-${index + 1}`;
      const spec = { nodeSelector: { 'kubernetes.io/hostname': node } };
      await platform.apply(shellVm(name, `${images.url}/tiny.qcow2`, { memory: '128Mi', spec }));
      shells.push(await guestShell(platform, name, '', BOOT_MS));
      const vmi = await platform.until<Vmi>(`vmi ${name}`, () => true);
      expect(vmi.status?.nodeName).toBe(node);
      addresses.push(vmi.status?.interfaces?.[0]?.ipAddresses ?? []);
    }
  }, 600_000);
  afterAll(async () => {
    await images?.close();
    await platform?.destroy();
    // whatever else goes on on this host is no business of this test
    const left = Object.entries(takeHostSnapshot([]).lines).flatMap(([category, lines]) =>
      lines.filter((line) => marks.some((mark) => line.includes(mark))).map((line) => `${category}: ${line}`),
    );
    expect(left).toEqual([]);
  });

  it('are two, each with an address of its own', async () => {
    const list = await listNodes();
    expect(list.map(({ status: { conditions } }) => conditions.find(({ type }) => type === 'Ready')?.status)).toEqual([
      'True',
      'True',
    ]);
    const internal = list.map(({ status: { addresses: all } }) => all.find(({ type }) => type === 'InternalIP')?.address);
    expect(new Set(internal).size).toBe(2);
    const report = await status();
    expect(report.nodes.map(({ linkAddress }) => linkAddress)).toEqual(internal);
    expect(report.nodes.map(({ isLinkUp }) => isLinkUp)).toEqual([true, true]);
  });

  it('let guests meet across the link, each under its own address', async () => {
    const [one, two] = shells;
    const [first = [], second = []] = addresses;
    expect(await one?.run(`ping -c 1 -W 20 ${second[0]}`)).toContain('1 packets received');
    expect(await two?.run(`ping -c 1 -W 20 ${first[0]}`)).toContain('1 packets received');
    // shellVm answers over HTTP: the caller is seen as it is, not as its node
    const script = 'echo seen $REMOTE_ADDR';
    const request = `POST /cgi-bin/run HTTP/1.0\\r\\nContent-Length: ${script.length}\\r\\n\\r\\n${script}`;
    const asked = await one?.run(`printf '${request}' | nc -w 20 ${second[0]} 80`);
    expect(asked).toMatch(new RegExp(`seen .*${first[0]?.replaceAll('.', '\\.')}`));
  });

  it('answer kubectl by the tunnel of the right node', async () => {
    for (const [index, shell] of shells.entries()) {
      const pod = await launcherOf(`on-${index + 1}`);
      expect(await platform.kubectl('exec', pod, '--', 'hostname')).toBe(`on-${index + 1}\n`);
      expect(await platform.kubectl('logs', pod, '--tail', '5')).not.toBe('');
      expect(shell.instanceUid).toBeTruthy();
    }
  });

  it('keep their guests when an agent is killed, which comes back to them', async () => {
    const [, victim] = (await status()).nodes;
    const uptime = async (): Promise<number> => Number((await shells[1]?.run('cut -d" " -f1 /proc/uptime')) ?? 0);
    const uptimeBefore = await uptime();
    process.kill(victim?.pid ?? 0, 'SIGKILL');
    expect(await uptime()).toBeGreaterThanOrEqual(uptimeBefore);
    const pod = await launcherOf('on-2');
    const deadline = Date.now() + 120_000;
    let answer = await platform.tryKubectl('exec', pod, '--', 'hostname');
    while (answer.code !== 0 && Date.now() < deadline) answer = await platform.tryKubectl('exec', pod, '--', 'hostname');
    expect(answer.stdout).toBe('on-2\n');
    expect((await status()).nodes[1]?.pid).not.toBe(victim?.pid);
    expect((await platform.until<Vmi>('vmi on-2', () => true)).metadata.uid).toBe(shells[1]?.instanceUid);
    expect(await uptime()).toBeGreaterThanOrEqual(uptimeBefore);
  });

  it('take what the other is cordoned for', async () => {
    const [first = '', second = ''] = nodes;
    expect((await platform.slipway('node', 'cordon', first)).stdout).toBe(`node/${first} cordoned\n`);
    await platform.apply(idleVm('wandering'));
    const running = await platform.until<Vmi>('vmi wandering', (vmi) => vmi.status?.phase === 'Running', 120_000);
    expect(running.status?.nodeName).toBe(second);
    expect((await platform.slipway('node', 'uncordon', first)).stdout).toBe(`node/${first} uncordoned\n`);
    const { uid } = (await platform.until<{ metadata: { uid: string } }>('vm wandering', () => true)).metadata;
    await platform.until<Node>(
      `node ${second}`,
      ({ metadata }) => metadata.annotations?.['slipway.dev/address-leases']?.includes(uid) === true,
    );
    // the address goes along to the other node
    await platform.kubectl('cordon', second);
    await platform.kubectl('patch', 'vm', 'wandering', '--type=merge', '-p', '{"spec":{"runStrategy":"Halted"}}');
    await platform.until<{ status?: { printableStatus?: string } }>(
      'vm wandering',
      ({ status: now }) => now?.printableStatus === 'Stopped',
      120_000,
    );
    await platform.kubectl('patch', 'vm', 'wandering', '--type=merge', '-p', '{"spec":{"runStrategy":"Always"}}');
    const moved = await platform.until<Vmi>('vmi wandering', (vmi) => vmi.status?.phase === 'Running', 120_000);
    expect(moved.status?.nodeName).toBe(first);
    expect(moved.status?.interfaces?.[0]?.ipAddresses).toEqual(running.status?.interfaces?.[0]?.ipAddresses);
    const visitors = moved.status?.interfaces?.[0]?.ipAddresses ?? [];
    await platform.until<Node>(
      `node ${first}`,
      ({ metadata }) => metadata.annotations?.['slipway.dev/visiting-addresses'] === [...visitors].sort().join(','),
    );
    await platform.kubectl('uncordon', second);
    await platform.kubectl('delete', 'vm', 'wandering', '--wait=true', '--timeout=120s');
  });

  it('say why a VM waits, node by node', async () => {
    const vm = structuredClone(idleVm('lost')) as { spec: { template: { spec: Record<string, unknown> } } };
    vm.spec.template.spec['nodeSelector'] = { rack: 'nowhere' };
    await platform.apply(vm);
    await platform.until<{ status?: { printableStatus?: string } }>(
      'vm lost',
      ({ status: now }) => now?.printableStatus === 'ErrorUnschedulable',
      120_000,
    );
    const { code, stdout } = await platform.slipway('why', 'lost', '-o', 'json');
    const report = JSON.parse(stdout) as { nodes: { node: string; reasons: string[]; details: string[] }[] };
    expect(code).toBe(3);
    expect(report.nodes).toEqual(
      nodes.map((node) => ({
        ...{ node, status: 'Ready', isPossible: false, reasons: ["node(s) didn't match Pod's node affinity/selector"] },
        details: ['nodeSelector wants rack=nowhere; the node has no such label'],
      })),
    );
    await platform.kubectl('delete', 'vm', 'lost', '--wait=true', '--timeout=120s');
  });

  it('refuses to take a node away that has guests', async () => {
    const refused = await platform.slipway('up', '--nodes', '1');
    expect(refused.code).not.toBe(0);
    expect(refused.stderr).toMatch(new RegExp(`Node ${nodes[1]} cannot go: it runs default/on-2 and keeps \\d+ volume`));
    expect((await status()).nodes.map(({ running }) => running)).toEqual([true, true]);
  });

  it('leaves guests running when the platform goes down, and finds them again', async () => {
    const down = await platform.slipway('down');
    expect([down.code, down.stderr]).toEqual([0, expect.stringContaining('guests keep running')]);
    expect(down.stderr).not.toContain('could not tell');
    expect(await shells[1]?.run('echo alone')).toBe('alone\n');
    const up = await platform.slipway('up');
    expect([up.code, up.stderr]).toEqual([0, expect.stringContaining('ready')]);
    const vmi = await platform.until<Vmi>('vmi on-2', ({ status: now }) => now?.phase === 'Running', 120_000);
    expect(vmi.metadata.uid).toBe(shells[1]?.instanceUid);
  });
});
