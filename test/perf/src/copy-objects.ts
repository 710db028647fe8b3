import {
  type DataVolume,
  DataVolumeKind,
  type VirtualMachineInstance,
  VirtualMachineInstanceKind,
  VirtualMachineKind,
} from '@slipway/api';
import type { Client } from '@slipway/client';
import { type BenchWorld, GOLDEN_CLAIM, NAMESPACE } from './bench-world.ts';
import { measureUntil } from './watched.ts';

const IMMEDIATE = { 'cdi.kubevirt.io/storage.bind.immediate.requested': 'true' };

/** A clone of a claim; answers the seconds until it succeeded. */
export function cloneOf(client: Client, claim: string, name: string, size: string): Promise<number> {
  const object: DataVolume = {
    ...{ apiVersion: 'cdi.kubevirt.io/v1beta1', kind: 'DataVolume' },
    metadata: { namespace: NAMESPACE, name, annotations: IMMEDIATE },
    spec: { source: { pvc: { namespace: NAMESPACE, name: claim } }, storage: { resources: { requests: { storage: size } } } },
  };
  return measureUntil(
    client,
    DataVolumeKind,
    name,
    (found) => found?.status?.phase === 'Succeeded',
    () => client.create(DataVolumeKind, object),
  );
}

/** A clone of the golden image that every benchmark has. */
export const cloneOfGolden = (client: Client, name: string): Promise<number> => cloneOf(client, GOLDEN_CLAIM, name, '128Mi');

/** Seconds until the guest's agent answers. */
export function untilAgent(client: Client, name: string, act: () => Promise<unknown>): Promise<number> {
  const hasAgent = (vmi: VirtualMachineInstance | undefined): boolean =>
    vmi?.status?.conditions?.some(({ type, status }) => type === 'AgentConnected' && status === 'True') === true;
  return measureUntil(client, VirtualMachineInstanceKind, name, hasAgent, act);
}

/** Halts a VM and waits until its instance is gone. */
export async function untilStopped({ client, platform }: BenchWorld, name: string): Promise<void> {
  const patch = { spec: { runStrategy: 'Halted' } };
  await client.patch(VirtualMachineKind, { namespace: NAMESPACE, name }, patch, { type: 'merge' });
  await platform.tryKubectl('wait', '--for=delete', `vmi/${name}`, '--timeout=120s');
}
