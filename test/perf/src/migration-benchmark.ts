import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import {
  type VirtualMachineInstance,
  VirtualMachineInstanceKind,
  type VirtualMachineInstanceMigration,
  VirtualMachineInstanceMigrationKind,
} from '@slipway/api';
import { serveImages } from '@slipway/daemon';
import { guestShell, shellVm } from '../../e2e/src/guest-shell.ts';
import { type Platform, startPlatform } from '../../e2e/src/platform.ts';
import { type Beats, listenForBeats } from '../../e2e/src/beats.ts';
import { connect, NAMESPACE, type BenchWorld } from './bench-world.ts';
import type { Benchmark } from './benchmarks.ts';
import { startMigrationFloor } from './migration-floor.ts';
import { makeRow, type Row } from './rows.ts';
import { measureUntil } from './watched.ts';

const ROUNDS = 3;
const STORAGES = ['shared', 'copied'] as const;
type Storage = (typeof STORAGES)[number];

interface Times {
  /** Of ours alone: from the target's readiness to the end. */
  readonly moving: number[];
  readonly total: number[];
  readonly silence: number[];
}
const noTimes = (): Times => ({ moving: [], total: [], silence: [] });

/** S9: a guest that answers pings and does nothing else moves to another node and back, and between two plain libvirtd. */
export const migration: Benchmark = async ({ image, hideKvm, report }) => {
  const platform = await startPlatform({ nodes: 2 });
  const world = await connect(platform);
  const { link } = JSON.parse(readFileSync(join(platform.dataDir, 'instance.json'), 'utf8')) as { link: { hostV4: string } };
  const images = await serveImages({ '/tiny.qcow2': image }, link.hostV4);
  try {
    const rows: Row[] = [];
    const floor = await startMigrationFloor(image, hideKvm);
    const floors = { shared: noTimes(), copied: noTimes() };
    const ours = { shared: noTimes(), copied: noTimes() };
    try {
      for (const storage of STORAGES) {
        report(`migration: a guest with ${storage} storage`);
        const beats = listenForBeats(await startVm(platform, storage, `${images.url}/tiny.qcow2`));
        for (let round = 0; round < ROUNDS; round++) {
          report(`migration with ${storage} storage ${round + 1} of ${ROUNDS}`);
          await timed(beats, ours[storage], () => moveOurs(world, `${storage}-${round}`, storage, ours[storage].moving));
          await timed(floor.beats, floors[storage], () => floor.move(storage));
        }
        await beats.stop();
        await platform.kubectl('delete', 'vm', storage, '--timeout=120s');
      }
    } finally {
      await floor.stop();
    }
    for (const storage of STORAGES) rows.push(...rowsOf(storage, ours[storage], floors[storage]));
    return rows;
  } finally {
    await images.close();
    await world.close();
    await platform.destroy();
  }
};

function rowsOf(storage: Storage, ours: Times, floor: Times): Row[] {
  const virsh = `virsh migrate --p2p${storage === 'copied' ? ' --copy-storage-all' : ''}`;
  return [
    makeRow({
      ...{
        promise: 'S9',
        name: `downtime, ${storage} storage: longest silence of an idle guest`,
        unit: 'ms',
        runs: ours.silence,
      },
      floor: { name: virsh, runs: floor.silence },
      goal: { max: 100, of: 'value' },
    }),
    makeRow({
      ...{ promise: 'S9', name: `migration, ${storage} storage: created to Succeeded`, unit: 's', runs: ours.total },
      floor: { name: virsh, runs: floor.total },
      goal: { max: 1.2, of: 'ratio' },
    }),
    makeRow({
      ...{ promise: 'S9', name: `of that, phase Running to Succeeded`, unit: 's', runs: ours.moving },
      floor: { name: virsh, runs: floor.total },
    }),
  ];
}

async function startVm(platform: Platform, storage: Storage, imageUrl: string): Promise<string> {
  const vm = shellVm(storage, imageUrl, { memory: '128Mi' }) as {
    spec: { dataVolumeTemplates: { spec: { storage: Record<string, unknown> } }[] };
  };
  for (const template of vm.spec.dataVolumeTemplates)
    template.spec.storage['storageClassName'] = storage === 'shared' ? 'shared' : 'local';
  await platform.apply(vm);
  await guestShell(platform, storage);
  return platform.kubectl('get', 'vmi', storage, '-o', 'jsonpath={.status.interfaces[0].ipAddress}');
}

/** One migration while somebody listens; it is over when the guest is heard again. */
async function timed(beats: Beats, times: Times, move: () => Promise<number>): Promise<void> {
  await beats.next();
  beats.restart();
  times.total.push(await move());
  await beats.next();
  times.silence.push(beats.longestSilence());
}

async function moveOurs({ client }: BenchWorld, name: string, vmiName: string, moving: number[]): Promise<number> {
  const request = {
    ...{ apiVersion: 'kubevirt.io/v1', kind: 'VirtualMachineInstanceMigration' },
    ...{ metadata: { name, namespace: NAMESPACE }, spec: { vmiName } },
  } as VirtualMachineInstanceMigration; // the server fills the rest in
  const before = await client.get(VirtualMachineInstanceKind, { namespace: NAMESPACE, name: vmiName });
  let runningAt: number | undefined;
  const isOver = (now: VirtualMachineInstanceMigration | undefined): boolean => {
    const { phase = '' } = now?.status ?? {};
    if (phase === 'Running') runningAt ??= performance.now();
    return /^(Succeeded|Failed)$/.test(phase);
  };
  const seconds = await measureUntil(client, VirtualMachineInstanceMigrationKind, name, isOver, () =>
    client.create(VirtualMachineInstanceMigrationKind, request),
  );
  moving.push((performance.now() - (runningAt ?? performance.now())) / 1000);
  const after: VirtualMachineInstance = await client.get(VirtualMachineInstanceKind, { namespace: NAMESPACE, name: vmiName });
  if (after.status?.nodeName === before.status?.nodeName)
    throw new Error(`The guest did not move: ${JSON.stringify(after.status?.migrationState)}`);
  return seconds;
}
