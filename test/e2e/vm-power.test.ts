import { type ImageServer, serveImages } from '@slipway/daemon';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { importedVm } from './src/manifests.ts';
import { guestImage, type Platform, ROOT, startPlatform } from './src/platform.ts';
import { openTerminal, type Terminal } from './src/terminal.ts';

/** `SLIPWAY_E2E_LONG=1`: a guest restarts itself in several ways, pauses while nobody watches, and ends. */
const isLong = process.env['SLIPWAY_E2E_LONG'] === '1';
const SOON_MS = 120_000;
const BOOT_MS = 240_000;

interface Vmi {
  metadata: { uid: string };
  status?: { phase?: string; conditions?: { type: string; status: string }[] };
}
interface Vm {
  status?: { printableStatus?: string };
}
const isTrue = ({ status }: Vmi, type: string): boolean =>
  status?.conditions?.some((entry) => entry.type === type && entry.status === 'True') === true;

describe.runIf(isLong)('what a guest does by itself', () => {
  let platform: Platform;
  let images: ImageServer;
  const terminals: Terminal[] = [];

  beforeAll(async () => {
    const { qcow2Path } = await guestImage('tiny');
    images = await serveImages({ '/tiny.qcow2': qcow2Path });
    platform = await startPlatform();
  });
  afterAll(async () => {
    for (const terminal of terminals) terminal.close();
    await images?.close();
    await platform?.destroy();
  });

  const login = async (name: string): Promise<Terminal> => {
    const terminal = openTerminal([`${ROOT}/slipway`, 'virt', 'console', name], {
      ...process.env,
      KUBECONFIG: platform.kubeconfig,
    });
    terminals.push(terminal);
    await terminal.expect(/Successfully connected/);
    terminal.type('\n');
    await terminal.expect(/login: $/, BOOT_MS);
    await terminal.answer('demo', /[Pp]assword: $/);
    await terminal.answer('secret', /[$#] /);
    return terminal;
  };
  const virt = async (...args: string[]): Promise<void> => {
    const { code, stderr } = await platform.slipway('virt', ...args);
    expect(code, stderr).toBe(0);
  };
  const instance = (name: string, accepts: (vmi: Vmi) => boolean, timeoutMs = SOON_MS): Promise<Vmi> =>
    platform.until<Vmi>(`vmi ${name}`, accepts, timeoutMs);
  const boot = async (name: string, runStrategy: string, domain: object = {}): Promise<Vmi> => {
    const vm = importedVm(name, `${images.url}/tiny.qcow2`, { runStrategy }) as {
      spec: { template: { spec: { domain: object } } };
    };
    Object.assign(vm.spec.template.spec.domain, domain);
    await platform.apply(vm);
    if (runStrategy === 'Manual') {
      await platform.until<Vm>(`vm ${name}`, ({ status }) => status?.printableStatus === 'Stopped', SOON_MS);
      await virt('start', name);
    }
    return instance(name, (vmi) => isTrue(vmi, 'AgentConnected'), BOOT_MS);
  };
  const hasRebooted = async (name: string, terminal: Terminal, how: () => Promise<void> | void): Promise<void> => {
    const said = terminal.answer('cat /proc/uptime', /login: $/, BOOT_MS);
    await how();
    await said;
    await instance(name, ({ status }) => status?.phase === 'Running');
  };

  it('restarts in its instance when it reboots, is soft-rebooted or reset', async () => {
    const { metadata } = await boot('box', 'Always');
    let terminal = await login('box');
    await hasRebooted('box', terminal, () => terminal.type('sudo reboot -f\n'));
    await instance('box', (vmi) => isTrue(vmi, 'AgentConnected'), BOOT_MS);
    terminal.close();
    terminal = await login('box');
    await hasRebooted('box', terminal, () => virt('reset', 'box'));
    terminal.close();
    expect((await instance('box', ({ status }) => status?.phase === 'Running')).metadata.uid).toBe(metadata.uid);
  }, 900_000);

  it('is shown paused when it was paused while no agent watched', async () => {
    await virt('pause', 'vm', 'box');
    await instance('box', (vmi) => isTrue(vmi, 'Paused'));
    expect((await platform.slipway('down')).code).toBe(0);
    expect((await platform.slipway('up', '--yes', '--allow-loopback-imports')).code).toBe(0);
    await instance('box', (vmi) => isTrue(vmi, 'Paused') && vmi.status?.phase === 'Running');
    await virt('unpause', 'vm', 'box');
    await platform.until<Vm>('vm box', ({ status }) => status?.printableStatus === 'Running', SOON_MS);
    await platform.kubectl('delete', 'vm', 'box', '--timeout=90s');
  }, 400_000);

  it('ends well when it shuts down, and its machine stays off when nobody wants it again', async () => {
    await boot('manual', 'Manual');
    const terminal = await login('manual');
    terminal.type('sudo poweroff\n');
    await instance('manual', ({ status }) => status?.phase === 'Succeeded', SOON_MS);
    await platform.until<Vm>('vm manual', ({ status }) => status?.printableStatus === 'Stopped', SOON_MS);
    await platform.kubectl('delete', 'vm', 'manual', '--timeout=90s');
  }, 600_000);

  it('ends at its first reboot when its policy says so', async () => {
    await boot('short', 'Once', { rebootPolicy: 'Terminate' });
    const terminal = await login('short');
    terminal.type('sudo reboot -f\n');
    await instance('short', ({ status }) => status?.phase === 'Succeeded' || status?.phase === 'Failed', SOON_MS);
    await platform.until<Vm>('vm short', ({ status }) => status?.printableStatus === 'Stopped', SOON_MS);
    await platform.kubectl('delete', 'vm', 'short', '--timeout=90s');
  }, 600_000);
});
