/**
 * A set of field paths, in the shape of `fieldsV1`: keys are path elements (`f:name`, `k:{…}`, `v:…`), `{}` is a member
 * without members below it, `.` marks a member that has some. Treat as frozen; nodes are shared.
 */
export interface FieldSet {
  readonly [element: string]: FieldSet;
}

export const EMPTY: FieldSet = Object.freeze({});
const SELF = '.';

/** A single member. */
const LEAF = EMPTY;

export function isEmptySet(set: FieldSet): boolean {
  for (const _key in set) return false;
  return true;
}

/** Whether the path that leads to this node is itself a member. */
export function isMember(node: FieldSet | undefined): boolean {
  return node !== undefined && (Object.hasOwn(node, SELF) || isEmptySet(node));
}

/** The node of a path, or undefined when neither it nor anything below it is a member. */
export function nodeOf(member: boolean, children: FieldSet | undefined): FieldSet | undefined {
  if (children === undefined || isEmptySet(children)) return member ? LEAF : undefined;
  return member ? { [SELF]: LEAF, ...children } : children;
}

/** What is below a node, without the node itself. */
export function childrenOf(node: FieldSet): FieldSet {
  if (!Object.hasOwn(node, SELF)) return node;
  const { [SELF]: _self, ...children } = node;
  return children;
}

type Combine = (a: boolean, b: boolean) => boolean;

/** `keepsLeft`, `keepsRight`: whether a subtree that only one side has is part of the result. */
function combine(a: FieldSet, b: FieldSet, member: Combine, keepsLeft: boolean, keepsRight: boolean): FieldSet {
  const result: Record<string, FieldSet> = {};
  for (const element in a) {
    if (element === SELF) continue;
    const left = a[element];
    const right = b[element];
    if (left === undefined) continue;
    if (right === undefined) {
      if (keepsLeft) result[element] = left;
      continue;
    }
    const node = nodeOf(
      member(isMember(left), isMember(right)),
      combine(childrenOf(left), childrenOf(right), member, keepsLeft, keepsRight),
    );
    if (node !== undefined) result[element] = node;
  }
  if (keepsRight)
    for (const element in b) if (element !== SELF && !Object.hasOwn(a, element)) result[element] = b[element] ?? LEAF;
  return result;
}

export const union = (a: FieldSet, b: FieldSet): FieldSet =>
  isEmptySet(a) ? b : isEmptySet(b) ? a : combine(a, b, (x, y) => x || y, true, true);

export const intersection = (a: FieldSet, b: FieldSet): FieldSet => combine(a, b, (x, y) => x && y, false, false);

export const difference = (a: FieldSet, b: FieldSet): FieldSet =>
  isEmptySet(b) ? a : combine(a, b, (x, y) => x && !y, true, false);

export function equalSets(a: FieldSet, b: FieldSet): boolean {
  return isEmptySet(difference(a, b)) && isEmptySet(difference(b, a));
}

/** `a` without the members of `b` and everything below them. */
export function recursiveDifference(a: FieldSet, b: FieldSet): FieldSet {
  const result: Record<string, FieldSet> = {};
  for (const element in a) {
    const left = a[element] ?? LEAF;
    const right = b[element];
    if (element === SELF || right === undefined) result[element] = left;
    else if (!isMember(right)) {
      const node = nodeOf(isMember(left), recursiveDifference(childrenOf(left), right));
      if (node !== undefined) result[element] = node;
    }
  }
  return result;
}

/** Every member as a list of path elements. */
export function membersOf(set: FieldSet, prefix: readonly string[] = []): string[][] {
  const paths: string[][] = [];
  for (const element of Object.keys(set)) {
    if (element === SELF) continue;
    const node = set[element] ?? LEAF;
    const path = [...prefix, element];
    if (isMember(node)) paths.push(path);
    paths.push(...membersOf(node, path));
  }
  return paths;
}

/** `.spec.ports[port=80,protocol="TCP"].name`, as conflicts name it. */
export function showPath(path: readonly string[]): string {
  return path.map(showElement).join('');
}

function showElement(element: string): string {
  const body = element.slice(2);
  switch (element.slice(0, 2)) {
    case 'k:': {
      const keys = JSON.parse(body) as Record<string, unknown>; // written by `keyElement`, or checked on decoding
      return `[${Object.entries(keys)
        .map(([name, value]) => `${name}=${JSON.stringify(value)}`)
        .join(',')}]`;
    }
    case 'v:':
      return `[=${body}]`;
    case 'i:':
      return `[${body}]`;
    default:
      return `.${body}`;
  }
}
