import { type FieldError, deepEqual, isObject } from '@slipway/apimachinery';

/** The findings at places whose value the update changed: a tightened schema does not block unrelated edits. */
export function ratchetErrors(errors: readonly FieldError[], value: unknown, old: unknown): FieldError[] {
  return errors.filter(({ path, type }) => {
    const parts = [...path.matchAll(/([^.[\]]+)/g)].map((match) => match[1] ?? '');
    const places = type === 'Required' ? parts.slice(0, -1) : parts; // a missing field: judge its parent
    const before = at(old, places);
    return before === undefined || !deepEqual(before, at(value, places));
  });
}

function at(value: unknown, parts: readonly string[]): unknown {
  return parts.reduce<unknown>((current, part) => {
    if (Array.isArray(current)) return current[Number(part)];
    return isObject(current) ? current[part] : undefined;
  }, value);
}
