import { type CharSet, EMPTY, disjoint } from './char-set.ts';
import type { PatternNode, SimplePattern } from './parse-simple.ts';

/** Ways through ambiguous places outside loops: each can cost another pass over the text. */
const MAX_PASSES = 16;
/** Longest match of a pattern that is tried at every place of a text. */
const MAX_UNANCHORED_LENGTH = 64;
/** RE2 refuses patterns whose repetitions multiply to more. */
const MAX_REPEAT_PRODUCT = 1000;

/**
 * True when a backtracking engine is proven to need time linear in the text: inside loops the next character alone
 * decides what to do, so that going back never finds another way.
 */
export function isLinear({ isAnchored, node }: SimplePattern): boolean {
  if (repeatProduct(node) > MAX_REPEAT_PRODUCT) return false;
  if (!isAnchored && maxLength(node) > MAX_UNANCHORED_LENGTH) return false;
  return passes(node, EMPTY, false) <= MAX_PASSES;
}

function isNullable(node: PatternNode): boolean {
  switch (node.type) {
    case 'chars':
      return false;
    case 'sequence':
      return node.items.every(isNullable);
    case 'choice':
      return node.branches.some(isNullable);
    default:
      return node.min === 0 || isNullable(node.body);
  }
}

function first(node: PatternNode): CharSet {
  switch (node.type) {
    case 'chars':
      return node.set;
    case 'sequence':
      return firstOf(node.items, EMPTY);
    case 'choice':
      return node.branches.reduce((set, branch) => set | first(branch), EMPTY);
    default:
      return first(node.body);
  }
}

/** What a sequence that is followed by `follow` can begin with. */
function firstOf(items: readonly PatternNode[], follow: CharSet): CharSet {
  let set = EMPTY;
  for (const item of items) {
    set |= first(item);
    if (!isNullable(item)) return set;
  }
  return set | follow;
}

const REFUSED = Number.POSITIVE_INFINITY;

/** How often the text may have to be read again because of this node; infinite when there is no bound. */
function passes(node: PatternNode, follow: CharSet, isInLoop: boolean): number {
  switch (node.type) {
    case 'chars':
      return 1;
    case 'sequence':
      return node.items.reduce(
        (product, item, index) => product * passes(item, firstOf(node.items.slice(index + 1), follow), isInLoop),
        1,
      );
    case 'choice':
      return choicePasses(node.branches, follow, isInLoop);
    default:
      return repeatPasses(node, follow, isInLoop);
  }
}

function choicePasses(branches: readonly PatternNode[], follow: CharSet, isInLoop: boolean): number {
  const inside = branches.reduce((most, branch) => Math.max(most, passes(branch, follow, isInLoop)), 1);
  const starts = branches.map((branch) => firstOf([branch], follow));
  const isClear =
    branches.filter(isNullable).length <= 1 &&
    starts.every((start, index) => starts.slice(index + 1).every((other) => disjoint(start, other)));
  if (isClear) return inside;
  return isInLoop ? REFUSED : inside * branches.length;
}

function repeatPasses(node: PatternNode & { type: 'repeat' }, follow: CharSet, isInLoop: boolean): number {
  const { body, min, max } = node;
  const start = first(body);
  const isClear = disjoint(start, follow);
  if (isNullable(body)) return REFUSED;
  if (max === 1 && min === 0) {
    const inside = passes(body, follow, isInLoop);
    if (isClear) return inside;
    return isInLoop ? REFUSED : inside * 2;
  }
  const isCounted = min === max;
  if (!isClear && !isCounted) return REFUSED;
  return passes(body, follow | start, isInLoop || max > 1);
}

function maxLength(node: PatternNode): number {
  switch (node.type) {
    case 'chars':
      return 1;
    case 'sequence':
      return node.items.reduce((sum, item) => sum + maxLength(item), 0);
    case 'choice':
      return Math.max(...node.branches.map(maxLength));
    default:
      return node.max === 0 ? 0 : maxLength(node.body) * node.max;
  }
}

function repeatProduct(node: PatternNode): number {
  switch (node.type) {
    case 'chars':
      return 1;
    case 'sequence':
      return Math.max(1, ...node.items.map(repeatProduct));
    case 'choice':
      return Math.max(...node.branches.map(repeatProduct));
    default: {
      const times = node.max === Number.POSITIVE_INFINITY ? node.min : node.max;
      return Math.max(times, 1) * repeatProduct(node.body);
    }
  }
}
