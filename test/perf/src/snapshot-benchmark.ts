import { mkdtempSync, rmSync } from 'node:fs';
import {
  type kubevirt,
  type VirtualMachine,
  VirtualMachineKind,
  VirtualMachineRestoreKind,
  VirtualMachineSnapshotKind,
} from '@slipway/api';
import type { Client } from '@slipway/client';
import { type BenchWorld, benchVm, deleteAndWait, NAMESPACE } from './bench-world.ts';
import type { Benchmark } from './benchmarks.ts';
import { type CopyFloor, copyFloor } from './copy-floors.ts';
import { cloneOfGolden, untilAgent, untilStopped } from './copy-objects.ts';
import { startPlainLibvirt } from './floors.ts';
import { startFloorGuest } from './live-floor.ts';
import { type Goal, makeRow } from './rows.ts';
import { measure, measureUntil } from './watched.ts';

const VM = 'snap';
const ROUNDS = 5;

/** Snapshots of a running and of a stopped VM, and a restore: by the API, and by virsh and qemu-img in turn. */
export const snapshot: Benchmark = async ({ world, image, hideKvm, report }) => {
  const libvirt = await startPlainLibvirt(hideKvm);
  const directory = mkdtempSync('/var/tmp/sw-bench-copies-');
  const ours = { online: [] as number[], offline: [] as number[], restore: [] as number[] };
  const floor = { online: [] as number[], offline: [] as number[], restore: [] as number[] };
  try {
    report('snapshot: one guest of libvirt alone, one of Slipway');
    const guest = await startFloorGuest(libvirt, image, '#!/bin/sh\n');
    await cloneOfGolden(world.client, `${VM}-root`);
    await untilAgent(world.client, VM, () => world.client.create(VirtualMachineKind, vmWithDisk()));
    for (let round = 0; round < ROUNDS; round++) {
      report(`snapshot of a running VM ${round + 1} of ${ROUNDS}`);
      ours.online.push(await takeSnapshot(world.client, `online-${round}`));
      const options = ['--disk-only', '--atomic', '--quiesce', '--no-metadata', '--diskspec', 'vdb,snapshot=no'];
      floor.online.push(await measure(() => guest.virsh('snapshot-create-as', guest.name, `s${round}`, ...options)));
    }
    await guest.stop();
    await untilStopped(world, VM);
    const files = await copyFloor(directory, image);
    for (let round = 0; round < ROUNDS; round++) await offline({ world, files, ours, floor, round, report });
    await deleteAndWait(world, [VM]);
  } finally {
    await libvirt.stop();
    rmSync(directory, { recursive: true, force: true });
  }
  const row = (name: string, runs: readonly number[], floorName: string, floorRuns: readonly number[], goal: Goal) =>
    makeRow({ promise: 'snapshot', name, unit: 's', runs, floor: { name: floorName, runs: floorRuns }, goal });
  const inTime: Goal = { max: 0.2, of: 'value' };
  const running = 'running VM, frozen by its agent: create to ready';
  return [
    row(running, ours.online, 'virsh snapshot --disk-only --quiesce', floor.online, { max: 3, of: 'ratio' }),
    row('stopped VM: create to ready', ours.offline, 'qemu-img snapshot -c', floor.offline, inTime),
    row('restore: create to complete', ours.restore, 'qemu-img snapshot -a', floor.restore, inTime),
  ];
};

interface OfflineRound {
  readonly world: BenchWorld;
  readonly files: CopyFloor;
  readonly ours: { readonly offline: number[]; readonly restore: number[] };
  readonly floor: { readonly offline: number[]; readonly restore: number[] };
  readonly round: number;
  readonly report: (text: string) => void;
}

async function offline({ world, files, ours, floor, round, report }: OfflineRound): Promise<void> {
  report(`snapshot and restore of a stopped VM ${round + 1} of ${ROUNDS}`);
  ours.offline.push(await takeSnapshot(world.client, `offline-${round}`));
  floor.offline.push(await files.snapshot());
  ours.restore.push(await restore(world.client, round));
  floor.restore.push(await files.restore());
}

const source = { apiGroup: 'kubevirt.io', kind: 'VirtualMachine', name: VM };

function takeSnapshot(client: Client, name: string): Promise<number> {
  const object: kubevirt.VirtualMachineSnapshot = {
    ...{ apiVersion: 'snapshot.kubevirt.io/v1beta1', kind: 'VirtualMachineSnapshot' },
    metadata: { namespace: NAMESPACE, name },
    spec: { source },
  };
  return measureUntil(
    client,
    VirtualMachineSnapshotKind,
    name,
    (found) => found?.status?.readyToUse === true,
    () => client.create(VirtualMachineSnapshotKind, object),
  );
}

function restore(client: Client, round: number): Promise<number> {
  const name = `back-${round}`;
  const object: kubevirt.VirtualMachineRestore = {
    ...{ apiVersion: 'snapshot.kubevirt.io/v1beta1', kind: 'VirtualMachineRestore' },
    metadata: { namespace: NAMESPACE, name },
    spec: { target: source, virtualMachineSnapshotName: `offline-${round}` },
  };
  return measureUntil(
    client,
    VirtualMachineRestoreKind,
    name,
    (found) => found?.status?.complete === true,
    () => client.create(VirtualMachineRestoreKind, object),
  );
}

function vmWithDisk(): VirtualMachine {
  const vm = benchVm(VM);
  const volumes = [{ name: 'root', dataVolume: { name: `${VM}-root` } }];
  const spec = { ...vm.spec.template.spec, volumes };
  return { ...vm, spec: { ...vm.spec, template: { spec } } } as VirtualMachine; // the bench VM has a domain
}
