import { type ImageServer, serveImages } from '@slipway/daemon';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { guestShell, shellVm } from './src/guest-shell.ts';
import { guestImage, type Platform, startPlatform } from './src/platform.ts';

const NAME = 'mover';
const BOOT_MS = 240_000;

interface Vm {
  spec: { template: { spec: { volumes: { name: string; dataVolume?: { name: string } }[] } } };
  status?: { printableStatus?: string; conditions?: { type: string; reason?: string; message?: string }[] };
}
interface Claim {
  spec: { storageClassName?: string };
  status?: { phase?: string };
}

const change = ({ status }: Vm) => status?.conditions?.find(({ type }) => type === 'VolumesChange');

describe('a volume of a stopped VM', () => {
  let platform: Platform;
  let images: ImageServer;

  beforeAll(async () => {
    const { qcow2Path } = await guestImage('tiny');
    images = await serveImages({ '/tiny.qcow2': qcow2Path });
    platform = await startPlatform();
    await platform.apply({
      apiVersion: 'storage.k8s.io/v1',
      kind: 'StorageClass',
      metadata: { name: 'other' },
      provisioner: 'local.slipway.dev',
      volumeBindingMode: 'WaitForFirstConsumer',
    });
    await platform.apply(shellVm(NAME, `${images.url}/tiny.qcow2`));
  }, 480_000);

  afterAll(async () => {
    await images?.close();
    await platform?.destroy();
  });

  it('moves to another class with what the guest wrote, while the old claim stays', async () => {
    const shell = await guestShell(platform, NAME, '', BOOT_MS);
    await shell.run("until grep -q ' /data ' /proc/mounts; do sleep 1; done");
    const written = await shell.run('head -c 1000003 /dev/urandom > /data/blob; sync; sha256sum /data/blob');
    expect(written).toMatch(/^[0-9a-f]{64} /);
    await platform.kubectl('patch', 'vm', NAME, '--type', 'merge', '-p', '{"spec":{"runStrategy":"Halted"}}');
    const stopped = await platform.until<Vm>(`vm ${NAME}`, ({ status }) => status?.printableStatus === 'Stopped', 120_000);

    const storage = { storageClassName: 'other', resources: { requests: { storage: '128Mi' } } };
    const dataVolumeTemplates = [{ metadata: { name: 'moved' }, spec: { source: { blank: {} }, storage } }];
    const volumes = stopped.spec.template.spec.volumes.map((volume) =>
      volume.name === 'root' ? { name: 'root', dataVolume: { name: 'moved' } } : volume,
    );
    // the start waits for the move
    const template = { spec: { volumes } };
    const spec = { updateVolumesStrategy: 'Migration', runStrategy: 'Always', dataVolumeTemplates, template };
    await platform.kubectl('patch', 'vm', NAME, '--type', 'merge', '-p', JSON.stringify({ spec }));
    const moved = await platform.until<Vm>(`vm ${NAME}`, (vm) => change(vm)?.reason === 'VolumesChangeCompleted', 120_000);
    expect(change(moved)?.message).toContain(`volume root from ${NAME}-root to moved`);

    const again = await guestShell(platform, NAME, shell.instanceUid, BOOT_MS);
    await again.run("until grep -q ' /data ' /proc/mounts; do sleep 1; done");
    expect(await again.run('sha256sum /data/blob')).toBe(written);
    const claim = async (name: string): Promise<Claim> =>
      JSON.parse(await platform.kubectl('get', 'pvc', name, '-o', 'json')) as Claim;
    expect(await claim('moved')).toMatchObject({ spec: { storageClassName: 'other' }, status: { phase: 'Bound' } });
    expect(await claim(`${NAME}-root`)).toMatchObject({ spec: { storageClassName: 'local' }, status: { phase: 'Bound' } });
  }, 600_000);
});
