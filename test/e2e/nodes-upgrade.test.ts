// An installation of an older build is brought up by this one: guests go on, and obey.
import { type ImageServer, serveImages, type StatusReport } from '@slipway/daemon';
import { execFile } from 'node:child_process';
import { mkdtempSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { guestShell, shellVm } from './src/guest-shell.ts';
import { idleVm } from './src/manifests.ts';
import { freePort, guestImage, type Platform, platformAt } from './src/platform.ts';

/** `SLIPWAY_E2E_OLD`: a checkout of the older build, made by `git clone` and `git checkout`. */
const old = process.env['SLIPWAY_E2E_OLD'];
const isLong = process.env['SLIPWAY_E2E_LONG'] === '1' && old !== undefined;
const run = promisify(execFile);

interface Vmi {
  metadata: { uid: string };
  status?: { phase?: string; nodeName?: string; conditions?: { type: string; status: string }[] };
}
interface Nodes {
  items: { status: { conditions: { type: string; status: string }[]; nodeInfo: { kubeletVersion: string } } }[];
}

describe.runIf(isLong)('an upgrade', () => {
  let platform: Platform;
  let images: ImageServer;

  const status = async (): Promise<StatusReport> => JSON.parse((await platform.slipway('status', '-o', 'json')).stdout);
  const guests = async () => (await status()).guests.map(({ name, node, qemuPid }) => ({ name, node, qemuPid }));
  const processes = async () => {
    const { server, nodes } = await status();
    return [server.pid, ...nodes.map(({ pid }) => pid)];
  };

  beforeAll(async () => {
    const { qcow2Path } = await guestImage('tiny');
    const dataDir = mkdtempSync('/tmp/sw-e2e-');
    const port = await freePort();
    platform = platformAt(dataDir, port);
    const listen = ['--listen', `127.0.0.1:${port}`, '--allow-loopback-imports'];
    await run(join(old ?? '', 'slipway'), ['up', '--yes', '--nodes', '2', '--data-dir', dataDir, ...listen], {
      env: { ...process.env, SLIPWAY_ROOT: old },
    });
    const { link } = JSON.parse(readFileSync(join(dataDir, 'instance.json'), 'utf8'));
    images = await serveImages({ '/tiny.qcow2': qcow2Path }, link.hostV4);
  }, 600_000);
  afterAll(async () => {
    await images?.close();
    await platform?.destroy();
  });

  it('by up leaves guests alone, which obey the new build', async () => {
    await platform.apply(shellVm('busy', `${images.url}/tiny.qcow2`, { memory: '128Mi' }));
    const shell = await guestShell(platform, 'busy', '', 240_000);
    const uptime = async (): Promise<number> => Number(await shell.run('cut -d" " -f1 /proc/uptime'));
    await shell.run('echo kept > /tmp/mark');
    const busy = await platform.until<Vmi>('vmi busy', () => true);
    await platform.apply(idleVm('idle'));
    const isRunning = ({ status: now }: Vmi): boolean => now?.phase === 'Running';
    const idle = await platform.until<Vmi>('vmi idle', isRunning, 120_000);
    const [before, guestsBefore, uptimeBefore] = [await processes(), await guests(), await uptime()];

    const up = await platform.slipway('up', '--allow-loopback-imports');
    expect([up.code, up.stderr]).toEqual([0, expect.stringContaining('restarting the server from its new build')]);
    expect((await processes()).some((pid, index) => pid === before[index])).toBe(false);
    expect(await guests()).toEqual(guestsBefore);
    expect(await uptime()).toBeGreaterThan(uptimeBefore);
    expect(await shell.run('cat /tmp/mark')).toBe('kept\n');
    for (const [name, { metadata }] of [['busy', busy] as const, ['idle', idle] as const])
      expect((await platform.until<Vmi>(`vmi ${name}`, isRunning, 120_000)).metadata.uid).toBe(metadata.uid);
    await platform.until<Nodes>(
      'nodes -A',
      ({ items }) =>
        items.every(
          ({ status: { conditions, nodeInfo } }) =>
            /\+slipway-[\d.]+\.[0-9a-f]{8}$/.test(nodeInfo.kubeletVersion) &&
            conditions.some(({ type, status: is }) => type === 'Ready' && is === 'True'),
        ),
      120_000,
    );

    const pod = (await platform.kubectl('get', 'pods', '-l', 'app=busy', '-o', 'name')).trim();
    expect(await platform.kubectl('exec', pod, '--', 'hostname')).toBe('busy\n');
    const isPaused = ({ status: now }: Vmi): boolean =>
      now?.conditions?.some(({ type, status: is }) => type === 'Paused' && is === 'True') === true;
    expect((await platform.slipway('virt', 'pause', 'vm', 'busy')).code).toBe(0);
    await platform.until<Vmi>('vmi busy', isPaused, 120_000);
    expect((await platform.slipway('virt', 'unpause', 'vm', 'busy')).code).toBe(0);
    await platform.until<Vmi>('vmi busy', (vmi) => !isPaused(vmi), 120_000);
    expect(await shell.run('cat /tmp/mark')).toBe('kept\n');
    await platform.kubectl('delete', 'vm', 'idle', '--wait=true', '--timeout=180s');

    // a second one finds the server up to date; a watchdog that had to stay is renewed with its agent
    const [server] = await processes();
    expect((await platform.slipway('up', '--allow-loopback-imports')).code).toBe(0);
    expect((await processes())[0]).toBe(server);
  }, 900_000);
});
