import { isDeepStrictEqual } from 'node:util';
import type { kubevirt, VirtualMachine, VirtualMachineInstance } from '@slipway/api';
import type { ClusterConfig } from '../config.ts';
import { defaultInstance } from '../defaults/default-instance.ts';
import { memoryHotplugObstacle } from '../defaults/hotplug-limits.ts';
import { type ResolvedInstancetype, type ResolvedPreference, renderInstance } from '../defaults/render-instance.ts';
import { derivedUuid } from '../defaults/stable-ids.ts';
import { cpuTopology, guestMemory, vcpuCount } from '../domain/shape.ts';
import { instancetypeConflicts } from '../instancetype/apply.ts';
import { topologyName } from '../instancetype/topology.ts';
import { bytesOf, type Quantity } from '../quantity.ts';
import { type Cause, invalid, notFound, notSupported, required, when } from './causes.ts';
import { checkInstanceSpec } from './instance-spec.ts';
import { checkInstanceMetadata } from './metadata.ts';

const RUN_STRATEGIES = ['Halted', 'Manual', 'Always', 'RerunOnFailure', 'Once', 'WaitAsReceiver'];

export interface VirtualMachineContext {
  readonly config: ClusterConfig;
  readonly isPlatform: boolean;
  readonly instancetype?: ResolvedInstancetype | undefined;
  readonly preference?: ResolvedPreference | undefined;
}

function checkRunStrategy({ spec }: VirtualMachine, config: ClusterConfig): readonly Cause[] {
  const { running, runStrategy } = spec;
  if (running !== undefined && runStrategy !== undefined)
    return [
      invalid(
        'spec.running',
        'Running and RunStrategy are mutually exclusive. Note that Running is deprecated, please use RunStrategy instead',
      ),
    ];
  if (running === undefined && runStrategy === undefined)
    return [invalid('spec.running', 'One of Running or RunStrategy must be specified')];
  if (runStrategy === undefined) return [];
  if (!RUN_STRATEGIES.includes(runStrategy)) return [invalid('spec.runStrategy', `Invalid RunStrategy (${runStrategy})`)];
  return when(runStrategy === 'WaitAsReceiver' && !config.hasGate('DecentralizedLiveMigration'), () =>
    invalid('spec.runStrategy', 'DecentralizedLiveMigration feature gate is not enabled in kubevirt-config'),
  );
}

function checkDataSource(
  entry: string,
  name: string,
  { pvc, storage, source, sourceRef }: kubevirt.DataVolumeTemplateSpec['spec'],
): readonly Cause[] {
  const sources = Object.values(source ?? {}).filter((each) => each !== undefined).length;
  const target = pvc ?? storage;
  const isPopulated = source === undefined && (target?.dataSource ?? target?.dataSourceRef) !== undefined;
  return [
    ...when(pvc !== undefined && storage !== undefined, () =>
      invalid(entry, `Duplicate storage definition, both target storage and target pvc defined for DataVolumeTemplate ${name}`),
    ),
    ...when(pvc === undefined && storage === undefined, () =>
      invalid(entry, `Missing Data volume PVC or Storage for DataVolumeTemplate ${name}`),
    ),
    ...when((source !== undefined) === (sourceRef !== undefined) && !isPopulated, () =>
      invalid(entry, `Data volume should have either Source or SourceRef, or be externally populated`),
    ),
    ...when(sources > 1, () => invalid(entry, 'Multiple Data volume sources')),
  ];
}

function checkDataVolumeTemplate(vm: VirtualMachine, template: kubevirt.DataVolumeTemplateSpec, index: number): readonly Cause[] {
  // KubeVirt-compat: both spellings of the list occur in these paths.
  const entry = `spec.dataVolumeTemplate[${index}]`;
  const list = `spec.dataVolumeTemplates[${index}]`;
  const name = template.metadata?.name;
  const namespace = template.metadata?.namespace;
  if (!name) return [required(`${entry}.name`, `'name' field must not be empty for DataVolumeTemplate entry ${entry}.`)];
  const own = vm.metadata.namespace ?? 'default';
  if (namespace && namespace !== own)
    return [invalid(list, `Embedded DataVolume namespace ${namespace} differs from VM namespace ${own}`)];
  const referenced = (vm.spec.template.spec?.volumes ?? []).some(
    ({ dataVolume, persistentVolumeClaim }) => dataVolume?.name === name || persistentVolumeClaim?.claimName === name,
  );
  return [
    ...checkDataSource(entry, name, template.spec),
    ...when(!referenced, () =>
      required(entry, `DataVolumeTemplate entry ${entry} must be referenced in the VMI template's 'volumes' list`),
    ),
  ];
}

function checkMatcher(
  name: 'instancetype' | 'preference',
  matcher: kubevirt.InstancetypeMatcher | kubevirt.PreferenceMatcher | undefined,
): readonly Cause[] {
  if (!matcher) return [];
  const field = `spec.${name}`;
  const title = name === 'instancetype' ? 'InstancetypeMatcher' : 'PreferenceMatcher';
  const policy = matcher.inferFromVolumeFailurePolicy;
  return [
    ...when(!matcher.name && !matcher.inferFromVolume, () =>
      notFound(field, `Either Name or InferFromVolume should be provided within the ${title}`),
    ),
    ...when(Boolean(matcher.name) && Boolean(matcher.inferFromVolume), () =>
      invalid(`${field}.name`, `Name should not be provided when InferFromVolume is used within the ${title}`),
    ),
    ...when(policy !== undefined && policy !== 'Reject' && policy !== 'Ignore', () =>
      invalid(`${field}.inferFromVolumeFailurePolicy`, `Invalid value '${policy}' for InferFromVolumeFailurePolicy`),
    ),
  ];
}

/** vCPUs and memory that the VM would start with. */
function providedBy(
  vm: VirtualMachine,
  instancetype: ResolvedInstancetype | undefined,
): { readonly cpus: number; readonly memory: Quantity } {
  if (instancetype) return { cpus: instancetype.spec.cpu.guest, memory: instancetype.spec.memory.guest };
  const domain = vm.spec.template.spec?.domain ?? { devices: {} };
  return { cpus: vcpuCount(cpuTopology(domain)), memory: guestMemory(domain) ?? 0 };
}

function requirementFaults(vm: VirtualMachine, { instancetype, preference }: VirtualMachineContext): readonly Cause[] {
  const wanted = preference?.spec.requirements;
  if (!wanted) return [];
  const { cpus, memory } = providedBy(vm, instancetype);
  const by = instancetype ? 'instance type' : 'the Virtual Machine';
  const field = (own: string) => (instancetype ? 'spec.instancetype' : `spec.template.spec.domain.${own}`);
  const text = (fault: string) => `failure checking preference requirements: ${fault}`;
  const guest = wanted.cpu?.guest ?? 0;
  const needed = wanted.memory?.guest ?? 0;
  return [
    ...when(guest > cpus, () =>
      notFound(
        field('cpu'),
        text(`insufficient CPU resources of ${cpus} vCPU provided by ${by}, preference requires ${guest} vCPU`),
      ),
    ),
    ...when(bytesOf(needed) > bytesOf(memory), () =>
      notFound(
        field('memory'),
        text(`insufficient Memory resources of ${memory} provided by ${by}, preference requires ${needed}`),
      ),
    ),
  ];
}

function checkSpread({ instancetype, preference }: VirtualMachineContext): readonly Cause[] {
  if (!instancetype || topologyName(preference?.spec.cpu?.preferredCPUTopology) !== 'spread') return [];
  const guest = instancetype.spec.cpu.guest;
  const options = preference?.spec.cpu?.spreadOptions;
  const ratio = options?.ratio ?? (preference?.spec.preferSpreadSocketToCoreRatio || 2);
  const divisor = options?.across === 'SocketsCoresThreads' ? ratio * 2 : ratio;
  return when(guest > 1 && guest % divisor !== 0, () =>
    invalid('instancetype.spec.cpu.guest', 'Instancetype CPU Guest is not divisible by PreferSpreadSocketToCoreRatio'),
  );
}

function conflictsOf(vm: VirtualMachine, { instancetype }: VirtualMachineContext): readonly Cause[] {
  const spec = vm.spec.template.spec;
  if (!instancetype || !spec) return [];
  const annotations = vm.spec.template.metadata?.annotations as Record<string, string> | undefined; // string map in the API
  return instancetypeConflicts(spec, instancetype.spec, annotations).map((path) => {
    const field = `spec.template.spec.${path}`;
    return invalid(field, `VM field ${field} conflicts with selected instance type`);
  });
}

/** A maximum that the author chose must be one that memory can grow to. */
function checkMaxGuest(vm: VirtualMachine, expanded: VirtualMachineInstance): readonly Cause[] {
  const maxGuest = vm.spec.template.spec?.domain.memory?.maxGuest;
  const obstacle = maxGuest === undefined ? undefined : memoryHotplugObstacle(expanded.spec, maxGuest);
  return obstacle === undefined ? [] : [invalid('spec.template.spec.domain.memory.guest', obstacle)];
}

/** The instance as it would be stored if it started now: rules apply to that, under the template's path. */
function expandedSpec(vm: VirtualMachine, context: VirtualMachineContext): VirtualMachineInstance {
  const { config, instancetype, preference } = context;
  const vmi = renderInstance(vm, config, { instancetype, preference });
  return defaultInstance(vmi, config, { uuid: derivedUuid(vm.metadata.name ?? '') });
}

/** Rules for creating or changing a VM. The instance type and preference it names must have been resolved. */
export function validateVirtualMachine(vm: VirtualMachine, context: VirtualMachineContext): readonly Cause[] {
  if (!vm.spec.template) return [required('spec.template', 'missing virtual machine template.')];
  const matchers = [...checkMatcher('instancetype', vm.spec.instancetype), ...checkMatcher('preference', vm.spec.preference)];
  if (matchers.length > 0) return matchers;
  const types = [...checkSpread(context), ...conflictsOf(vm, context)];
  if (types.length > 0) return types;
  const requirements = requirementFaults(vm, context);
  if (requirements.length > 0) return requirements;
  const { config } = context;
  const expanded = expandedSpec(vm, context);
  return [
    ...(context.isPlatform
      ? []
      : checkInstanceMetadata('spec.template.metadata', vm.spec.template.metadata as VirtualMachine['metadata'], config)), // same shape
    ...checkInstanceSpec('spec.template.spec', expanded.spec, config, { volumesMustBeUsed: true }),
    ...checkMaxGuest(vm, expanded),
    ...(vm.spec.dataVolumeTemplates ?? []).flatMap((template, index) => checkDataVolumeTemplate(vm, template, index)),
    ...checkRunStrategy(vm, config),
  ];
}

/** Rules that compare a VM with what it was. */
export function validateVirtualMachineUpdate(vm: VirtualMachine, old: VirtualMachine): readonly Cause[] {
  const causes: Cause[] = [];
  const snapshot = old.status?.snapshotInProgress;
  if (snapshot && !isDeepStrictEqual(vm.spec, old.spec)) {
    const disks = (each: VirtualMachine) => [each.spec.template.spec?.domain.devices.disks, each.spec.template.spec?.volumes];
    if (
      !isDeepStrictEqual(disks(vm), disks(old)) ||
      vm.spec.running !== old.spec.running ||
      vm.spec.runStrategy !== old.spec.runStrategy
    )
      causes.push(notSupported('spec', `Cannot update VM disks or volumes until snapshot "${snapshot}" completes`));
  }
  const restore = old.status?.restoreInProgress;
  if (restore && vm.spec.runStrategy !== old.spec.runStrategy && vm.spec.runStrategy !== 'Halted')
    causes.push(notSupported('spec', `Cannot start VM until restore "${restore}" completes`));
  return causes;
}
