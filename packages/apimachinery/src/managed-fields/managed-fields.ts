import { isObject } from '../json.ts';
import type { ManagedFieldsEntry } from '../types.ts';
import { type FieldSet, isEmptySet, union } from './field-set.ts';

/** Update managers beyond this number are folded into one, oldest first. */
const MAX_UPDATE_MANAGERS = 10;
const ANCIENT = 'ancient-changes';

/** One manager's fields. */
export interface Ownership {
  readonly manager: string;
  readonly operation: 'Apply' | 'Update';
  readonly apiVersion: string;
  readonly subresource: string;
  readonly time: string | undefined;
  readonly fields: FieldSet;
}

/** Two entries with the same identity are one manager. */
export function identityOf({ manager, operation, apiVersion, subresource }: Omit<Ownership, 'time' | 'fields'>): string {
  // an applier is the same manager in every version
  return JSON.stringify([manager, operation, operation === 'Apply' ? '' : apiVersion, subresource]);
}

/** Undefined when an entry is malformed: the caller then keeps what was stored. */
export function decodeManagedFields(entries: readonly ManagedFieldsEntry[] | undefined): Ownership[] | undefined {
  const result: Ownership[] = [];
  for (const { manager = '', operation, apiVersion, subresource = '', time, fieldsType, fieldsV1 } of entries ?? []) {
    if ((operation !== 'Apply' && operation !== 'Update') || apiVersion === undefined) return undefined;
    if (fieldsType !== 'FieldsV1' || !isFieldSet(fieldsV1)) return undefined;
    result.push({ manager, operation, apiVersion, subresource, time, fields: fieldsV1 });
  }
  return result;
}

function isFieldSet(value: unknown): value is FieldSet {
  if (!isObject(value)) return false;
  for (const key in value) if (!(key === '.' || /^[fkvi]:/.test(key)) || !isFieldSet(value[key])) return false;
  return true;
}

export function encodeManagedFields(owners: readonly Ownership[]): ManagedFieldsEntry[] {
  return capped(owners.filter((owner) => !isEmptySet(owner.fields)))
    .sort(byAge)
    .map(({ manager, operation, apiVersion, subresource, time, fields }) => ({
      manager,
      operation,
      apiVersion,
      ...(time !== undefined && { time }),
      fieldsType: 'FieldsV1',
      fieldsV1: fields as Record<string, unknown>, // a FieldSet is the JSON form
      ...(subresource !== '' && { subresource }),
    }));
}

function byAge(a: Ownership, b: Ownership): number {
  return (
    compareText(a.operation, b.operation) ||
    compareText(a.time ?? '', b.time ?? '') ||
    compareText(a.manager, b.manager) ||
    compareText(a.apiVersion, b.apiVersion) ||
    compareText(a.subresource, b.subresource)
  );
}

const compareText = (a: string, b: string): number => (a < b ? -1 : a > b ? 1 : 0);

function capped(owners: readonly Ownership[]): Ownership[] {
  if (owners.length <= MAX_UPDATE_MANAGERS) return [...owners];
  const updaters = owners.filter((owner) => owner.operation === 'Update').sort(byAge);
  if (updaters.length <= MAX_UPDATE_MANAGERS) return [...owners];
  const surplus = updaters.slice(0, updaters.length - MAX_UPDATE_MANAGERS + 1);
  const folded = new Map<string, Ownership>();
  for (const owner of surplus) {
    const known = folded.get(owner.apiVersion);
    const fields = known === undefined ? owner.fields : union(known.fields, owner.fields);
    folded.set(owner.apiVersion, { ...owner, manager: ANCIENT, subresource: '', fields });
  }
  return [...owners.filter((owner) => !surplus.includes(owner)), ...folded.values()];
}
