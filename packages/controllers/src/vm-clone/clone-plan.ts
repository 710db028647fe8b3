import type { kubevirt } from '@slipway/api';
import { IDENTITY_ANNOTATION } from '@slipway/virt';

export type VmClone = kubevirt.VirtualMachineClone;

interface PatchOperation {
  readonly op: 'add' | 'replace' | 'remove';
  readonly path: string;
  readonly value?: unknown;
}

type Filters = readonly string[] | undefined;

/** Whether a label or annotation is cloned: the last words are those with `!`. Pure. */
export function isKept(key: string, filters: Filters): boolean {
  if (filters === undefined) return true;
  const matches = (filter: string): boolean => patternOf(filter).test(key);
  const refused = filters.filter((filter) => filter.startsWith('!')).map((filter) => filter.slice(1));
  return !refused.some(matches) && filters.some((filter) => !filter.startsWith('!') && matches(filter));
}

/** A filter is a regular expression for the whole key; a star at its end stands for anything. */
function patternOf(filter: string): RegExp {
  const open = filter.endsWith('*') && !/[.)\]]\*$/.test(filter);
  const text = open ? `${filter.slice(0, -1)}.*` : filter;
  try {
    return new RegExp(`^(?:${text})$`);
  } catch {
    return new RegExp(`^${filter.replaceAll(/[.*+?^${}()|[\]\\]/g, String.raw`\$&`)}$`);
  }
}

const filtered = (entries: Readonly<Record<string, string>> | undefined, filters: Filters): Record<string, string> =>
  Object.fromEntries(Object.entries(entries ?? {}).filter(([key]) => isKept(key, filters)));

const escaped = (key: string): string => key.replaceAll('~', '~0').replaceAll('/', '~1');

type Entries = Readonly<Record<string, string>> | undefined;

/** Patches that leave out what the filters refuse. */
function filterPatches(base: string, entries: Entries, filters: Filters): PatchOperation[] {
  const kept = filtered(entries, filters);
  return (
    Object.keys(entries ?? {})
      // the identity is its source's own: the restore leaves it out in any case
      .filter((key) => kept[key] === undefined && key !== IDENTITY_ANNOTATION)
      .map((key) => ({ op: 'remove', path: `${base}/${escaped(key)}` }))
  );
}

function macPatches({ spec }: VmClone, source: kubevirt.VirtualMachineSpec): PatchOperation[] {
  const interfaces = source.template.spec?.domain.devices.interfaces ?? [];
  return interfaces.flatMap(({ name, macAddress }, index): PatchOperation[] => {
    const path = `/spec/template/spec/domain/devices/interfaces/${index}/macAddress`;
    const wanted = spec.newMacAddresses?.[name];
    if (wanted !== undefined) return [{ op: macAddress === undefined ? 'add' : 'replace', path, value: wanted }];
    // two guests with one address would disturb each other
    return macAddress === undefined ? [] : [{ op: 'remove', path }];
  });
}

function firmwarePatches({ spec }: VmClone, source: kubevirt.VirtualMachineSpec): PatchOperation[] {
  const { firmware } = source.template.spec?.domain ?? {};
  const path = '/spec/template/spec/domain/firmware';
  const { newSMBiosSerial: serial } = spec;
  if (firmware === undefined) return serial === undefined ? [] : [{ op: 'add', path, value: { serial } }];
  const serialPatch: PatchOperation[] =
    serial !== undefined
      ? [{ op: firmware.serial === undefined ? 'add' : 'replace', path: `${path}/serial`, value: serial }]
      : firmware.serial === undefined
        ? []
        : [{ op: 'remove', path: `${path}/serial` }];
  return [...(firmware.uuid === undefined ? [] : [{ op: 'remove', path: `${path}/uuid` } as const]), ...serialPatch];
}

/** Everything in which the clone differs from its source, as patches of the restore that makes it. Pure. */
export function clonePatches(clone: VmClone, source: kubevirt.V1beta1VirtualMachine): string[] {
  const { spec } = source;
  if (spec === undefined) return [];
  const { labels, annotations } = (source.metadata ?? {}) as { labels?: Entries; annotations?: Entries }; // string maps
  const template = (spec.template.metadata ?? {}) as { labels?: Entries; annotations?: Entries };
  const filters = clone.spec;
  const operations: readonly PatchOperation[] = [
    ...filterPatches('/metadata/labels', labels, filters.labelFilters),
    ...filterPatches('/metadata/annotations', annotations, filters.annotationFilters),
    ...filterPatches('/spec/template/metadata/labels', template.labels, filters.template?.labelFilters),
    ...filterPatches('/spec/template/metadata/annotations', template.annotations, filters.template?.annotationFilters),
    ...macPatches(clone, spec),
    ...firmwarePatches(clone, spec),
  ];
  return [...operations.map((operation) => JSON.stringify(operation)), ...(clone.spec.patches ?? [])];
}

/** Name of the VM to be made; admission has chosen one when the author did not. */
export const targetName = ({ spec, metadata }: VmClone): string =>
  spec.target?.name ?? `clone-${spec.source.name}-${(metadata.uid ?? '').slice(0, 5)}`;
export const temporarySnapshotName = ({ metadata }: VmClone): string => `tmp-snapshot-${metadata.uid}`;
export const temporaryRestoreName = ({ metadata }: VmClone): string => `tmp-restore-${metadata.uid}`;
