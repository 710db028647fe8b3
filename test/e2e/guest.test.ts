import { connect } from 'node:net';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { type ImageServer, serveImages } from '@slipway/daemon';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { importedVm } from './src/manifests.ts';
import { freePort, guestImage, type Platform, ROOT, startPlatform } from './src/platform.ts';
import { stayingCommand } from './src/staying-command.ts';
import { openTerminal, type Terminal } from './src/terminal.ts';

interface Vmi {
  metadata: { uid: string };
  status?: {
    phase?: string;
    fsFreezeStatus?: string;
    conditions?: { type: string; status: string }[];
  };
}
const hasAgent = ({ status }: Vmi): boolean =>
  status?.conditions?.some(({ type, status: is }) => type === 'AgentConnected' && is === 'True') === true;

/** Sends the answers one by one, each after something was received; resolves with everything received. */
function converse(port: number, answers: readonly Buffer[], until: RegExp): Promise<string> {
  return new Promise((resolve, reject) => {
    const socket = connect(port, '127.0.0.1');
    const left = [...answers];
    let received = '';
    socket.setTimeout(20_000, () => socket.destroy(new Error(`No ${until} in ${JSON.stringify(received)}`)));
    socket.on('error', reject);
    socket.on('data', (chunk) => {
      received += chunk.toString('latin1');
      if (until.test(received)) socket.destroy();
      else {
        const next = left.shift();
        if (next !== undefined) socket.write(next);
      }
    });
    socket.on('close', () => resolve(received));
  });
}

/** One guest, booted once, and what can be done with it from outside and from inside. */
describe('a guest', () => {
  let platform: Platform;
  let images: ImageServer;
  const stops: (() => void)[] = [];
  const env = () => ({ ...process.env, KUBECONFIG: platform.kubeconfig });

  beforeAll(async () => {
    const { qcow2Path } = await guestImage('tiny');
    images = await serveImages({ '/tiny.qcow2': qcow2Path });
    platform = await startPlatform();
    await platform.apply({
      apiVersion: 'v1',
      kind: 'ConfigMap',
      metadata: { name: 'conf' },
      data: { greeting: 'from-a-config-map' },
    });
    const vm = importedVm('box', `${images.url}/tiny.qcow2`) as {
      spec: { template: { spec: { domain: { devices: { disks: object[] } }; volumes: object[] } } };
    };
    vm.spec.template.spec.domain.devices.disks.push({ name: 'conf', disk: { bus: 'virtio' } });
    vm.spec.template.spec.volumes.push({ name: 'conf', configMap: { name: 'conf' } });
    await platform.apply(vm);
    await platform.until<Vmi>('vmi box', hasAgent, 120_000);
  }, 240_000);

  afterAll(async () => {
    for (const stop of stops) stop();
    await images?.close();
    await platform?.destroy();
  });

  /** A virtctl command that stays: resolves when it has printed the pattern. */
  const staying = (pattern: RegExp, ...args: string[]): Promise<void> => {
    const { printed, stop } = stayingCommand(pattern, args, env());
    stops.push(stop);
    return printed;
  };

  const login = async (): Promise<Terminal> => {
    const terminal = openTerminal([`${ROOT}/slipway`, 'virt', 'console', 'box'], env());
    stops.push(() => terminal.close());
    await terminal.expect(/Successfully connected/);
    terminal.type('\n');
    await terminal.expect(/login: $/);
    await terminal.answer('demo', /[Pp]assword: $/);
    await terminal.answer('secret', /[$#] /);
    return terminal;
  };

  const action = (name: string, body: object = {}) =>
    platform.kubectl(
      ...['replace', '--raw', `/apis/subresources.kubevirt.io/v1/namespaces/default/virtualmachineinstances/box/${name}`],
      ...['-f', jsonFile(name, body)],
    );
  const jsonFile = (name: string, body: object): string => {
    const path = join(platform.dataDir, `${name}.json`);
    writeFileSync(path, JSON.stringify(body));
    return path;
  };

  it('shows its screen: a VNC viewer and a screenshot', async () => {
    const port = await freePort();
    await staying(/"port"/, 'vnc', 'box', '--proxy-only', '--port', String(port));
    const received = await converse(
      port,
      [Buffer.from('RFB 003.008\n'), Buffer.from([1]), Buffer.from([1])],
      /QEMU \(default_box\)/,
    );
    expect(received).toMatch(/^RFB 003\.008\n/);
    const file = join(platform.dataDir, 'screen.png');
    const shot = await platform.slipway('virt', 'vnc', 'screenshot', 'box', `--file=${file}`, '--move-cursor');
    expect(shot.code, shot.stderr).toBe(0);
    const png = readFileSync(file);
    expect(png.subarray(1, 4).toString()).toBe('PNG');
    expect([png.readUInt32BE(16), png.readUInt32BE(20)]).toEqual([720, 400]);
  });

  it('is reached by forwarded ports', async () => {
    const [http, ssh] = [await freePort(), await freePort()];
    await staying(/forwarding .* to 22/, 'port-forward', 'vmi/box', `${http}:80`, `${ssh}:22`);
    expect((await fetch(`http://127.0.0.1:${http}/`)).status).toBe(200);
    expect(await converse(ssh, [], /SSH-2\.0/)).toMatch(/^SSH-2\.0-dropbear/);
  });

  it('is frozen until the time is over', async () => {
    await action('freeze', { unfreezeTimeout: '2s' });
    await platform.until<Vmi>('vmi box', ({ status }) => status?.fsFreezeStatus === undefined);
    await action('freeze', { unfreezeTimeout: '300s' });
    await platform.until<Vmi>('vmi box', ({ status }) => status?.fsFreezeStatus === 'frozen');
    await action('unfreeze');
    await platform.until<Vmi>('vmi box', ({ status }) => status?.fsFreezeStatus === undefined);
  });

  it('serves several viewers, its configuration disk, and is run again when it is shut down from inside', async () => {
    const before = await platform.until<Vmi>('vmi box', ({ status }) => status?.phase === 'Running');
    const terminal = await login();
    const viewer = openTerminal([`${ROOT}/slipway`, 'virt', 'console', 'box'], env());
    stops.push(() => viewer.close());
    await viewer.expect(/Successfully connected/);
    terminal.type(
      'sudo sh -c "mount -t iso9660 -o ro /dev/vdc /mnt || mount -t iso9660 -o ro /dev/vdc /tmp; cat /mnt/greeting /tmp/greeting"\n',
    );
    await terminal.expect(/from-a-config-map/);
    terminal.type('i=0; while [ $i -lt 2000 ]; do echo line $i of a flood; i=$((i+1)); done; echo over-$((40+2))\n');
    await Promise.all([terminal.expect(/over-42/), viewer.expect(/over-42/)]);

    terminal.type('sudo poweroff -f\n');
    // runStrategy Always: the instance that ended is replaced
    const next = await platform.until<Vmi>('vmi box', ({ metadata }) => metadata.uid !== before.metadata.uid);
    expect(next.metadata.uid).not.toBe(before.metadata.uid);
  });
});
