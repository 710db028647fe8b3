import { execFileSync } from 'node:child_process';
import { existsSync, mkdtempSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import type { StatusReport } from '@slipway/daemon';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { idleVm } from './src/manifests.ts';
import { freePort, type Platform, platformAt, ROOT } from './src/platform.ts';

interface Conditioned {
  status?: { phase?: string; conditions?: { type: string; status: string; message?: string }[] };
}

const LIBRARIES = '/usr/lib';
const DRIVERS = 'libvirt/connection-driver';
/** libvirt's drivers, below the directory of this machine's architecture. */
const driverDirectory = (): string => {
  const nested = readdirSync(LIBRARIES).map((name) => join(LIBRARIES, name, DRIVERS));
  const found = [join(LIBRARIES, DRIVERS), ...nested].find((path) => existsSync(path));
  if (found === undefined) throw new Error('libvirt is not installed here');
  return found;
};

/**
 * Runs its command where /usr/bin has no QEMU and libvirt has no drivers, as on a host that lacks both. Arguments: an
 * empty directory, the directory of the drivers, the command.
 */
const LACKING = `set -e
mkdir "$1/all" "$1/some"
mount --bind /usr/bin "$1/all"
for file in "$1"/all/*; do ln -s "$file" "$1/some/"; done
rm "$1/some/qemu-system-x86_64"
mount -t tmpfs tmpfs "$2"
mount --bind "$1/some" /usr/bin
shift 2
exec "$@"`;

describe('a host that lacks something', () => {
  let platform: Platform;
  let work: string;
  const drivers = driverDirectory();

  beforeAll(async () => {
    work = mkdtempSync('/tmp/sw-lacking-');
    const port = await freePort();
    platform = platformAt(mkdtempSync('/tmp/sw-e2e-'), port);
    const slipway = [join(ROOT, 'slipway'), 'up', '--yes', '--data-dir', platform.dataDir, '--listen', `127.0.0.1:${port}`];
    const enter = ['--mount', '--propagation', 'private', 'sh', '-c', LACKING, 'sh', work, drivers];
    execFileSync('unshare', [...enter, ...slipway], { stdio: ['ignore', 'ignore', 'pipe'] });
  });
  afterAll(async () => {
    await platform?.destroy();
    execFileSync('rm', ['-rf', '--one-file-system', work]);
  });

  /** Brings back what was hidden, where the agent sees it. */
  const restore = async (path: string): Promise<void> => {
    const report = JSON.parse((await platform.slipway('status', '-o', 'json')).stdout) as StatusReport;
    execFileSync('nsenter', [`--mount=/proc/${report.nodes[0]?.pid}/ns/mnt`, 'umount', path]);
  };
  const node = async (): Promise<string> => (await platform.kubectl('get', 'nodes', '-o', 'name')).trim().replace('node/', '');
  const untilNotReady = async (message: RegExp) =>
    platform.until<Conditioned>(`node ${await node()}`, ({ status }) => {
      const ready = status?.conditions?.find(({ type }) => type === 'Ready');
      return ready?.status === 'False' && message.test(ready.message ?? '');
    });

  it('says what to install, and runs guests as soon as it is there', async () => {
    await untilNotReady(/QEMU is not installed: install qemu-system-x86/);
    await platform.apply(idleVm('patient'));
    await restore('/usr/bin');
    await untilNotReady(/libvirt is not installed: install libvirt-daemon/);
    await restore(drivers);
    await platform.until<Conditioned>('vmi patient', ({ status }) => status?.phase === 'Running', 120_000);
    await platform.kubectl('delete', 'vm', 'patient', '--timeout=60s');
  });

  it('says that it needs root', () => {
    const started = (): string => {
      try {
        execFileSync('unshare', ['--user', join(ROOT, 'slipway'), 'up', '--data-dir', '/tmp/sw-e2e-nobody'], { stdio: 'pipe' });
        return 'it started';
      } catch (error) {
        return String(error);
      }
    };
    expect(started()).toMatch(/run it with sudo/);
  });
});
