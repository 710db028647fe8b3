import { mkdtempSync, rmSync } from 'node:fs';
import {
  type DataVolume,
  DataVolumeKind,
  type kubevirt,
  type VirtualMachine,
  VirtualMachineCloneKind,
  VirtualMachineKind,
} from '@slipway/api';
import type { Client } from '@slipway/client';
import { benchVm, deleteAndWait, NAMESPACE } from './bench-world.ts';
import type { BenchContext, Benchmark } from './benchmarks.ts';
import { copyFloor } from './copy-floors.ts';
import { cloneOf, cloneOfGolden } from './copy-objects.ts';
import { makeRow, type Row } from './rows.ts';
import { measureUntil } from './watched.ts';

const VM = 'original';
const BIG = 'big-golden';
const BIG_SIZE = '30Gi';
const ROUNDS = 5;

/** S8: clones of a golden image of 30 GiB against an overlay made by qemu-img. */
export async function cloneBigImage({ world, image, imageUrl, report }: BenchContext): Promise<Row> {
  const { client } = world;
  report('clone: importing an image of 30 GiB');
  await measureUntil(
    client,
    DataVolumeKind,
    BIG,
    (found) => found?.status?.phase === 'Succeeded',
    () => client.create(DataVolumeKind, bigImage(imageUrl)),
  );
  const name = 'DataVolume clone of a golden image of 30 GiB';
  const clones = await besideOverlays(image, name, report, (round) => cloneOf(client, BIG, `big-${round}`, BIG_SIZE));
  return makeRow({ promise: 'S8', name, unit: 's', ...clones, goal: { max: 0.1, of: 'value' } });
}

/** Clones of a stopped VM, against an overlay made by qemu-img. */
export const clone: Benchmark = async ({ world, image, report }) => {
  const { client } = world;
  await cloneOfGolden(client, `${VM}-root`);
  await client.create(VirtualMachineKind, stoppedVm());
  const name = 'stopped VM: create to Succeeded';
  const clones = await besideOverlays(image, `clone of a ${name}`, report, (round) => cloneVm(client, round));
  await deleteAndWait(world, [VM]);
  return [makeRow({ promise: 'clone', name, unit: 's', ...clones, goal: { max: 0.3, of: 'value' } })];
};

async function besideOverlays(
  image: string,
  name: string,
  report: (text: string) => void,
  ours: (round: number) => Promise<number>,
): Promise<{ runs: number[]; floor: { name: string; runs: number[] } }> {
  const directory = mkdtempSync('/var/tmp/sw-bench-copies-');
  const runs: number[] = [];
  const overlays: number[] = [];
  try {
    const files = await copyFloor(directory, image);
    for (let round = 0; round < ROUNDS; round++) {
      report(`${name}: ${round + 1} of ${ROUNDS}`);
      runs.push(await ours(round));
      overlays.push(await files.overlay());
    }
  } finally {
    rmSync(directory, { recursive: true, force: true });
  }
  return { runs, floor: { name: 'qemu-img create -b', runs: overlays } };
}

function cloneVm(client: Client, round: number): Promise<number> {
  const name = `clone-${round}`;
  const vm = (target: string) => ({ apiGroup: 'kubevirt.io', kind: 'VirtualMachine', name: target });
  const object: kubevirt.VirtualMachineClone = {
    ...{ apiVersion: 'clone.kubevirt.io/v1beta1', kind: 'VirtualMachineClone' },
    metadata: { namespace: NAMESPACE, name },
    spec: { source: vm(VM), target: vm(`copy-${round}`) },
  };
  return measureUntil(
    client,
    VirtualMachineCloneKind,
    name,
    (found) => found?.status?.phase === 'Succeeded',
    () => client.create(VirtualMachineCloneKind, object),
  );
}

const bigImage = (url: string): DataVolume => ({
  ...{ apiVersion: 'cdi.kubevirt.io/v1beta1', kind: 'DataVolume' },
  metadata: { namespace: NAMESPACE, name: BIG, annotations: { 'cdi.kubevirt.io/storage.bind.immediate.requested': 'true' } },
  spec: { source: { http: { url } }, storage: { resources: { requests: { storage: BIG_SIZE } } } },
});

function stoppedVm(): VirtualMachine {
  const vm = benchVm(VM);
  const spec = { ...vm.spec.template.spec, volumes: [{ name: 'root', dataVolume: { name: `${VM}-root` } }] };
  return { ...vm, spec: { ...vm.spec, runStrategy: 'Halted', template: { spec } } } as VirtualMachine; // the bench VM has a domain
}
