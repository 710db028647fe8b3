import { type ImageServer, serveImages } from '@slipway/daemon';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { MOUNT_EFI, readEfi, writeEfi } from './src/efi-commands.ts';
import { guestShell, shellVm } from './src/guest-shell.ts';
import { guestImage, type Platform, startPlatform } from './src/platform.ts';
import { tpm, TPM_DEFINE, TPM_READ, TPM_WRITE } from './src/tpm-commands.ts';

/** `SLIPWAY_E2E_LONG=1`: a clone of a VM that runs, and firmware state that comes back with a restore. */
const isLong = process.env['SLIPWAY_E2E_LONG'] === '1';
const WAIT_MS = 480_000;

interface Progress {
  readonly status?: { readonly phase?: string; readonly complete?: boolean; readonly readyToUse?: boolean };
}

/** Makes the variable and reads it. */
const makeEfi = (name: string, text: string): string => `${MOUNT_EFI}; ${writeEfi(name, text)}; ${readEfi(name)}`;

describe.runIf(isLong)('copies of VMs', () => {
  let platform: Platform;
  let images: ImageServer;
  let url: string;

  beforeAll(async () => {
    const { qcow2Path } = await guestImage('tiny-generic');
    images = await serveImages({ '/disk.qcow2': qcow2Path });
    url = `${images.url}/disk.qcow2`;
    platform = await startPlatform();
  }, 480_000);
  afterAll(async () => {
    await images?.close();
    await platform?.destroy();
  });

  const source = (name: string): object => ({ apiGroup: 'kubevirt.io', kind: 'VirtualMachine', name });
  const setRunStrategy = (name: string, runStrategy: string): Promise<string> =>
    platform.kubectl('patch', 'vm', name, '--type=merge', '-p', JSON.stringify({ spec: { runStrategy } }));

  it('clones a VM while it runs', async () => {
    await platform.apply(shellVm('running', url));
    const guest = await guestShell(platform, 'running', '', WAIT_MS);
    expect(await guest.run('echo in-the-clone > /data/text; sync; cat /data/text')).toBe('in-the-clone\n');
    await platform.apply({
      ...{ apiVersion: 'clone.kubevirt.io/v1beta1', kind: 'VirtualMachineClone' },
      metadata: { name: 'copy-running', namespace: 'default' },
      spec: { source: source('running'), target: source('copy') },
    });
    await platform.until<Progress>('vmclone copy-running', ({ status }) => status?.phase === 'Succeeded', WAIT_MS);
    // what comes later is the source's alone
    await guest.run('echo later > /data/text; sync');
    await platform.kubectl('delete', 'vm', 'running', '--timeout=120s');
    await setRunStrategy('copy', 'Always');
    const copy = await guestShell(platform, 'copy', '', WAIT_MS);
    expect(await copy.run('cat /data/text')).toBe('in-the-clone\n');
    await platform.kubectl('delete', 'vm', 'copy', '--timeout=120s');
  }, 1_500_000);

  it('brings EFI variables and the state of a TPM back with a restore', async () => {
    const kept = Buffer.from('kept-tpm').toString('hex');
    await platform.apply(
      shellVm('state', url, {
        memory: '512Mi',
        domain: {
          features: { smm: { enabled: true } },
          firmware: { bootloader: { efi: { secureBoot: true, persistent: true } } },
        },
        devices: { tpm: { persistent: true } },
      }),
    );
    const first = await guestShell(platform, 'state', '', WAIT_MS);
    expect(await first.run(makeEfi('Kept', 'kept-efi'))).toBe('kept-efi\n');
    expect(await first.run([TPM_DEFINE, TPM_WRITE, TPM_READ].map(tpm).join('\n'))).toContain(kept);
    await platform.slipway('virt', 'stop', 'state');
    await platform.kubectl('wait', '--for=delete', 'vmi/state', '--timeout=120s');
    await platform.apply({
      ...{ apiVersion: 'snapshot.kubevirt.io/v1beta1', kind: 'VirtualMachineSnapshot' },
      metadata: { name: 'state', namespace: 'default' },
      spec: { source: source('state') },
    });
    await platform.until<Progress>('vmsnapshot state', ({ status }) => status?.readyToUse === true, WAIT_MS);
    await setRunStrategy('state', 'Always');
    const second = await guestShell(platform, 'state', first.instanceUid, WAIT_MS);
    expect(await second.run(makeEfi('Lost', 'lost-efi'))).toBe('lost-efi\n');
    await platform.slipway('virt', 'stop', 'state');
    await platform.kubectl('wait', '--for=delete', 'vmi/state', '--timeout=120s');
    await platform.apply({
      ...{ apiVersion: 'snapshot.kubevirt.io/v1beta1', kind: 'VirtualMachineRestore' },
      metadata: { name: 'state', namespace: 'default' },
      spec: { target: source('state'), virtualMachineSnapshotName: 'state' },
    });
    await platform.until<Progress>('vmrestore state', ({ status }) => status?.complete === true, WAIT_MS);
    await setRunStrategy('state', 'Always');
    const third = await guestShell(platform, 'state', second.instanceUid, WAIT_MS);
    expect(await third.run(`${MOUNT_EFI}; ${readEfi('Kept')}; ${readEfi('Lost')}`)).toBe('kept-efi\nnone\n\n');
    expect(await third.run(tpm(TPM_READ))).toContain(kept);
    await platform.kubectl('delete', 'vm', 'state', '--timeout=120s');
  }, 2_400_000);
});
