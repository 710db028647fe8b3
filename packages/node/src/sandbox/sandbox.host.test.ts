import { chmodSync, chownSync, existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { childPids, hostRunner, identifyProcess, isSameProcess, removeCgroupTree, signalProcess } from '@slipway/hostapi';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { seedCapabilities } from './capability-cache.ts';
import { enterSandbox } from '../exec/plan-command.ts';
import { findHostPrograms } from './host-programs.ts';
import { connectLibvirt } from './libvirt-socket.ts';
import { type RunningSandbox, SandboxManager } from './sandbox-manager.ts';
import { sandboxProcesses } from './sandbox-processes.ts';

const { signal } = new AbortController();
const podUid = '11111111-2222-3333-4444-555555555555';

const DOMAIN = `<domain type='qemu'><name>default_vm</name><memory unit='MiB'>64</memory><vcpu>1</vcpu>
<os><type machine='q35'>hvm</type></os><cpu mode='maximum'/><devices>
<serial type='unix'><source mode='bind' path='/run/vm/run/serial0'/></serial></devices></domain>`;

describe('a sandbox', () => {
  let stateDir: string;
  let capabilities: string | undefined;
  const programs = findHostPrograms();
  const manager = (): SandboxManager =>
    new SandboxManager({
      config: {
        nodeName: 'n',
        hostPrefix: 'fsbtst',
        stateDir,
        podCidrV4: '10.99.0.0/24',
        podCidrV6: 'fd99::/64',
        uidBase: 250_000,
      },
      runner: hostRunner,
      programs,
      isKvmUsable: false,
      capabilities: () => capabilities,
    });
  const connect = (sandbox: RunningSandbox) =>
    connectLibvirt({ sandbox, programs, onEvent: () => {}, isAlive: () => isSameProcess(sandbox.init) }, signal);

  beforeEach(() => {
    stateDir = mkdtempSync(join(tmpdir(), 'slipway-sandbox-'));
    chmodSync(stateDir, 0o711);
    capabilities = undefined;
  });
  afterEach(async () => {
    for (const uid of await manager().podUids()) await manager().destroy(uid);
    await removeCgroupTree('slipway-fsbtst');
    rmSync(stateDir, { recursive: true, force: true });
  });

  it('runs a guest without privileges, restarts a killed libvirt, is found again and leaves nothing', async () => {
    const seeded = await seedCapabilities({ stateDir, programs, isKvmUsable: false, sandboxes: manager() }, signal);
    expect(seeded.host.machineTypes).toContain('q35');
    expect(seeded.host.cpuModels).toContain('Nehalem');
    capabilities = seeded.directory;

    const sandbox = await manager().create({ podUid, hostname: 'vm' }, signal);
    const status = readFileSync(`/proc/${sandbox.init.pid}/status`, 'utf8');
    expect(status).toMatch(/^NoNewPrivs:\t1$/m);
    expect(status).toMatch(/^CapEff:\t0+$/m);
    expect(status).toMatch(new RegExp(`^Uid:\t${sandbox.uid}\t`, 'm'));
    expect(existsSync(`/proc/${sandbox.init.pid}/root/dev/kvm`)).toBe(false);

    const libvirt = await connect(sandbox);
    const domain = await libvirt.create(await libvirt.define(DOMAIN));
    expect(domain.id).toBeGreaterThan(0);
    expect(statSync(join(sandbox.dir, 'run/serial0')).uid).toBe(sandbox.uid);

    const daemon = identifyProcess(
      childPids(sandbox.init.pid).find((pid) => readFileSync(`/proc/${pid}/comm`, 'utf8').startsWith('libvirtd')) ?? 0,
    );
    if (daemon) signalProcess(daemon, 'SIGKILL');
    await libvirt.closed;
    const found = await manager().find(podUid);
    expect(found).toEqual(sandbox);
    const again = await connect(sandbox);
    expect((await again.state(await again.lookup('default_vm'))).state).toBe(1);
    again.close();

    await manager().destroy(podUid);
    expect(isSameProcess(sandbox.init)).toBe(false);
    expect(existsSync(sandbox.dir)).toBe(false);
    expect(existsSync(`/run/netns/${sandbox.netns}`)).toBe(false);
    expect(await manager().podUids()).toEqual([]);
  });

  it('ends every QEMU, and leaves libvirt and the sandbox alone', async () => {
    const sandbox = await manager().create({ podUid, hostname: 'vm' }, signal);
    const libvirt = await connect(sandbox);
    await libvirt.create(await libvirt.define(DOMAIN));
    const before = await sandboxProcesses(sandbox.init.pid);
    expect(before.qemuPids).toHaveLength(1);
    await manager().killGuest(podUid);
    expect(await sandboxProcesses(sandbox.init.pid)).toEqual({ libvirtdPid: before.libvirtdPid, qemuPids: [] });
    expect(await manager().find(podUid)).toEqual(sandbox);
    libvirt.close();
  });

  it('shows a guest its own disks and directory, and lets it write nowhere else', async () => {
    const own = await manager().create({ podUid, hostname: 'vm' }, signal);
    const other = await manager().create({ podUid: podUid.replace('1', '2'), hostname: 'other' }, signal);
    const diskOf = ({ uid }: RunningSandbox): string => {
      const directory = join(stateDir, 'volumes', `of-${uid}`);
      mkdirSync(directory, { mode: 0o710 });
      chownSync(directory, 0, uid);
      chmodSync(directory, 0o710);
      writeFileSync(join(directory, 'disk.img'), 'content');
      chownSync(join(directory, 'disk.img'), uid, uid);
      return join(directory, 'disk.img');
    };
    const run = async (script: string): Promise<string> => {
      const argv = enterSandbox(own, ['sh', '-c', `{ ${script}; } 2>&1; true`]);
      // looking through the whole tree takes long on a busy machine
      return (await hostRunner.run(argv, { timeoutMs: 100_000 }, signal)).stdout.trim();
    };

    const logs = '/run/vm/cache/libvirt/qemu/log';
    const written = await run(`dd if=/dev/zero of=${logs}/flood bs=64k count=64 2>/dev/null; wc -c < ${logs}/flood; ls ${logs}`);
    expect(Number(written.split('\n')[0])).toBeLessThanOrEqual(1024 * 1024);
    expect(written).toContain('libvirtd.log');

    const disk = diskOf(own);
    expect(await run(`cat ${disk}; echo more >> ${disk}`)).toBe('content');
    expect(readFileSync(disk, 'utf8')).toBe('contentmore\n');
    expect(await run(`cat ${diskOf(other)}`)).toMatch(/Permission denied/);
    expect(await run(`ls ${join(stateDir, 'volumes')}`)).toMatch(/Permission denied/);
    const hidden = [other.dir, join(stateDir, 'sandboxes'), '/root', '/home', '/var/lib', '/boot', '/host/etc'];
    expect(await run(`for path in ${hidden.join(' ')}; do [ ! -e $path ] || echo $path; done`)).toBe('');
    expect(await run('ps -e -o uid= | sort -u')).toBe(String(own.uid));

    const writable = (await run('find / \\( -path /proc -o -path /sys \\) -prune -o -writable ! -type l -print')).split('\n');
    const elsewhere = writable.filter((path) => !/^(\/dev|\/run\/vm|\/tmp)(\/|$)|Permission denied|No such file/.test(path));
    expect(elsewhere).toEqual([]);
    expect(await run('touch /usr/here /etc/here /here /run/here; mount -o remount,rw /')).toMatch(
      /^(.*(Read-only|superuser).*\n?){5}/,
    );
  });
});
