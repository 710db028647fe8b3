import { type ImageServer, serveImages } from '@slipway/daemon';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { importedVm } from './src/manifests.ts';
import { guestImage, type Platform, ROOT, startPlatform } from './src/platform.ts';
import { openTerminal, type Terminal } from './src/terminal.ts';

/** `SLIPWAY_E2E_LONG=1` plugs twenty disks, an interface, vCPUs and memory, and kills the agent meanwhile. */
const isLong = process.env['SLIPWAY_E2E_LONG'] === '1';
const DISKS = 20;

interface Vmi {
  spec: { domain: { devices: { interfaces?: { name: string }[]; disks?: { name: string }[] } } };
  status?: {
    phase?: string;
    conditions?: { type: string; status: string; reason?: string; message?: string }[];
    volumeStatus?: { name: string; phase?: string; reason?: string; target?: string }[];
    interfaces?: { name: string; linkState?: string; mac?: string }[];
    currentCPUTopology?: { sockets?: number };
    memory?: { guestCurrent?: string };
  };
}

const condition = ({ status }: Vmi, type: string) => status?.conditions?.find((entry) => entry.type === type);
const hasAgent = (vmi: Vmi): boolean => condition(vmi, 'AgentConnected')?.status === 'True';
const volume = ({ status }: Vmi, name: string) => status?.volumeStatus?.find((entry) => entry.name === name);
const isReady = (vmi: Vmi, name: string): boolean => volume(vmi, name)?.phase === 'Ready';

const blankDisk = (name: string): object => ({
  apiVersion: 'cdi.kubevirt.io/v1beta1',
  kind: 'DataVolume',
  metadata: { name },
  spec: { source: { blank: {} }, storage: { resources: { requests: { storage: '16Mi' } } } },
});

const dataVolume = (name: string): object => ({ name, dataVolume: { name } });

/** An instance whose firmware finds nothing to boot, which is all that these tests need. */
const idleInstance = (name: string, disks: object[], volumes: object[]) => ({
  ...{ apiVersion: 'kubevirt.io/v1', kind: 'VirtualMachineInstance', metadata: { name } },
  spec: { domain: { memory: { guest: '64Mi' }, devices: { disks } }, terminationGracePeriodSeconds: 0, volumes },
});

describe('a running guest', () => {
  let platform: Platform;
  let images: ImageServer;
  const stops: (() => void)[] = [];

  beforeAll(async () => {
    const { qcow2Path } = await guestImage('tiny');
    images = await serveImages({ '/tiny.qcow2': qcow2Path });
    platform = await startPlatform();
    await platform.apply(importedVm('box', `${images.url}/tiny.qcow2`, { memory: isLong ? '1Gi' : '128Mi' }));
    await platform.apply(blankDisk('extra'));
    await platform.until<Vmi>('vmi box', hasAgent, 120_000);
  }, 240_000);

  afterAll(async () => {
    for (const stop of stops) stop();
    await images?.close();
    await platform?.destroy();
  });

  const virt = async (...args: string[]): Promise<void> => {
    const { code, stderr } = await platform.slipway('virt', ...args);
    expect(code, stderr).toBe(0);
  };
  const patch = (template: object): Promise<string> =>
    platform.kubectl('patch', 'vm', 'box', '--type=merge', '-p', JSON.stringify({ spec: { template: { spec: template } } }));

  const login = async (): Promise<Terminal> => {
    const terminal = openTerminal([`${ROOT}/slipway`, 'virt', 'console', 'box'], {
      ...process.env,
      KUBECONFIG: platform.kubeconfig,
    });
    stops.push(() => terminal.close());
    await terminal.expect(/Successfully connected/);
    terminal.type('\n');
    await terminal.expect(/login: $/);
    await terminal.answer('demo', /[Pp]assword: $/);
    await terminal.answer('secret', /[$#] /);
    return terminal;
  };
  /** Runs a command in the guest when a condition of its own holds; the marks are not in the echo of what was typed. */
  const inGuest = async (terminal: Terminal, until: string, command: string): Promise<string> => {
    const line = `until ${until}; do sleep 0.2; done; echo begin-$((40+1)); ${command}; echo over-$((40+2))`;
    const printed = await terminal.answer(line, /over-42/, 90_000);
    return printed.slice(printed.indexOf('begin-41'));
  };

  it('takes a disk, keeps what is written to it, and gives it back', async () => {
    const terminal = await login();
    await virt('addvolume', 'box', '--volume-name=extra');
    const attached = await platform.until<Vmi>('vmi box', (vmi) => isReady(vmi, 'extra'), 90_000);
    expect(volume(attached, 'extra')).toMatchObject({ target: 'sda', hotplugVolume: { attachPodName: expect.any(String) } });
    const written = await inGuest(
      terminal,
      '[ -b /dev/sda ]',
      'sudo sh -c "echo kept-in-the-disk | dd of=/dev/sda conv=sync,fsync 2>/dev/null; head -c 16 /dev/sda"',
    );
    expect(written).toContain('kept-in-the-disk');

    await virt('removevolume', 'box', '--volume-name=extra');
    await platform.until<Vmi>('vmi box', (vmi) => volume(vmi, 'extra') === undefined, 90_000);
    await inGuest(terminal, '[ ! -e /sys/block/sda ]', 'true');

    await virt('addvolume', 'box', '--volume-name=extra', '--bus=virtio', '--serial=again');
    await platform.until<Vmi>('vmi box', (vmi) => isReady(vmi, 'extra'), 90_000);
    const read = await inGuest(terminal, '[ -b /dev/vdc ]', 'sudo head -c 16 /dev/vdc; cat /sys/block/vdc/serial');
    expect(read).toMatch(/kept-in-the-disk[\s\S]*again/);
    const again = await platform.slipway('virt', 'addvolume', 'box', '--volume-name=extra');
    expect([again.code, again.stderr]).toEqual([1, expect.stringContaining('volume with that name already exists')]);
  }, 300_000);

  it('may share a disk with another one, when both say so', async () => {
    const user = (name: string, shareable: boolean): object =>
      idleInstance(name, [{ name: 'quorum', shareable, disk: { bus: 'virtio' } }], [dataVolume('quorum')]);
    await platform.apply(blankDisk('quorum'));
    for (const name of ['one', 'two']) await platform.apply(user(name, true));
    for (const name of ['one', 'two'])
      await platform.until<Vmi>(`vmi ${name}`, ({ status }) => status?.phase === 'Running', 120_000);
    await platform.apply(user('three', false));
    const refusal = ({ items }: { items: { message?: string; involvedObject: { name: string } }[] }): boolean =>
      items.some(({ message, involvedObject }) => involvedObject.name === 'three' && message?.includes('shareable in both VMs'));
    await platform.until('event --field-selector=reason=SyncFailed', refusal, 120_000);
    await platform.kubectl('delete', 'vmi', 'one', 'two', 'three', '--timeout=120s');
  }, 400_000);

  it('gets a disc into its empty drive and gives it back; the drive stays', async () => {
    const drive = { name: 'tray', cdrom: { bus: 'sata' } };
    const scratch = { name: 'scratch', disk: { bus: 'virtio' } };
    const emptyDisk = { name: 'scratch', emptyDisk: { capacity: '16Mi' } };
    const { metadata: _, ...template } = idleInstance('player', [scratch, drive], [emptyDisk]);
    await platform.apply(blankDisk('disc'));
    await platform.apply({
      ...{ apiVersion: 'kubevirt.io/v1', kind: 'VirtualMachine', metadata: { name: 'player' } },
      spec: { runStrategy: 'Always', template: { spec: template.spec } },
    });
    await platform.until<Vmi>('vmi player', ({ status }) => status?.phase === 'Running', 120_000);
    const load = (volumes: object[]): Promise<string> => {
      const spec = { template: { spec: { volumes: [emptyDisk, ...volumes] } } };
      return platform.kubectl('patch', 'vm', 'player', '--type=merge', '-p', JSON.stringify({ spec }));
    };
    await load([{ name: 'tray', dataVolume: { name: 'disc', hotpluggable: true } }]);
    const loaded = await platform.until<Vmi>('vmi player', (vmi) => isReady(vmi, 'tray'), 120_000);
    expect(volume(loaded, 'tray')?.target).toBe('sda');
    await load([]);
    const emptied = await platform.until<Vmi>('vmi player', (vmi) => volume(vmi, 'tray') === undefined, 120_000);
    expect(emptied.spec.domain.devices.disks?.map(({ name }) => name)).toEqual(['scratch', 'tray']);
    await platform.kubectl('delete', 'vm', 'player', '--timeout=120s');
  }, 500_000);

  describe.runIf(isLong)('also', () => {
    it(`takes ${DISKS} disks while its agent is killed, and has them again after a restart`, async () => {
      const names = Array.from({ length: DISKS }, (_, index) => `disk-${index}`);
      for (const name of names) await platform.apply(blankDisk(name));
      for (const [index, name] of names.entries()) {
        await virt('addvolume', 'box', `--volume-name=${name}`);
        if (index !== DISKS / 2) continue;
        const report = JSON.parse((await platform.slipway('status', '-o', 'json')).stdout) as { nodes: { pid?: number }[] };
        const [pid] = report.nodes.flatMap((node) => node.pid ?? []);
        if (pid === undefined) throw new Error('The agent has no pid');
        process.kill(pid, 'SIGKILL');
      }
      const areReady = (vmi: Vmi): boolean => hasAgent(vmi) && names.every((name) => isReady(vmi, name));
      await platform.until<Vmi>('vmi box', areReady, 300_000);
      await virt('restart', 'box');
      await platform.until<Vmi>('vmi box', (vmi) => !hasAgent(vmi), 120_000);
      await platform.until<Vmi>('vmi box', areReady, 300_000);
      for (const name of names) await virt('removevolume', 'box', `--volume-name=${name}`);
      await platform.until<Vmi>('vmi box', (vmi) => names.every((name) => volume(vmi, name) === undefined), 300_000);
    }, 900_000);

    it('takes a second interface, follows its link, and gives it back', async () => {
      const config = JSON.stringify({ cniVersion: '0.4.0', name: 'lab', type: 'bridge', bridge: 'br-swe2e', ipam: {} });
      await platform.apply({
        ...{ apiVersion: 'k8s.cni.cncf.io/v1', kind: 'NetworkAttachmentDefinition', metadata: { name: 'lab' } },
        spec: { config },
      });
      const blue = (state?: string) =>
        patch({
          domain: {
            devices: {
              interfaces: [
                { name: 'default', masquerade: {} },
                { name: 'blue', bridge: {}, ...(state && { state }) },
              ],
            },
          },
          networks: [
            { name: 'default', pod: {} },
            { name: 'blue', multus: { networkName: 'lab' } },
          ],
        });
      const nic = ({ status }: Vmi) => status?.interfaces?.find(({ name }) => name === 'blue');
      await blue();
      await platform.until<Vmi>('vmi box', (vmi) => nic(vmi)?.linkState === 'up', 90_000);
      await blue('down');
      await platform.until<Vmi>('vmi box', (vmi) => nic(vmi)?.linkState === 'down', 90_000);
      await blue('absent');
      await platform.until<Vmi>(
        'vmi box',
        (vmi) => nic(vmi) === undefined && !vmi.spec.domain.devices.interfaces?.some(({ name }) => name === 'blue'),
        90_000,
      );
    }, 400_000);

    it('takes vCPUs and memory, up to what it started with room for', async () => {
      await patch({ domain: { cpu: { sockets: 2 }, memory: { guest: '1536Mi' } } });
      const grown = (vmi: Vmi): boolean =>
        vmi.status?.currentCPUTopology?.sockets === 2 && vmi.status.memory?.guestCurrent === '1536Mi';
      const vmi = await platform.until<Vmi>('vmi box', grown, 180_000);
      expect([condition(vmi, 'HotVCPUChange'), condition(vmi, 'HotMemoryChange')]).toEqual([undefined, undefined]);
      const terminal = await login();
      const seen = await inGuest(terminal, 'true', 'nproc; grep MemTotal /proc/meminfo');
      expect(seen).toMatch(/begin-41\s+2\s+MemTotal/);
      expect(Number(/MemTotal:\s+(\d+)/.exec(seen)?.[1])).toBeGreaterThan(1_300_000);
      await patch({ domain: { cpu: { sockets: 9 } } });
      const vm = await platform.until<Vmi>('vm box', (object) => condition(object, 'RestartRequired') !== undefined, 60_000);
      expect(condition(vm, 'RestartRequired')?.message).toContain("higher than what's available");
    }, 400_000);

    it('is waited for when it does not let a disk go', async () => {
      const scratch = { name: 'scratch', emptyDisk: { capacity: '16Mi' } };
      await platform.apply(idleInstance('deaf', [{ name: 'scratch', disk: { bus: 'virtio' } }], [scratch]));
      await platform.apply(blankDisk('kept'));
      await platform.until<Vmi>('vmi deaf', ({ status }) => status?.phase === 'Running', 90_000);
      await virt('addvolume', 'deaf', '--volume-name=kept', '--bus=virtio');
      await platform.until<Vmi>('vmi deaf', (vmi) => isReady(vmi, 'kept'), 90_000);
      await virt('removevolume', 'deaf', '--volume-name=kept');
      const vmi = await platform.until<Vmi>('vmi deaf', (object) => volume(object, 'kept')?.reason === 'DetachTimedOut', 120_000);
      expect(volume(vmi, 'kept')?.phase).toBe('Detaching');
      await platform.kubectl('delete', 'vmi', 'deaf', '--timeout=60s');
    }, 400_000);
  });
});
