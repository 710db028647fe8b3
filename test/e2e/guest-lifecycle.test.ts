import { readdirSync, statSync } from 'node:fs';
import { join } from 'node:path';
import type { StatusReport } from '@slipway/daemon';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { checkDiskWriters } from './src/disk-writers.ts';
import { idleVm } from './src/manifests.ts';
import { type Platform, startPlatform } from './src/platform.ts';

interface Vmi {
  metadata: { name: string; uid: string; deletionTimestamp?: string };
  status?: { phase?: string; machine?: { type: string } };
}
interface Vm {
  status?: { printableStatus?: string };
}

/** Guests whose firmware finds nothing to boot: they hear no power button, and start at once. */
describe('the end of guests', () => {
  let platform: Platform;

  beforeAll(async () => {
    platform = await startPlatform();
  });
  afterEach(() => checkDiskWriters(platform.dataDir));
  afterAll(() => platform?.destroy());

  const running = (name: string) => platform.until<Vmi>(`vmi ${name}`, (vmi) => vmi.status?.phase === 'Running');
  const gone = (name: string) => platform.kubectl('wait', '--for=delete', `vmi/${name}`, '--timeout=60s');
  const guest = async (name: string) => {
    const report = JSON.parse((await platform.slipway('status', '-o', 'json')).stdout) as StatusReport;
    const found = report.guests.find((one) => one.name === name);
    if (found?.qemuPid === undefined) throw new Error(`No guest ${name} in ${JSON.stringify(report.guests)}`);
    return { ...found, qemuPid: found.qemuPid, agentPid: report.nodes[0]?.pid };
  };
  const isAlive = (pid: number): boolean => {
    try {
      return process.kill(pid, 0);
    } catch {
      return false;
    }
  };

  it('waits out the grace period of a deaf guest, unless the period is cut short', async () => {
    await platform.apply(idleVm('deaf', { terminationGracePeriodSeconds: 600 }));
    await running('deaf');
    const { qemuPid } = await guest('deaf');
    await platform.kubectl('delete', 'vm', 'deaf', '--wait=false');
    await platform.until<Vmi>('vmi deaf', ({ metadata }) => metadata.deletionTimestamp !== undefined);
    expect(isAlive(qemuPid)).toBe(true);
    const patience = { spec: { terminationGracePeriodSeconds: 0 } };
    await platform.kubectl('patch', 'vmi', 'deaf', '--type=merge', '-p', JSON.stringify(patience));
    await gone('deaf');
    expect(isAlive(qemuPid)).toBe(false);
  });

  it('fails an instance whose QEMU ended while no agent watched, and runs it again', async () => {
    await platform.apply(idleVm('lost'));
    const before = await running('lost');
    expect(before.status?.machine?.type).toMatch(/^pc-q35-/);
    const { qemuPid } = await guest('lost');
    expect((await platform.slipway('down')).code).toBe(0);
    process.kill(qemuPid, 'SIGKILL');
    expect((await platform.slipway('up', '--yes')).code).toBe(0);
    const after = await platform.until<Vmi>(
      'vmi lost',
      (vmi) => vmi.metadata.uid !== before.metadata.uid && vmi.status?.phase === 'Running',
    );
    expect((await guest('lost')).qemuPid).not.toBe(qemuPid);
    const events = await platform.kubectl('get', 'events', '-o', 'jsonpath={.items[*].message}');
    expect(events).toMatch(/crashed/);
    expect(after.metadata.name).toBe('lost');
    await platform.kubectl('delete', 'vm', 'lost', '--wait=false');
    await gone('lost');
  });

  it('deletes a guest although its libvirt is killed meanwhile', async () => {
    await platform.apply(idleVm('orphan'));
    await running('orphan');
    const { libvirtdPid } = await guest('orphan');
    const deleting = platform.kubectl('delete', 'vm', 'orphan', '--wait=false');
    if (libvirtdPid !== undefined) process.kill(libvirtdPid, 'SIGKILL');
    await deleting;
    await gone('orphan');
  });

  it('keeps the firmware variables of an EFI guest while the agent restarts', async () => {
    const efi = { firmware: { bootloader: { efi: { secureBoot: false } } } };
    await platform.apply(idleVm('efi', { domain: efi }));
    const before = await running('efi');
    const nvram = (): number[] => {
      const root = join(platform.dataDir, 'nodes');
      const files = readdirSync(root, { recursive: true, encoding: 'utf8' }).filter((name) => name.endsWith('nvram.fd'));
      return files.map((name) => statSync(join(root, name)).ino);
    };
    const files = nvram();
    expect(files).toHaveLength(1);
    await platform.slipway('down');
    await platform.slipway('up', '--yes');
    const after = await platform.until<Vmi>('vmi efi', (vmi) => vmi.status?.phase === 'Running');
    expect([after.metadata.uid, nvram()]).toEqual([before.metadata.uid, files]);
    await platform.kubectl('delete', 'vm', 'efi', '--wait=false');
    await gone('efi');
  });

  it('runs many guests at once', async () => {
    const names = Array.from({ length: 8 }, (_, index) => `many-${index}`);
    await Promise.all(names.map((name) => platform.apply(idleVm(name))));
    for (const name of names) await platform.until<Vmi>(`vmi ${name}`, (vmi) => vmi.status?.phase === 'Running', 120_000);
    const addresses = (await platform.kubectl('get', 'vmi', '-o', 'jsonpath={.items[*].status.interfaces[0].ipAddress}')).split(
      ' ',
    );
    expect(new Set(addresses).size).toBe(names.length);
    const listed = await platform.until<Vm>('vm many-7', ({ status }) => status?.printableStatus === 'Running');
    expect(listed.status?.printableStatus).toBe('Running');
    await platform.kubectl('delete', 'vm', ...names, '--wait=false');
    await platform.kubectl('wait', '--for=delete', ...names.map((name) => `vmi/${name}`), '--timeout=60s');
  }, 180_000);
});
