import type { kubevirt } from '@slipway/api';
import { isS390x } from '../domain/shape.ts';

const SPINLOCK_RETRIES = 4096;

type Toggle = { enabled?: boolean };

/** Each Hyper-V flag and the one it needs. */
export const HYPERV_DEPENDENCIES = [
  ['evmcs', 'vapic'],
  ['synictimer', 'synic'],
  ['synic', 'vpindex'],
  ['ipi', 'vpindex'],
  ['tlbflush', 'vpindex'],
] as const;

function enable(toggle: Toggle | undefined): void {
  if (toggle) toggle.enabled ??= true;
}

function defaultHyperv(spec: kubevirt.VirtualMachineInstanceSpec, hyperv: kubevirt.FeatureHyperv): void {
  const flags = hyperv as Record<string, Toggle | undefined>; // every member of the type has `enabled`
  for (const flag of Object.values(flags)) enable(flag);
  for (const flag of [hyperv.synictimer?.direct, hyperv.tlbflush?.direct, hyperv.tlbflush?.extended]) enable(flag);
  if (hyperv.spinlocks?.enabled) hyperv.spinlocks.spinlocks ??= SPINLOCK_RETRIES;
  // A dependency that the user switched off stays off: admission refuses the combination.
  for (const [flag, needed] of HYPERV_DEPENDENCIES) if (flags[flag]?.enabled) flags[needed] ??= { enabled: true };
  if (hyperv.evmcs?.enabled) requireVmx(spec);
}

function requireVmx(spec: kubevirt.VirtualMachineInstanceSpec): void {
  const cpu = (spec.domain.cpu ??= {});
  const features = (cpu.features ??= []);
  const vmx = features.find(({ name }) => name === 'vmx');
  if (vmx) vmx.policy = 'require';
  else features.push({ name: 'vmx', policy: 'require' });
}

/** A timer that is named is there, unless it says that it is not. */
export function defaultTimers({ clock }: kubevirt.DomainSpec): void {
  const timers: readonly ({ present?: boolean } | undefined)[] = Object.values(clock?.timer ?? {});
  for (const timer of timers) if (timer) timer.present ??= true;
}

/** The feature section exists always, and a feature that is named without a value is on. */
export function defaultFeatures(spec: kubevirt.VirtualMachineInstanceSpec): void {
  const features = (spec.domain.features ??= {});
  features.acpi ??= {};
  features.acpi.enabled ??= !isS390x(spec.architecture);
  enable(features.apic);
  enable(features.smm);
  enable(features.pvspinlock);
  enable(features.hypervPassthrough);
  if (features.hyperv) defaultHyperv(spec, features.hyperv);
}
