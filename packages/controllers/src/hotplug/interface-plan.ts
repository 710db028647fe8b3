import type { VirtualMachineInstance } from '@slipway/api';
import { VmiPhase } from '@slipway/api';

/** Names of interfaces that were asked to go and are gone: what is left of them in the spec can be removed. */
export function detachedInterfaces({ spec, status }: VirtualMachineInstance): readonly string[] {
  if (status?.phase !== VmiPhase.running) return [];
  const present = new Set((status.interfaces ?? []).map(({ name }) => name));
  const isSecond = (name: string): boolean => (spec.networks ?? []).some((entry) => entry.name === name && entry.multus);
  return (spec.domain.devices.interfaces ?? []).flatMap(({ name, state }) =>
    state === 'absent' && isSecond(name) && !present.has(name) ? [name] : [],
  );
}

/** Merge patch of the instance's spec without these interfaces and their networks. */
export function withoutInterfaces({ spec }: VirtualMachineInstance, names: readonly string[]): object {
  const isLeft = ({ name }: { readonly name: string }): boolean => !names.includes(name);
  return {
    networks: (spec.networks ?? []).filter(isLeft),
    domain: { devices: { interfaces: (spec.domain.devices.interfaces ?? []).filter(isLeft) } },
  };
}
