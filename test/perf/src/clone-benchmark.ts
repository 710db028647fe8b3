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
import type { Benchmark } from './benchmarks.ts';
import { copyFloor } from './copy-floors.ts';
import { cloneOf, cloneOfGolden } from './copy-objects.ts';
import { makeRow } from './rows.ts';
import { measureUntil } from './watched.ts';

const VM = 'original';
const BIG = 'big-golden';
const BIG_SIZE = '30Gi';
const ROUNDS = 5;

/** Clones of a golden image of 30 GiB and of a VM, against an overlay made by qemu-img. */
export const clone: Benchmark = async ({ world, image, imageUrl, report }) => {
  const { client } = world;
  const directory = mkdtempSync('/var/tmp/sw-bench-copies-');
  const ours = { claim: [] as number[], vm: [] as number[] };
  const overlay: number[] = [];
  try {
    report('clone: importing an image of 30 GiB');
    await measureUntil(
      client,
      DataVolumeKind,
      BIG,
      (found) => found?.status?.phase === 'Succeeded',
      () => client.create(DataVolumeKind, bigImage(imageUrl)),
    );
    await cloneOfGolden(client, `${VM}-root`);
    await client.create(VirtualMachineKind, stoppedVm());
    const files = await copyFloor(directory, image);
    for (let round = 0; round < ROUNDS; round++) {
      report(`clone ${round + 1} of ${ROUNDS}`);
      ours.claim.push(await cloneOf(client, BIG, `big-${round}`, BIG_SIZE));
      overlay.push(await files.overlay());
      ours.vm.push(await cloneVm(client, round));
    }
    await deleteAndWait(world, [VM]);
  } finally {
    rmSync(directory, { recursive: true, force: true });
  }
  const floor = { name: 'qemu-img create -b', runs: overlay };
  return [
    makeRow({
      ...{ promise: 'S8', name: 'DataVolume clone of a golden image of 30 GiB', unit: 's', runs: ours.claim, floor },
      goal: { max: 0.1, of: 'value' },
    }),
    makeRow({
      ...{ promise: 'clone', name: 'stopped VM: create to Succeeded', unit: 's', runs: ours.vm, floor },
      goal: { max: 0.3, of: 'value' },
    }),
  ];
};

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
