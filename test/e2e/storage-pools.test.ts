import { execFileSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync, statSync, truncateSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { type ImageServer, serveImages } from '@slipway/daemon';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { importedVm } from './src/manifests.ts';
import { guestImage, type Platform, ROOT, startPlatform } from './src/platform.ts';
import { openTerminal, type Terminal } from './src/terminal.ts';

const MiB = 1024 * 1024;
const BOOT_MS = 240_000;

interface Conditioned {
  status?: { conditions?: { type: string; status: string; message?: string }[] };
}
const has =
  (type: string) =>
  ({ status }: Conditioned): boolean =>
    status?.conditions?.some((condition) => condition.type === type && condition.status === 'True') === true;

interface Claim {
  spec: { volumeName?: string };
  status?: { phase?: string; capacity?: { storage: string } };
}

/** What an administrator of the hostpath provisioner writes. */
const provisioner = (path: string) => [
  {
    apiVersion: 'hostpathprovisioner.kubevirt.io/v1beta1',
    kind: 'HostPathProvisioner',
    metadata: { name: 'hostpath-provisioner' },
    spec: {
      imagePullPolicy: 'IfNotPresent',
      storagePools: [{ name: 'second', path }],
      workload: { nodeSelector: { 'kubernetes.io/os': 'linux' } },
    },
  },
  {
    apiVersion: 'storage.k8s.io/v1',
    kind: 'StorageClass',
    metadata: { name: 'hostpath-csi' },
    provisioner: 'kubevirt.io.hostpath-provisioner',
    reclaimPolicy: 'Delete',
    volumeBindingMode: 'WaitForFirstConsumer',
    allowVolumeExpansion: true,
    parameters: { storagePool: 'second' },
  },
];

describe('a VM on a second file system', () => {
  let platform: Platform;
  let images: ImageServer;
  let terminal: Terminal | undefined;
  const root = mkdtempSync('/tmp/sw-pool-');
  const disk = join(root, 'disk');

  beforeAll(async () => {
    mkdirSync(disk);
    writeFileSync(`${disk}.ext4`, '');
    truncateSync(`${disk}.ext4`, 512 * MiB);
    execFileSync('chmod', ['755', root]);
    execFileSync('mkfs.ext4', ['-q', '-F', `${disk}.ext4`]);
    execFileSync('mount', ['-o', 'loop', `${disk}.ext4`, disk]);
    const { qcow2Path } = await guestImage('tiny');
    images = await serveImages({ '/tiny.qcow2': qcow2Path });
    platform = await startPlatform();
  }, 480_000);

  afterAll(async () => {
    terminal?.close();
    await images?.close();
    try {
      await platform?.destroy();
    } finally {
      // a guest's mount namespace may keep the file system for a moment longer
      execFileSync('umount', ['--lazy', disk]);
      rmSync(root, { recursive: true, force: true });
    }
  });

  it('boots from a disk in the pool, and sees it grow', async () => {
    for (const object of provisioner(disk)) await platform.apply(object);
    await platform.until<Conditioned>('hostpathprovisioner hostpath-provisioner', has('Available'));
    await platform.apply(importedVm('box', `${images.url}/tiny.qcow2`, { storage: { storageClassName: 'hostpath-csi' } }));
    await platform.until<Conditioned>('vmi box', has('AgentConnected'), BOOT_MS);

    const claim = await platform.until<Claim>('pvc box-root', ({ status }) => status?.phase === 'Bound');
    const path = await platform.kubectl('get', 'pv', claim.spec.volumeName ?? '', '-o', 'jsonpath={.spec.local.path}');
    expect(path.startsWith(`${disk}/slipway-`)).toBe(true);
    expect(statSync(join(path, 'disk.img')).dev).toBe(statSync(disk).dev);

    terminal = openTerminal([`${ROOT}/slipway`, 'virt', 'console', 'box'], {
      ...process.env,
      KUBECONFIG: platform.kubeconfig,
    });
    await terminal.expect(/Successfully connected/, BOOT_MS);
    terminal.type('\n');
    await terminal.expect(/login: $/, BOOT_MS);
    await terminal.answer('demo', /[Pp]assword: $/, BOOT_MS);
    await terminal.answer('secret', /[$#] /, BOOT_MS);
    const patch = { spec: { resources: { requests: { storage: '192Mi' } } } };
    await platform.kubectl('patch', 'pvc', 'box-root', '--type', 'merge', '-p', JSON.stringify(patch));
    await platform.until<Claim>('pvc box-root', ({ status }) => status?.capacity?.storage === '192Mi');
    const sectors = (192 * MiB) / 512;
    await terminal.answer(
      `until [ "$(cat /sys/block/vda/size)" = ${sectors} ]; do sleep 1; done; echo nwo''rg | rev`,
      /grown/,
      BOOT_MS,
    );

    // the agent says every now and then what is promised
    interface Capacity {
      metadata: { annotations: Record<string, string> };
    }
    const node = (await platform.kubectl('get', 'nodes', '-o', 'jsonpath={.items[0].metadata.name}')).trim();
    await platform.until<Capacity>(
      `csistoragecapacity hostpath-csi.${node} -n openshift-cnv`,
      ({ metadata }) => metadata.annotations['slipway.dev/promised'] === '192Mi',
      120_000,
    );
  }, 600_000);
});
