import { createHash } from 'node:crypto';
import { readdirSync, readFileSync } from 'node:fs';
import { open } from 'node:fs/promises';
import { join } from 'node:path';
import { pipeline } from 'node:stream/promises';
import { type ImageServer, serveImages } from '@slipway/daemon';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type GuestShell, guestShell, shellVm } from './src/guest-shell.ts';
import { guestImage, type Platform, startPlatform } from './src/platform.ts';

/** `SLIPWAY_E2E_LONG=1`: the agent is killed while a disk is copied. */
const isLong = process.env['SLIPWAY_E2E_LONG'] === '1';
const NAME = 'mover';
const BOOT_MS = 240_000;
const SECTOR_BYTES = 512;
const HAS_DATA = "until grep -q ' /data ' /proc/mounts; do sleep 1; done";
/** Blocks of these two files, whose content is the same, are written over one by one; one of them is in the guest's memory. */
const WRITE = `rm -f /tmp/enough /tmp/done
if [ ! -e /tmp/twin ]; then dd if=/dev/zero of=/tmp/twin bs=4k count=512; cp /tmp/twin /data/twin; echo 0 > /data/count; fi
(i=$(tail -n 1 /data/count)
while [ ! -e /tmp/enough ]; do
  i=$((i+1)); at=$((i*197%512))
  dd if=/dev/urandom of=/tmp/block bs=4k count=1
  dd if=/tmp/block of=/tmp/twin bs=4k seek=$at conv=notrunc
  dd if=/tmp/block of=/data/twin bs=4k seek=$at conv=notrunc,fsync
  echo $i >> /data/count
done
touch /tmp/done) > /dev/null 2>&1 &`;
const STOP_WRITING = 'touch /tmp/enough; until [ -e /tmp/done ]; do sleep 1; done; sync; echo 3 > /proc/sys/vm/drop_caches';
/** Not while it is mounted, even to be read only: the guest would answer with blocks of its journal that it holds in memory. */
const PARTITION =
  "umount /data && sha256sum < /dev/vda2 | tr -d ' -' && cat /sys/class/block/vda2/start /sys/class/block/vda2/size";

interface Vm {
  spec: { template: { spec: { volumes: { name: string; dataVolume?: { name: string } }[] } } };
  status?: { printableStatus?: string; conditions?: { type: string; reason?: string; message?: string }[] };
}
interface Claim {
  metadata: { uid: string };
  spec: { storageClassName?: string };
  status?: { phase?: string };
}
interface Vmi {
  metadata: { uid: string };
  status?: { migratedVolumes?: unknown[]; volumeStatus?: { name: string; message?: string }[] };
}
interface KubeVirt {
  spec: { configuration?: { migrations?: { bandwidthPerMigration?: string } } };
}

const change = ({ status }: Vm) => status?.conditions?.find(({ type }) => type === 'VolumesChange');

describe('a volume of a VM', () => {
  let platform: Platform;
  let images: ImageServer;
  let shell: GuestShell;
  let blob: string;

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

  /** A blank claim, which takes the place of the one that volume `root` names; `more`: further changes of the spec. */
  async function moveTo(
    claim: string,
    { size = '160Mi', storageClass = 'other', ...more }: Record<string, unknown> = {},
  ): Promise<void> {
    const { spec: now } = await platform.until<Vm>(`vm ${NAME}`, () => true, 10_000);
    const storage = { storageClassName: storageClass, resources: { requests: { storage: size } } };
    const dataVolumeTemplates = [{ metadata: { name: claim }, spec: { source: { blank: {} }, storage } }];
    const volumes = now.template.spec.volumes.map((volume) =>
      volume.name === 'root' ? { name: 'root', dataVolume: { name: claim } } : volume,
    );
    const spec = { updateVolumesStrategy: 'Migration', dataVolumeTemplates, template: { spec: { volumes } }, ...more };
    await platform.kubectl('patch', 'vm', NAME, '--type', 'merge', '-p', JSON.stringify({ spec }));
  }
  const hasMoved = (from: string, to: string): Promise<Vm> =>
    platform.until<Vm>(
      `vm ${NAME}`,
      (vm) => change(vm)?.reason === 'VolumesChangeCompleted' && change(vm)?.message?.includes(`from ${from} to ${to}.`) === true,
      180_000,
    );
  const isBeingCopied = (claim: string): Promise<Vmi> =>
    platform.until<Vmi>(
      `vmi ${NAME}`,
      ({ status }) => status?.volumeStatus?.some(({ message }) => message?.endsWith(`% copied into claim ${claim}`)) === true,
      120_000,
    );
  const isCancelled = (): Promise<Vm> =>
    platform.until<Vm>(`vm ${NAME}`, (vm) => change(vm)?.reason === 'VolumesChangeCancellation', 120_000);
  const claimOf = async (name: string): Promise<Claim> =>
    JSON.parse(await platform.kubectl('get', 'pvc', name, '-o', 'json')) as Claim;

  /** How fast disks are copied, as an administrator of HyperConverged limits migrations. */
  async function limitCopies(bandwidthPerMigration: string): Promise<void> {
    const patch = JSON.stringify({ spec: { liveMigrationConfig: { bandwidthPerMigration } } });
    await platform.kubectl('patch', 'hco', 'kubevirt-hyperconverged', '-n', 'openshift-cnv', '--type', 'merge', '-p', patch);
    await platform.until<KubeVirt>(
      'kubevirt kubevirt-kubevirt-hyperconverged -n openshift-cnv',
      ({ spec }) => spec.configuration?.migrations?.bandwidthPerMigration === bandwidthPerMigration,
    );
  }

  /** The file of this claim has what the guest reads, and that is what the guest has written. */
  async function expectWhole(claim: string): Promise<void> {
    expect(await shell.run('cmp /data/twin /tmp/twin && echo same')).toBe('same\n');
    expect(await shell.run('sha256sum /data/blob')).toBe(blob);
    const answer = await shell.run(PARTITION);
    expect(answer).toMatch(/^[0-9a-f]{64}\n\d+\n\d+\n$/);
    const [sum = '', start, sectors] = answer.split('\n');
    const { metadata } = await claimOf(claim);
    const nodes = join(platform.dataDir, 'nodes');
    const disk = await open(join(nodes, readdirSync(nodes)[0] ?? '', 'volumes', metadata.uid, 'disk.img'));
    const first = Number(start) * SECTOR_BYTES;
    const hash = createHash('sha256').setEncoding('hex');
    // closes the file
    await pipeline(disk.createReadStream({ start: first, end: first + Number(sectors) * SECTOR_BYTES - 1 }), hash);
    expect(hash.read()).toBe(sum);
    // writes, so not before
    expect(await shell.run('mount -t ext4 /dev/vda2 /data && echo mounted')).toBe('mounted\n');
  }

  it('that runs and writes moves to a larger claim, after a move that was called off', async () => {
    shell = await guestShell(platform, NAME, '', BOOT_MS);
    await shell.run(HAS_DATA);
    blob = await shell.run('head -c 1000003 /dev/urandom > /data/blob; sync; sha256sum /data/blob');
    expect(blob).toMatch(/^[0-9a-f]{64} /);
    await shell.run(WRITE);

    await limitCopies('256Ki');
    await moveTo('unwanted');
    expect((await isBeingCopied('unwanted')).status?.migratedVolumes).toHaveLength(1);
    await moveTo(`${NAME}-root`, { size: '128Mi', storageClass: 'local' });
    await isCancelled();
    const left = await platform.until<Vmi>(`vmi ${NAME}`, () => true, 10_000);
    expect(left.status?.migratedVolumes).toBeUndefined();
    await limitCopies('0');

    await moveTo('larger');
    const live = await hasMoved(`${NAME}-root`, 'larger');
    expect(live.status?.conditions?.map(({ type }) => type)).not.toContain('RestartRequired');
    await shell.run(STOP_WRITING);
    expect(Number(await shell.run('cat /sys/class/block/vda/size'))).toBe((160 * 1024 * 1024) / SECTOR_BYTES);
    await expectWhole('larger');
    // the old claim is free although the pod of the guest names it, and the new one is kept although the pod does not
    await platform.kubectl('delete', 'dv', `${NAME}-root`);
    await platform.kubectl('wait', 'pvc', `${NAME}-root`, '--for=delete', '--timeout=60s');
    const { metadata } = await platform.until<Vmi>(`vmi ${NAME}`, () => true, 10_000);
    expect(metadata.uid).toBe(shell.instanceUid);
  }, 600_000);

  it('that is stopped moves to another class with what the guest wrote, while the old claim stays', async () => {
    const written = await shell.run('sha256sum /data/blob /data/twin /data/count');
    await platform.kubectl('patch', 'vm', NAME, '--type', 'merge', '-p', '{"spec":{"runStrategy":"Halted"}}');
    await platform.until<Vm>(`vm ${NAME}`, ({ status }) => status?.printableStatus === 'Stopped', 120_000);
    // the start waits for the move
    await moveTo('moved', { runStrategy: 'Always' });
    await hasMoved('larger', 'moved');

    shell = await guestShell(platform, NAME, shell.instanceUid, BOOT_MS);
    await shell.run(HAS_DATA);
    expect(await shell.run('sha256sum /data/blob /data/twin /data/count')).toBe(written);
    expect(await claimOf('moved')).toMatchObject({ spec: { storageClassName: 'other' }, status: { phase: 'Bound' } });
    expect(await claimOf('larger')).toMatchObject({ spec: { storageClassName: 'other' }, status: { phase: 'Bound' } });
  }, 600_000);

  it.runIf(isLong)(
    'is whole when the agent is killed again and again while it is copied',
    async () => {
      await shell.run(WRITE);
      await limitCopies('1Mi');
      await moveTo('shared', { storageClass: 'shared', size: '192Mi' });
      await isBeingCopied('shared');
      await killAgent();
      await limitCopies('0');
      await hasMoved('moved', 'shared');
      for (const [index, delay] of [0, 1, 2].entries()) {
        const from = index === 0 ? 'shared' : `local-${index - 1}`;
        await moveTo(`local-${index}`, { size: '192Mi' });
        const isMade = ({ status }: Claim): boolean => status?.phase === 'Succeeded';
        if (delay > 0) await platform.until<Claim>(`dv local-${index}`, isMade, 120_000);
        for (let kills = 0; kills < delay; kills++) await killAgent();
        await hasMoved(from, `local-${index}`);
      }
      await shell.run(STOP_WRITING);
      await expectWhole('local-2');
    },
    900_000,
  );

  /** Resolves when the supervisor has started another one. */
  async function killAgent(): Promise<void> {
    const isAgent = (command: string): boolean =>
      command.includes(`${platform.dataDir}/bin/node.program\0`) && /^[^\0]*node\0/.test(command);
    const before = pidOf(isAgent);
    process.kill(before, 'SIGKILL');
    await expect.poll(() => findPid(isAgent, before), { timeout: 60_000 }).toBeDefined();
  }
});

/** Process with such a command line besides this one. */
function findPid(isIt: (command: string) => boolean, besides = 0): number | undefined {
  const pids = readdirSync('/proc').map(Number);
  return pids.find((pid) => {
    try {
      return pid > 0 && pid !== besides && isIt(readFileSync(`/proc/${pid}/cmdline`, 'utf8'));
    } catch {
      return false; // it has ended
    }
  });
}

function pidOf(isIt: (command: string) => boolean): number {
  const pid = findPid(isIt);
  if (pid === undefined) throw new Error('There is no such process');
  return pid;
}
