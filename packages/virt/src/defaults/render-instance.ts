import type { kubevirt, VirtualMachine, VirtualMachineInstance } from '@slipway/api';
import { cloneJson } from '@slipway/apimachinery';
import type { ClusterConfig } from '../config.ts';
import { applyInstancetype } from '../instancetype/apply.ts';
import { applyPreference, type PreferenceInput } from '../instancetype/preference.ts';
import { addMissingDisks, defaultNetwork } from './default-devices.ts';
import { defaultMachineType } from './default-instance.ts';
import { firmwareUuid, identityOf, stableMac } from './stable-ids.ts';

export const VM_CONTROLLER_FINALIZER = 'kubevirt.io/virtualMachineControllerFinalize';

/** An instance type as the VM refers to it. */
export interface ResolvedInstancetype {
  readonly name: string;
  readonly kind: 'VirtualMachineInstancetype' | 'VirtualMachineClusterInstancetype';
  readonly spec: kubevirt.VirtualMachineInstancetypeSpec;
}

export interface ResolvedPreference {
  readonly name: string;
  readonly kind: 'VirtualMachinePreference' | 'VirtualMachineClusterPreference';
  readonly spec: kubevirt.VirtualMachinePreferenceSpec;
}

export interface RenderInputs {
  readonly instancetype?: ResolvedInstancetype | undefined;
  readonly preference?: ResolvedPreference | undefined;
  /** MAC addresses that interfaces had before, by interface name; what is missing is derived from the VM's uid. */
  readonly macs?: Readonly<Record<string, string>>;
}

/** An instance type that contradicts fields of the VM. */
export class InstancetypeConflict extends Error {
  /** Paths relative to the instance spec. */
  readonly fields: readonly string[];

  constructor(fields: readonly string[]) {
    super(`VMI conflicts with instancetype spec in fields: [${fields.join(', ')}]`);
    this.name = 'InstancetypeConflict';
    this.fields = fields;
  }
}

/** Fields that newer API levels dropped but stored objects may still carry. */
interface LegacyVmSpec {
  readonly liveUpdateFeatures?: {
    readonly cpu?: { readonly maxSockets?: number };
    readonly memory?: { readonly maxGuest?: string };
  };
}

function originAnnotations({ instancetype, preference }: RenderInputs): Record<string, string> {
  const cluster = (kind: string, prefix: string) =>
    kind.includes('Cluster') ? `kubevirt.io/cluster-${prefix}-name` : `kubevirt.io/${prefix}-name`;
  return {
    ...(instancetype && { [cluster(instancetype.kind, 'instancetype')]: instancetype.name }),
    ...(preference && { [cluster(preference.kind, 'preference')]: preference.name }),
  };
}

function defaultInput(spec: kubevirt.VirtualMachineInstanceSpec): void {
  const { devices } = spec.domain;
  if (devices.autoattachInputDevice !== true || (devices.inputs ?? []).length > 0) return;
  devices.inputs = [{ name: 'default-0', bus: '', type: '' }];
}

function keepMacs(vm: VirtualMachine, spec: kubevirt.VirtualMachineInstanceSpec, macs: RenderInputs['macs']): void {
  const uid = identityOf(vm.metadata);
  for (const nic of spec.domain.devices.interfaces ?? []) {
    if (nic.macAddress || nic.sriov) continue;
    const mac = macs?.[nic.name] ?? (uid === undefined ? undefined : stableMac(uid, nic.name));
    if (mac !== undefined) nic.macAddress = mac;
  }
}

function applyTypes(vmi: VirtualMachineInstance, inputs: RenderInputs): void {
  const { spec } = vmi;
  const preference: PreferenceInput = inputs.preference?.spec;
  if (inputs.instancetype) {
    const conflicts = applyInstancetype(vmi, inputs.instancetype.spec, preference);
    if (conflicts.length > 0) throw new InstancetypeConflict(conflicts);
  }
  if (preference) applyPreference(vmi, preference);
  for (const input of spec.domain.devices.inputs ?? []) {
    if (input.bus === '') input.bus = 'usb';
    if (input.type === '') input.type = 'tablet';
  }
}

/** Fields of older API levels and preferences that decide which devices are added at all. */
function applyEarly(vm: VirtualMachine, spec: kubevirt.VirtualMachineInstanceSpec, preferred: kubevirt.DevicePreferences): void {
  const { domain } = spec;
  const live = (vm.spec as LegacyVmSpec).liveUpdateFeatures; // absent from the current type
  if (live?.memory?.maxGuest !== undefined) domain.memory = { ...domain.memory, maxGuest: live.memory.maxGuest };
  if (live?.cpu) domain.cpu = { ...domain.cpu, maxSockets: live.cpu.maxSockets ?? (domain.cpu?.sockets || 1) * 4 };
  const { preferredAutoattachPodInterface: network, preferredAutoattachInputDevice: input } = preferred;
  if (network !== undefined) domain.devices.autoattachPodInterface ??= network;
  if (input !== undefined) domain.devices.autoattachInputDevice ??= input;
}

function skeleton(vm: VirtualMachine, spec: kubevirt.VirtualMachineInstanceSpec, inputs: RenderInputs): VirtualMachineInstance {
  const { name = '', namespace = 'default', generation } = vm.metadata;
  const metadata = vm.spec.template.metadata as VirtualMachine['metadata'] | undefined; // same shape
  return {
    apiVersion: 'kubevirt.io/v1',
    kind: 'VirtualMachineInstance',
    metadata: {
      name,
      namespace,
      labels: { ...metadata?.labels },
      annotations: {
        ...metadata?.annotations,
        ...originAnnotations(inputs),
        ...(generation !== undefined && { 'kubevirt.io/vm-generation': String(generation) }),
      },
      finalizers: [VM_CONTROLLER_FINALIZER],
    },
    spec,
  };
}

/**
 * The instance that a VM starts: template metadata, instance type and preference applied, identity (firmware UUID, MAC
 * addresses) that survives restarts. Owner references and status are the controller's. Throws InstancetypeConflict.
 */
export function renderInstance(vm: VirtualMachine, config: ClusterConfig, inputs: RenderInputs = {}): VirtualMachineInstance {
  const spec: kubevirt.VirtualMachineInstanceSpec = cloneJson(vm.spec.template.spec ?? { domain: { devices: {} } });
  spec.domain ??= { devices: {} };
  spec.domain.devices ??= {};
  const vmi = skeleton(vm, spec, inputs);
  const preference = inputs.preference?.spec ?? {};
  spec.architecture ||= preference.preferredArchitecture || config.defaultArchitecture;
  const firmware = (spec.domain.firmware ??= {});
  firmware.uuid ||= firmwareUuid(vm.metadata.name ?? '');
  applyEarly(vm, spec, preference.devices ?? {});
  defaultInput(spec);
  addMissingDisks(spec);
  defaultNetwork(spec, config);
  applyTypes(vmi, inputs);
  const machine = (spec.domain.machine ??= {});
  machine.type ||= defaultMachineType(spec.architecture, config);
  keepMacs(vm, spec, inputs.macs);
  return vmi;
}
