import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { type ImageServer, serveImages } from '@slipway/daemon';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { checkDiskWriters, watchDiskWriters } from './src/disk-writers.ts';
import { importedVm } from './src/manifests.ts';
import { guestImage, type Platform, startPlatform } from './src/platform.ts';

interface Vmi {
  metadata: { uid: string };
  status?: {
    phase?: string;
    activePods?: Record<string, string>;
    conditions?: { type: string; status: string; message?: string }[];
    volumeStatus?: { name: string; phase?: string; persistentVolumeClaimInfo?: { volumeMode?: string } }[];
  };
}
interface Claim {
  spec: { volumeMode?: string; volumeName?: string };
  status?: { phase?: string };
}
interface Volume {
  spec: { volumeMode?: string; local?: { path: string } };
}
interface Phased {
  status?: { phase?: string };
}
interface Events {
  items: { reason: string; message?: string; involvedObject: { kind: string; name: string } }[];
}

const has =
  (type: string) =>
  ({ status }: Vmi): boolean =>
    status?.conditions?.some((condition) => condition.type === type && condition.status === 'True') === true;
const isRunning = ({ status }: Vmi): boolean => status?.phase === 'Running';
const succeeded = ({ status }: Phased): boolean => status?.phase === 'Succeeded';
const MIB = 1024 * 1024;

const dataVolume = (name: string, source: object, storage: object): object => ({
  apiVersion: 'cdi.kubevirt.io/v1beta1',
  kind: 'DataVolume',
  metadata: { name },
  spec: { source, storage },
});
const sized = (storage: string, more: object = {}): object => ({ resources: { requests: { storage } }, ...more });

/** An instance whose firmware finds nothing to boot, which is all that most of these tests need. */
const idleInstance = (name: string, claimName: string, disk: object = { disk: { bus: 'virtio' } }): object => ({
  ...{ apiVersion: 'kubevirt.io/v1', kind: 'VirtualMachineInstance', metadata: { name } },
  spec: {
    terminationGracePeriodSeconds: 0,
    domain: { memory: { guest: '64Mi' }, devices: { disks: [{ name: 'data', ...disk }] } },
    volumes: [{ name: 'data', persistentVolumeClaim: { claimName } }],
  },
});

describe('block volumes', () => {
  let platform: Platform;
  let images: ImageServer;

  beforeAll(async () => {
    const { qcow2Path } = await guestImage('tiny');
    images = await serveImages({ '/tiny.qcow2': qcow2Path });
    platform = await startPlatform();
    await platform.apply(importedVm('box', `${images.url}/tiny.qcow2`, { storage: { volumeMode: 'Block' } }));
    await platform.apply(dataVolume('extra', { blank: {} }, sized('16Mi', { volumeMode: 'Block' })));
  }, 240_000);
  afterEach(() => checkDiskWriters(platform.dataDir));
  afterAll(async () => {
    await images?.close();
    await platform?.destroy();
  });

  /** The files of a claim on this host, and the size that guests see. */
  async function diskOf(claim: string): Promise<{ path: string; format: string; virtualSizeBytes: number; volumeMode?: string }> {
    const { spec } = await platform.until<Claim>(`pvc ${claim}`, ({ status }) => status?.phase === 'Bound', 120_000);
    const volume = JSON.parse(await platform.kubectl('get', 'pv', spec.volumeName ?? '', '-o', 'json')) as Volume;
    const directory = volume.spec.local?.path ?? '';
    const record = JSON.parse(readFileSync(`${directory}/volume.json`, 'utf8')) as { format: string; virtualSizeBytes: number };
    return { path: `${directory}/disk.img`, ...record, ...(volume.spec.volumeMode && { volumeMode: volume.spec.volumeMode }) };
  }
  const events = (reason: string, predicate: (events: Events) => boolean): Promise<Events> =>
    platform.until<Events>(`event --field-selector=reason=${reason}`, predicate, 120_000);

  it('boot a guest, take a second disk while it runs, and are cloned to a file system', async () => {
    const vmi = await platform.until<Vmi>('vmi box', has('AgentConnected'), 240_000);
    expect(vmi.status?.volumeStatus).toContainEqual(
      expect.objectContaining({ name: 'root', persistentVolumeClaimInfo: expect.objectContaining({ volumeMode: 'Block' }) }),
    );
    const root = await diskOf('box-root');
    expect(root).toMatchObject({ volumeMode: 'Block', virtualSizeBytes: 128 * MIB });

    const added = await platform.slipway('virt', 'addvolume', 'box', '--volume-name=extra', '--bus=virtio');
    expect(added.code, added.stderr).toBe(0);
    const isPlugged = ({ status }: Vmi): boolean =>
      status?.volumeStatus?.some(({ name, phase }) => name === 'extra' && phase === 'Ready') === true;
    await platform.until<Vmi>('vmi box', isPlugged, 120_000);
    expect(await checkDiskWriters(platform.dataDir)).toBeGreaterThanOrEqual(2);

    // somebody else asks for a disk that is in use
    await platform.apply(idleInstance('second', 'extra'));
    const told = (kind: string) => (found: Events) =>
      found.items.some(
        ({ involvedObject, message }) =>
          involvedObject.kind === kind &&
          involvedObject.name.includes('second') &&
          /Multi-Attach error for volume "pvc-.*" Volume is already used by virtual machine instance default\/box/.test(
            message ?? '',
          ),
      );
    await events('SyncFailed', told('VirtualMachineInstance'));
    await events('FailedAttachVolume', told('Pod'));
    await platform.kubectl('delete', 'vmi', 'second', '--timeout=120s');

    await platform.kubectl('patch', 'vm', 'box', '--type=merge', '-p', '{"spec":{"runStrategy":"Halted"}}');
    await platform.kubectl('wait', '--for=delete', 'vmi/box', '--timeout=120s');
    const clone = { pvc: { namespace: 'default', name: 'box-root' } };
    await platform.apply(dataVolume('files', clone, { volumeMode: 'Filesystem', storageClassName: 'local-immediate' }));
    await platform.until<Phased>('dv files', succeeded, 120_000);
    const [before, after] = [await diskOf('box-root'), await diskOf('files')];
    expect(after).toMatchObject({ volumeMode: 'Filesystem', virtualSizeBytes: 128 * MIB });
    const compared = execFileSync('qemu-img', ['compare', '-f', before.format, '-F', after.format, before.path, after.path]);
    expect(compared.toString()).toContain('Images are identical');
  }, 600_000);

  it('have one writer, also when a launcher pod is deleted by force', async () => {
    await platform.apply(dataVolume('kept', { blank: {} }, sized('16Mi', { volumeMode: 'Block' })));
    const { metadata: _, ...template } = idleInstance('forced', 'kept') as { metadata: object; spec: object };
    await platform.apply({
      ...{ apiVersion: 'kubevirt.io/v1', kind: 'VirtualMachine', metadata: { name: 'forced' } },
      spec: { runStrategy: 'Always', template: { spec: template.spec } },
    });
    const first = await platform.until<Vmi>('vmi forced', isRunning, 120_000);
    const watching = watchDiskWriters(platform.dataDir);
    await platform.kubectl('delete', 'pod', '-l', 'vm.kubevirt.io/name=forced', '--force', '--grace-period=0');
    const next = await platform.until<Vmi>(
      'vmi forced',
      (vmi) => isRunning(vmi) && vmi.metadata.uid !== first.metadata.uid,
      180_000,
    );
    await watching.stop();
    expect(next.metadata.uid).not.toBe(first.metadata.uid);
    await platform.kubectl('delete', 'vm', 'forced', '--timeout=120s');
  }, 400_000);

  it('are no LUNs, and say so', async () => {
    await platform.apply(idleInstance('lun', 'extra', { lun: { bus: 'scsi' } }));
    const isTold = ({ items }: Events): boolean => items.some(({ message }) => message?.includes('Disk data is a LUN') === true);
    await events('SyncFailed', isTold);
    await platform.kubectl('delete', 'vmi', 'lun', '--timeout=120s');
  }, 400_000);
});
