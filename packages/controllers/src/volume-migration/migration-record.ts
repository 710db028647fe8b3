import type { DataVolume, kubevirt, VirtualMachine } from '@slipway/api';

/**
 * On a VM, as JSON: the volumes whose content is on its way from one claim to another. Admission writes it with the
 * change of the spec in one transaction, so that no VM ever starts on a claim that is not filled yet.
 */
export const VOLUME_MIGRATION = 'slipway.dev/volume-migration';

/** On a DataVolume: the claim it was made from by the migration of a volume. */
export const MIGRATED_FROM = 'slipway.dev/migrated-from';

/** A blank DataVolume that gives way to a clone of the same name, and what the clone takes over from it. */
export interface ReplacedVolume {
  readonly uid: string;
  readonly metadata: DataVolume['metadata'];
  readonly spec: DataVolume['spec'];
}

export interface MovedVolume {
  /** The claim that holds the content. */
  readonly from: string;
  readonly replaced?: ReplacedVolume;
  /** The destination was blank when a running guest was to be copied into it. */
  readonly live?: boolean;
  /** The claim into which the guest's agent was told to copy: the content may be there by now. */
  readonly tried?: string;
}

/** By name of the volume. */
export type MigrationRecord = Readonly<Record<string, MovedVolume>>;

/** Claim of a disk that can be moved; a DataVolume's claim has its name. */
export const claimNameOf = ({ dataVolume, persistentVolumeClaim }: kubevirt.Volume): string | undefined =>
  dataVolume?.name ?? persistentVolumeClaim?.claimName;

/** What the VM's annotation says; nothing when there is none or somebody broke it. */
export function readRecord({ metadata }: Pick<VirtualMachine, 'metadata'>): MigrationRecord {
  const text = metadata.annotations?.[VOLUME_MIGRATION];
  if (text === undefined) return {};
  try {
    const value = JSON.parse(text) as unknown;
    const entries = typeof value === 'object' && value !== null ? Object.entries(value as Record<string, unknown>) : [];
    return Object.fromEntries(entries.filter((entry): entry is [string, MovedVolume] => isMoved(entry[1])));
  } catch {
    return {};
  }
}

const isMoved = (value: unknown): boolean =>
  typeof value === 'object' && value !== null && typeof (value as { from?: unknown }).from === 'string';

/** The annotations of a VM with this record; without one when nothing is on its way. */
export function withRecord(annotations: Readonly<Record<string, string>>, record: MigrationRecord): Record<string, string> {
  const { [VOLUME_MIGRATION]: _, ...others } = annotations;
  return Object.keys(record).length === 0 ? others : { ...others, [VOLUME_MIGRATION]: JSON.stringify(record) };
}

/** Claims that are not filled yet, by the name of their volume. */
export function destinations(vm: VirtualMachine): ReadonlyMap<string, string> {
  const record = readRecord(vm);
  return new Map(
    (vm.spec.template.spec?.volumes ?? []).flatMap((volume) => {
      const claim = claimNameOf(volume);
      return record[volume.name] === undefined || claim === undefined ? [] : [[volume.name, claim] as const];
    }),
  );
}

const onlyTried = (record: MigrationRecord): MigrationRecord =>
  Object.fromEntries(
    Object.entries(record).flatMap(([volume, { from, tried }]) =>
      tried === undefined ? [] : [[volume, { from, tried }] as const],
    ),
  );

/**
 * What is on its way after a change of the spec: volumes that name another claim than before, with the claim that
 * holds their content now. A volume that goes back to that claim is no longer on its way, unless a running guest was
 * being copied: then it takes a look to know.
 */
export function recordChange(old: VirtualMachine, next: VirtualMachine): MigrationRecord {
  const record = readRecord(old);
  if (next.spec.updateVolumesStrategy === 'Replacement') return {};
  // an older manifest is applied again: a copy of the running guest that it calls off may be complete
  if (next.spec.updateVolumesStrategy !== 'Migration') return onlyTried(record);
  const before = new Map((old.spec.template.spec?.volumes ?? []).map((volume) => [volume.name, claimNameOf(volume)]));
  return Object.fromEntries(
    (next.spec.template.spec?.volumes ?? []).flatMap((volume) => {
      const claim = claimNameOf(volume);
      const known = record[volume.name];
      const from = known?.from ?? before.get(volume.name);
      if (claim === undefined || from === undefined) return [];
      const isSameTarget = before.get(volume.name) === claim;
      if (isSameTarget && known !== undefined) return [[volume.name, known] as const];
      if (known?.tried !== undefined) return [[volume.name, { from, tried: known.tried }] as const];
      return from === claim ? [] : [[volume.name, { from }] as const];
    }),
  );
}
