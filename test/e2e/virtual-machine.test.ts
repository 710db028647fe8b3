import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { leftovers, takeHostSnapshot, type HostSnapshot } from './src/host-snapshot.ts';
import { type ImageServer, serveImages } from '@slipway/daemon';
import { importedVm } from './src/manifests.ts';
import { guestImage, type Platform, ROOT, startPlatform } from './src/platform.ts';
import { openTerminal } from './src/terminal.ts';

interface Vm {
  status?: { printableStatus?: string; ready?: boolean };
}
interface Vmi {
  metadata: { uid: string };
  status: {
    phase: string;
    interfaces?: { ipAddress?: string; mac?: string }[];
    conditions?: { type: string; status: string; reason?: string }[];
  };
}

const isTrue = (vmi: Vmi, type: string): boolean =>
  vmi.status?.conditions?.some((c) => c.type === type && c.status === 'True') ?? false;

describe('the life of a virtual machine', () => {
  let before: HostSnapshot;
  let platform: Platform;
  let images: ImageServer;

  beforeAll(async () => {
    const { qcow2Path } = await guestImage('tiny');
    before = takeHostSnapshot(['/etc', '/run', '/var/lib']);
    images = await serveImages({ '/tiny.qcow2': qcow2Path });
    platform = await startPlatform();
  });

  afterAll(async () => {
    await images?.close();
    await platform?.destroy();
  });

  const virtctl = async (...args: string[]) => {
    const result = await platform.slipway('virt', ...args);
    expect(result.stderr + result.stdout, `virtctl ${args.join(' ')}`).not.toMatch(/panic|TypeError/);
    expect(result.code, `virtctl ${args.join(' ')}: ${result.stderr}`).toBe(0);
    return result.stdout;
  };

  it('boots from kubectl apply and shows a login prompt on the serial console', async () => {
    await platform.apply(importedVm('web', `${images.url}/tiny.qcow2`));
    const vmi = await platform.until<Vmi>('vmi web', (object) => object.status?.phase === 'Running', 120_000);
    expect(vmi.status.interfaces?.[0]?.ipAddress).toMatch(/^\d+\.\d+\.\d+\.\d+$/);

    const console = openTerminal([`${ROOT}/slipway`, 'virt', 'console', 'web'], {
      ...process.env,
      KUBECONFIG: platform.kubeconfig,
    });
    try {
      await console.expect(/Successfully connected/);
      console.type('\n');
      await console.expect(/login:/, 240_000);
      await console.answer('demo', /[Pp]assword:/);
      expect(await console.answer('secret', /[Ii]ncorrect|[$#] /)).not.toMatch(/[Ii]ncorrect/);
      await console.answer('echo six times seven is $((6*7))', /six times seven is 42/);
    } finally {
      console.close();
    }
  });

  it('shows no difference when the manifest is applied again, and keeps the spec that was sent', async () => {
    const manifest = importedVm('web', `${images.url}/tiny.qcow2`) as { spec: object };
    const diff = await platform.tryKubectl('get', 'vm', 'web', '-o', 'json');
    expect(JSON.parse(diff.stdout).spec).toEqual(manifest.spec);
    expect(await platform.apply(manifest)).toMatch(/unchanged/);
    await platform.apply(manifest, '--server-side', '--force-conflicts');
    const first = await platform.kubectl('get', 'vm', 'web', '-o', 'jsonpath={.metadata.resourceVersion}:{.metadata.generation}');
    await platform.apply(manifest, '--server-side', '--force-conflicts');
    expect(await platform.kubectl('get', 'vm', 'web', '-o', 'jsonpath={.metadata.resourceVersion}:{.metadata.generation}')).toBe(
      first,
    );
  });

  it('waited for its disk without a warning', async () => {
    const events = await platform.kubectl('get', 'events', '--field-selector=type=Warning', '-o', 'jsonpath={.items[*].message}');
    expect(events).toBe('');
  });

  it('reports what the guest agent says', async () => {
    await platform.until<Vmi>('vmi web', (vmi) => isTrue(vmi, 'AgentConnected'), 60_000);
    expect(JSON.parse(await virtctl('guestosinfo', 'web'))).toHaveProperty('guestAgentVersion');
    expect(JSON.parse(await virtctl('fslist', 'web')).items.length).toBeGreaterThan(0);
  });

  it('answers on the VM address from the host', async () => {
    const vmi = await platform.until<Vmi>('vmi web', (object) => object.status.interfaces?.[0]?.ipAddress !== undefined);
    const answer = await fetch(`http://${vmi.status.interfaces?.[0]?.ipAddress}/`, { signal: AbortSignal.timeout(20_000) });
    expect(answer.status).toBe(200);
  });

  it('pauses, goes on, restarts and stops', async () => {
    await virtctl('pause', 'vm', 'web');
    await platform.until<Vm>('vm web', (vm) => vm.status?.printableStatus === 'Paused');
    await virtctl('unpause', 'vm', 'web');
    const running = await platform.until<Vmi>('vmi web', (vmi) => vmi.status.phase === 'Running' && !isTrue(vmi, 'Paused'));

    await virtctl('restart', 'web');
    const again = await platform.until<Vmi>(
      'vmi web',
      (vmi) => vmi.metadata.uid !== running.metadata.uid && vmi.status?.phase === 'Running',
      120_000,
    );
    expect(again.status.interfaces?.[0]?.mac).toBe(running.status.interfaces?.[0]?.mac);

    await virtctl('stop', 'web');
    await platform.until<Vm>('vm web', (vm) => vm.status?.printableStatus === 'Stopped', 90_000);
    await virtctl('start', 'web');
    await platform.until<Vmi>('vmi web', (vmi) => vmi.status?.phase === 'Running', 90_000);
  });

  it('goes on running while the server and the agent are restarted', async () => {
    const uid = (await platform.until<Vmi>('vmi web', (vmi) => vmi.status.phase === 'Running')).metadata.uid;
    expect((await platform.slipway('down')).code).toBe(0);
    const up = await platform.slipway('up', '--yes');
    expect(up.code, up.stderr).toBe(0);
    const vmi = await platform.until<Vmi>('vmi web', (object) => object.status.phase === 'Running' && isTrue(object, 'Ready'));
    expect(vmi.metadata.uid).toBe(uid);
  });

  it('is gone without a trace after delete and reset', async () => {
    await platform.kubectl('delete', 'vm', 'web', '--timeout=90s');
    await platform.kubectl('wait', '--for=delete', 'vmi/web', 'pvc/web-root', '--timeout=60s');
    await platform.destroy();
    expect(leftovers(before, takeHostSnapshot(['/etc', '/run', '/var/lib']), platform.dataDir)).toEqual([]);
  });
});
