import { isDeepStrictEqual } from 'node:util';
import type { core, kubevirt, VirtualMachine } from '@slipway/api';
import { isObject, type KubeObject } from '@slipway/apimachinery';
import { type Cause, invalid, notFound, notSupported, when } from './causes.ts';

type Reference = core.TypedLocalObjectReference;

function checkReference(field: string, reference: Reference): readonly Cause[] {
  const { apiGroup, kind } = reference;
  if (apiGroup === undefined || apiGroup === null) return [notFound(`${field}.apiGroup`, 'missing apiGroup')];
  if (apiGroup !== 'kubevirt.io') return [invalid(`${field}.apiGroup`, 'invalid apiGroup')];
  return when(kind !== 'VirtualMachine', () => invalid(`${field}.kind`, 'invalid kind'));
}

/** The spec of these kinds never changes. */
export function validateImmutable(object: KubeObject, old: KubeObject): readonly Cause[] {
  const specOf = (each: KubeObject) => ('spec' in each ? each.spec : undefined);
  // KubeVirt-compat: the message is misspelt upstream.
  return when(!isDeepStrictEqual(specOf(object), specOf(old)), () => invalid('spec', 'spec in immutable after creation'));
}

export function validateSnapshot({ spec }: kubevirt.VirtualMachineSnapshot): readonly Cause[] {
  return checkReference('spec.source', spec.source);
}

export interface RestoreContext {
  readonly target: VirtualMachine | undefined;
  readonly snapshot: kubevirt.VirtualMachineSnapshot | undefined;
  /** Restores of the same target that have not finished. */
  readonly inProgress: readonly kubevirt.VirtualMachineRestore[];
  /** Made by the platform, whose clones change labels too. */
  readonly isPlatform?: boolean;
}

const isStopped = ({ spec }: VirtualMachine): boolean =>
  spec.running !== undefined ? !spec.running : spec.runStrategy === 'Halted';

/**
 * Policies that say what is to happen while the target runs. The default, `WaitGracePeriod`, is not among them: who has
 * chosen nothing learns at once that the VM has to be stopped.
 */
const PATIENT = ['WaitEventually', 'StopTarget'];

function checkTarget({ spec }: kubevirt.VirtualMachineRestore, target: VirtualMachine | undefined): readonly Cause[] {
  const { name } = spec.target;
  if (!target || PATIENT.includes(spec.targetReadinessPolicy ?? '')) return [];
  if (target.spec.running === true) return [invalid('spec.target', `VirtualMachine "${name}" is not stopped`)];
  return when(!isStopped(target), () => invalid('spec.target', `VirtualMachine "${name}" run strategy has to be Halted`));
}

function checkSnapshotState(restore: kubevirt.VirtualMachineRestore, { snapshot, target }: RestoreContext): readonly Cause[] {
  const field = 'spec.virtualMachineSnapshotName';
  const name = restore.spec.virtualMachineSnapshotName;
  if (!snapshot) return [invalid(field, `VirtualMachineSnapshot "${name}" does not exist`)];
  const { status, spec } = snapshot;
  if (status?.phase === 'Failed') return [invalid(field, `VirtualMachineSnapshot "${name}" has failed and is invalid to use`)];
  if (status?.readyToUse !== true) return [invalid(field, `VirtualMachineSnapshot "${name}" is not ready to use`)];
  const otherVm = status.sourceUID !== undefined && target !== undefined && target.metadata.uid !== status.sourceUID;
  const otherName = target !== undefined && spec.source.name !== restore.spec.target.name;
  return when(otherVm || otherName, () =>
    // KubeVirt-compat: the message is misspelt upstream.
    invalid(field, 'when shapsnot source and restore target VMs are different - target VM must not exist'),
  );
}

function checkPatches(patches: readonly string[]): readonly Cause[] {
  return patches.flatMap((patch) => {
    const path = /"path"\s*:\s*"([^"]*)"/.exec(patch)?.[1];
    return when(path === undefined || !path.startsWith('/spec/'), () =>
      invalid('spec.patches', `patching is valid only for elements under /spec/: ${patch}`),
    );
  });
}

function checkOverrides(restore: kubevirt.VirtualMachineRestore): readonly Cause[] {
  return (restore.spec.volumeRestoreOverrides ?? []).flatMap(({ volumeName, restoreName, labels, annotations }, index) => {
    const field = `spec.volumeRestoreOverrides[${index}]`;
    return [
      ...when(!volumeName, () => invalid(field, 'must provide a volume name')),
      ...when(!restoreName && !labels && !annotations, () => invalid(field, 'must provide at least one overriden field')),
    ];
  });
}

/** Rules for creating a restore. */
export function validateRestore(restore: kubevirt.VirtualMachineRestore, context: RestoreContext): readonly Cause[] {
  const reference = checkReference('spec.target', restore.spec.target);
  if (reference.length > 0) return reference;
  const [other] = context.inProgress;
  return [
    ...checkTarget(restore, context.target),
    ...checkSnapshotState(restore, context),
    ...(context.isPlatform ? [] : checkPatches(restore.spec.patches ?? [])),
    ...checkOverrides(restore),
    ...when(other !== undefined, () => invalid('spec.target', `VirtualMachineRestore "${other?.metadata.name}" in progress`)),
  ];
}

const EXPORT_GROUPS: Readonly<Record<string, { readonly group: string; readonly message: string }>> = {
  PersistentVolumeClaim: { group: '', message: 'PVC API group must be missing or blank' },
  VirtualMachineSnapshot: { group: 'snapshot.kubevirt.io', message: 'VMSnapshot API group must be snapshot.kubevirt.io' },
  VirtualMachine: { group: 'kubevirt.io', message: 'VM API group must be kubevirt.io' },
  VirtualMachineBackup: { group: 'backup.kubevirt.io', message: 'VMBackup API group must be backup.kubevirt.io' },
};

/** Rules for creating an export. */
export function validateExport({ spec }: kubevirt.VirtualMachineExport): readonly Cause[] {
  const { kind, name, apiGroup } = spec.source;
  const expected = EXPORT_GROUPS[kind];
  if (!expected) return [invalid('spec.source.kind', 'invalid kind')];
  return [
    ...when(!name, () => invalid('spec.source.name', `${kind} name must not be empty`)),
    // KubeVirt-compat: the field is capitalised here.
    ...when((apiGroup ?? '') !== expected.group, () => invalid('spec.source.APIGroup', expected.message)),
  ];
}

export interface CloneContext {
  /** Whether the source exists. */
  readonly sourceExists: boolean;
  readonly source: VirtualMachine | undefined;
}

const SOURCE_KINDS = ['VirtualMachine', 'VirtualMachineSnapshot'];
const MAC = /^([0-9a-fA-F]{2}[:-]){5}[0-9a-fA-F]{2}$/;

function checkFilters(field: string, filters: readonly string[] | undefined): readonly Cause[] {
  return (filters ?? []).flatMap((filter) => {
    const fault = (text: string) => invalid(field, `filter ${filter} is invalid: ${text}`);
    const body = filter.replace(/^!/, '').replace(/\*$/, '');
    return [
      ...when(body.includes('!'), () => fault('cannot contain a negation character (!) at any place that is not the beginning')),
      // KubeVirt-compat: upstream says beginning and means end.
      ...when(body.includes('*'), () => fault('cannot contain a wildcard character (*) at any place that is not the beginning')),
      ...when(filter === '!', () => fault('a negation character is not a valid filter')),
    ];
  });
}

function checkCloneSource({ spec, metadata }: kubevirt.VirtualMachineClone, context: CloneContext): readonly Cause[] {
  const { kind, name } = spec.source;
  if (!SOURCE_KINDS.includes(kind)) return [invalid('spec.Source', "Source's Kind is invalid")];
  if (!context.sourceExists)
    return [invalid('spec.Source', `${kind} ${name} does not exist in namespace ${metadata.namespace ?? 'default'}`)];
  const statuses = context.source?.status?.volumeSnapshotStatuses ?? [];
  const volumes = context.source?.spec.template.spec?.volumes ?? [];
  // what has no claim is part of the manifest
  const claimed = volumes.filter(({ persistentVolumeClaim, dataVolume }) => persistentVolumeClaim ?? dataVolume);
  return statuses
    .filter(({ name: volume, enabled }) => !enabled && claimed.some((item) => item.name === volume))
    .map((status) => invalid('spec.Source', `Virtual Machine volume ${status.name} does not support snapshots`));
}

/** Each entry is one JSON patch operation on the VM that is made. */
function checkClonePatches(patches: readonly string[] | undefined): readonly Cause[] {
  return (patches ?? []).flatMap((patch, index) => {
    const field = `spec.patches[${index}]`;
    try {
      const operation: unknown = JSON.parse(patch);
      const isOne = isObject(operation) && typeof operation['op'] === 'string' && typeof operation['path'] === 'string';
      return when(!isOne, () => invalid(field, `${patch} is not a JSON patch operation`));
    } catch {
      return [invalid(field, `${patch} is not valid JSON`)];
    }
  });
}

/** Rules for creating a clone. */
export function validateClone(clone: kubevirt.VirtualMachineClone, context: CloneContext): readonly Cause[] {
  const { source, target, newMacAddresses = {}, labelFilters, annotationFilters, template } = clone.spec;
  return [
    ...when(!SOURCE_KINDS.includes(source.kind), () => invalid('spec.Source.Kind', 'Source kind is not supported')),
    ...when(!source.name, () => invalid('spec.Source.Name', 'Source name cannot be empty')),
    ...when(target !== undefined && target.kind !== 'VirtualMachine', () =>
      invalid('spec.Target.Kind', 'Target kind is not supported'),
    ),
    ...checkCloneSource(clone, context),
    ...when(target?.name !== undefined && source.kind === 'VirtualMachine' && target.name === source.name, () =>
      invalid('spec.target.name', 'Target name cannot be equal to source name when both are VirtualMachines'),
    ),
    ...checkClonePatches(clone.spec.patches),
    ...checkFilters('spec.Labels', labelFilters),
    ...checkFilters('spec.Annotations', annotationFilters),
    ...checkFilters('spec.template.labelFilters', template?.labelFilters),
    ...checkFilters('spec.template.annotationFilters', template?.annotationFilters),
    ...Object.entries(newMacAddresses).flatMap(([nic, mac]) =>
      when(!MAC.test(mac), () => invalid(`spec.NewMacAddresses`, `interface ${nic} has malformed MAC address (${mac})`)),
    ),
  ];
}

export function validateCloneUpdate(clone: kubevirt.VirtualMachineClone, old: kubevirt.VirtualMachineClone): readonly Cause[] {
  return when(!isDeepStrictEqual(clone.spec, old.spec), () => notSupported('spec', 'spec is immutable after creation'));
}
