import { absent } from './case.ts';

const isRecord = (value: unknown): value is Record<string, unknown> =>
  typeof value === 'object' && value !== null && !Array.isArray(value);

/** Where `found` lacks what `wanted` asks for, one line each. Lists must be of the same length. */
export function differences(wanted: unknown, found: unknown, path = 'body'): string[] {
  if (wanted === absent) return found === undefined ? [] : [`${path} must not be there: ${JSON.stringify(found)}`];
  if (wanted instanceof RegExp) {
    return typeof found === 'string' && wanted.test(found) ? [] : [`${path} is ${JSON.stringify(found)}, not like ${wanted}`];
  }
  if (Array.isArray(wanted)) {
    if (!Array.isArray(found)) return [`${path} is no list: ${JSON.stringify(found)}`];
    if (found.length !== wanted.length)
      return [`${path} has ${found.length} items, not ${wanted.length}: ${JSON.stringify(found)}`];
    return wanted.flatMap((item: unknown, index) => differences(item, found[index], `${path}[${index}]`));
  }
  if (isRecord(wanted)) {
    if (!isRecord(found)) return [`${path} is no object: ${JSON.stringify(found)}`];
    return Object.keys(wanted).flatMap((key) => differences(wanted[key], found[key], `${path}.${key}`));
  }
  return Object.is(wanted, found) ? [] : [`${path} is ${JSON.stringify(found)}, not ${JSON.stringify(wanted)}`];
}

/** The value at `a.b.0.c`. */
export function valueAt(value: unknown, path: string): unknown {
  return path.split('.').reduce<unknown>((current, part) => {
    if (Array.isArray(current)) return current[Number(part)];
    return isRecord(current) ? current[part] : undefined;
  }, value);
}

/** Puts captured values for `{name}` into every text of a value. */
export function fillIn<T>(value: T, variables: ReadonlyMap<string, string>): T {
  if (typeof value === 'string') {
    return value.replace(/\{([a-z][A-Za-z0-9]*)\}/g, (whole, name: string) => variables.get(name) ?? whole) as T; // text stays text
  }
  if (value instanceof RegExp) return value;
  if (Array.isArray(value)) return value.map((item: unknown) => fillIn(item, variables)) as T; // the same shape
  if (!isRecord(value)) return value;
  return Object.fromEntries(Object.entries(value).map(([key, item]) => [fillIn(key, variables), fillIn(item, variables)])) as T; // the same shape
}
