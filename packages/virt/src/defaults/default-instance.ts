import type { kubevirt, VirtualMachineInstance } from '@slipway/api';
import { cloneJson } from '@slipway/apimachinery';
import type { ClusterConfig } from '../config.ts';
import { cpuTopology, guestMemory, isAmd64, isArm64, isS390x } from '../domain/shape.ts';
import { milliOf, unitsOf } from '../quantity.ts';
import { defaultDevices } from './default-devices.ts';
import { defaultFeatures, defaultTimers } from './default-features.ts';
import { defaultHotplugLimits } from './hotplug-limits.ts';

export const VMI_FINALIZER = 'kubevirt.io/foregroundDeleteVirtualMachine';

/** Values that a pure function may not make itself. */
export interface DefaultingInputs {
  /** For instances without a firmware UUID. */
  readonly uuid: string;
}

/** Machine type of an architecture for VMs that name none. */
export function defaultMachineType(architecture: string, config: ClusterConfig): string {
  const { architectureConfiguration, machineType } = config.configuration;
  if (isArm64(architecture)) return architectureConfiguration?.arm64?.machineType || 'virt';
  if (isS390x(architecture)) return architectureConfiguration?.s390x?.machineType || 's390-ccw-virtio';
  return machineType || architectureConfiguration?.amd64?.machineType || 'q35';
}

function defaultCpu(spec: kubevirt.VirtualMachineInstanceSpec, config: ClusterConfig): void {
  const { domain } = spec;
  const cpu = (domain.cpu ??= {});
  if (!cpu.sockets && !cpu.cores && !cpu.threads) Object.assign(cpu, cpuTopology(domain));
  cpu.model ||= isArm64(spec.architecture) ? 'host-passthrough' : config.configuration.cpuModel || 'host-model';
  const resources = (domain.resources ??= {});
  const { requests, limits } = resources;
  if (requests?.['cpu'] !== undefined) return;
  const clusterRequest = config.configuration.cpuRequest;
  if (limits?.['cpu'] !== undefined) resources.requests = { ...requests, cpu: limits['cpu'] };
  else if (clusterRequest !== undefined && milliOf(clusterRequest) !== 100n)
    resources.requests = { ...requests, cpu: clusterRequest };
}

function defaultMemory(domain: kubevirt.DomainSpec): void {
  const guest = guestMemory(domain);
  if (guest !== undefined) domain.memory = { ...domain.memory, guest };
  const { requests, limits } = domain.resources ?? {};
  if (requests?.['memory'] === undefined && limits?.['memory'] !== undefined)
    domain.resources = { ...domain.resources, requests: { ...requests, memory: limits['memory'] } };
}

function defaultFirmware(spec: kubevirt.VirtualMachineInstanceSpec, inputs: DefaultingInputs): void {
  const firmware = (spec.domain.firmware ??= {});
  firmware.uuid ||= inputs.uuid;
  if (isArm64(spec.architecture)) {
    const bootloader = (firmware.bootloader ??= {});
    bootloader.efi ??= {};
    bootloader.efi.secureBoot ??= false;
  }
}

function currentTopology(domain: kubevirt.DomainSpec): kubevirt.CPUTopology {
  return { ...cpuTopology(domain) };
}

function defaultStatus(vmi: VirtualMachineInstance, config: ClusterConfig): void {
  const status = (vmi.status ??= {});
  if (!config.hasGate('Root')) status.runtimeUser ??= 107;
  status.currentCPUTopology ??= currentTopology(vmi.spec.domain);
  const guest = vmi.spec.domain.memory?.guest;
  if (guest !== undefined) status.memory ??= { guestAtBoot: guest, guestCurrent: guest, guestRequested: guest };
}

/**
 * The instance as it is stored: every field that shapes the guest is filled in. Pure; `phase` and its timestamp are
 * set by the caller, which has a clock.
 */
export function defaultInstance(
  original: VirtualMachineInstance,
  config: ClusterConfig,
  inputs: DefaultingInputs,
): VirtualMachineInstance {
  const vmi = cloneJson(original);
  const { spec } = vmi;
  spec.architecture ||= config.defaultArchitecture;
  spec.domain ??= { devices: {} };
  spec.domain.devices ??= {};
  const machine = (spec.domain.machine ??= {});
  machine.type ||= defaultMachineType(spec.architecture, config);
  defaultCpu(spec, config);
  defaultMemory(spec.domain);
  defaultDevices(spec, config);
  defaultFeatures(spec);
  defaultTimers(spec.domain);
  defaultFirmware(spec, inputs);
  spec.evictionStrategy ??= config.configuration.evictionStrategy ?? 'None';
  if (!isArm64(spec.architecture)) defaultHotplugLimits(spec, config);
  defaultStatus(vmi, config);
  const finalizers = vmi.metadata.finalizers ?? [];
  if (!finalizers.includes(VMI_FINALIZER)) vmi.metadata.finalizers = [...finalizers, VMI_FINALIZER];
  return vmi;
}

/** Whole CPUs that a quantity stands for. */
export const cpusOf = (quantity: string | number): number => Number(unitsOf(quantity));

export { isAmd64 };
