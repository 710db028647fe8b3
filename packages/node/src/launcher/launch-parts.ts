import type { Pod, VirtualMachineInstance } from '@slipway/api';
import type { CgroupLimits } from '@slipway/hostapi';
import { bytesOf, milliOf } from '@slipway/virt';
import type { NodeFacts } from './node-facts.ts';

/** Largest translation cache of QEMU: part of software emulation, not of what the pod asked for. */
const TRANSLATION_CACHE_BYTES = 1024 ** 3;

/** Something that happens once. */
export interface OneShot {
  readonly promise: Promise<void>;
  fire(): void;
}

export function oneShot(): OneShot {
  let fire = (): void => {};
  const promise = new Promise<void>((resolve) => {
    fire = resolve;
  });
  return { promise, fire };
}

/** Limits that the pod's first container asks for; none means none. */
export function limitsOf(pod: Pod, { kvm }: NodeFacts): CgroupLimits {
  const slack = kvm.state === 'usable' ? 0 : TRANSLATION_CACHE_BYTES;
  const { memory, cpu } = pod.spec?.containers[0]?.resources?.limits ?? {};
  return {
    ...(memory !== undefined && { memoryBytes: bytesOf(memory) + slack }),
    ...(cpu !== undefined && { cpus: Number(milliOf(cpu)) / 1000 }),
  };
}

/** What the pod's first container asks for; KubeVirt asks for a tenth of a processor for each one of the guest. */
export function requestedCpus(pod: Pod): number {
  const { cpu } = pod.spec?.containers[0]?.resources?.requests ?? {};
  return cpu === undefined ? 0 : Number(milliOf(cpu)) / 1000;
}

/** Name of the domain in libvirt. */
export const domainName = (vmi: VirtualMachineInstance): string => `${vmi.metadata.namespace ?? 'default'}_${vmi.metadata.name}`;

/** Rejects when the signal is aborted. */
export function aborted(signal: AbortSignal): Promise<never> {
  return new Promise((_resolve, reject) => {
    if (signal.aborted) reject(signal.reason);
    else signal.addEventListener('abort', () => reject(signal.reason), { once: true });
  });
}
