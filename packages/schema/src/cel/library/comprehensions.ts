import { type LoopContext, type LoopMacro, type LoopNode, type LoopType, type MacroCall, nameOf } from './macro.ts';
import type { Registrar } from './register.ts';

/** Runs the loop: `turn` evaluates the parts of the macro for each entry, in order, until it returns false. */
type Loop = (parts: readonly (() => unknown)[], state: LoopState) => boolean;

interface LoopState {
  key: unknown;
  list: unknown[];
  map: Record<string, unknown>;
  count: number;
  verdict: boolean | undefined;
  failure: unknown;
}

interface Kind {
  readonly name: string;
  /** Parts after the two names. */
  readonly parts: number;
  readonly turn: Loop;
  readonly result: (state: LoopState) => unknown;
  readonly type: 'bool' | 'list' | 'map';
}

const truth = (value: unknown): boolean => {
  if (typeof value === 'boolean') return value;
  throw new Error('predicate must return bool');
};

/** A failure counts only if no other item decides. */
const quantifier =
  (decides: boolean): Loop =>
  ([predicate], state) => {
    try {
      if (truth(predicate?.()) !== decides) return true;
      state.verdict = decides;
      return false;
    } catch (error) {
      state.failure ??= error;
      return true;
    }
  };

const settle =
  (fallback: boolean) =>
  ({ verdict, failure }: LoopState): boolean => {
    if (verdict !== undefined) return verdict;
    if (failure !== undefined) throw failure;
    return fallback;
  };

/** Puts what the last part yields somewhere, if the part before it, when there is one, holds. */
const collect =
  (put: (value: unknown, state: LoopState) => void): Loop =>
  (parts, state) => {
    const [filter] = parts.length > 1 ? parts : [];
    if (filter === undefined || truth(filter())) put(parts.at(-1)?.(), state);
    return true;
  };

function setEntry(key: unknown, value: unknown, { map }: LoopState): void {
  if (Object.hasOwn(map, String(key))) throw new Error(`insert failed: key '${String(key)}' already exists`);
  Object.defineProperty(map, String(key), { value, enumerable: true, configurable: true, writable: true });
}

function setEntries(value: unknown, state: LoopState): void {
  if (typeof value !== 'object' || value === null) throw new Error('transformMapEntry must yield a map');
  for (const [key, entry] of Object.entries(value)) setEntry(key, entry, state);
}

const countOne: Loop = ([predicate], state) => {
  if (truth(predicate?.())) state.count++;
  return true;
};

const KINDS: readonly Kind[] = [
  { name: 'all', parts: 1, turn: quantifier(false), result: settle(true), type: 'bool' },
  { name: 'exists', parts: 1, turn: quantifier(true), result: settle(false), type: 'bool' },
  { name: 'existsOne', parts: 1, turn: countOne, result: ({ count }) => count === 1, type: 'bool' },
  { name: 'exists_one', parts: 1, turn: countOne, result: ({ count }) => count === 1, type: 'bool' },
  ...[1, 2].flatMap((parts): Kind[] => [
    {
      name: 'transformList',
      parts,
      turn: collect((value, { list }) => list.push(value)),
      result: ({ list }) => list,
      type: 'list',
    },
    {
      name: 'transformMap',
      parts,
      turn: collect((value, state) => setEntry(state.key, value, state)),
      result: ({ map }) => map,
      type: 'map',
    },
    { name: 'transformMapEntry', parts, turn: collect(setEntries), result: ({ map }) => map, type: 'map' },
  ]),
];

/** Loops with two variables: index and item of a list, key and value of a map. */
export function registerComprehensions({ env }: Registrar): void {
  for (const kind of KINDS) {
    const parameters = new Array<string>(kind.parts + 2).fill('ast').join(', ');
    const expand = (call: MacroCall): LoopMacro => loopMacro(kind, call);
    // the engine knows macros by their parameters of type ast
    env.registerFunction(`list.${kind.name}(${parameters}): dyn`, expand as unknown as () => unknown, { async: false });
  }
}

function loopMacro({ turn, result, type }: Kind, { args, receiver }: MacroCall): LoopMacro {
  const [first, second, ...parts] = args;
  const names = [nameOf(first), nameOf(second)] as const;
  let contexts: readonly [LoopContext, LoopContext] | undefined;
  return {
    nodes: [receiver, ...parts],
    step: parts[0],
    async: false,
    typeCheck(checker, _macro, context) {
      const dyn = checker.getType('dyn');
      const [key, value] = entryTypes(checker.check(receiver, context), dyn, checker.getType('int'));
      const outer = context.forkWithVariable(names[0], key);
      contexts = [outer, outer.forkWithVariable(names[1], value)];
      for (const part of parts) checker.check(part, contexts[1]);
      return checker.getType(type);
    },
    evaluate(evaluator, _macro, context) {
      const target = evaluator.run(receiver, context);
      const state: LoopState = { key: undefined, list: [], map: {}, count: 0, verdict: undefined, failure: undefined };
      if (contexts === undefined) return undefined;
      const outer = contexts[0].reuse(context);
      const inner = contexts[1].reuse(outer);
      const runs = parts.map((part: LoopNode) => (): unknown => evaluator.run(part, inner));
      for (const [key, value] of entriesOf(target)) {
        outer.setIterValue(key, evaluator);
        inner.setIterValue(value, evaluator);
        state.key = key;
        if (!turn(runs, state)) break;
      }
      return result(state);
    },
  };
}

function entryTypes(target: LoopType, dyn: LoopType, int: LoopType): readonly [LoopType, LoopType] {
  if (target.kind === 'list') return [int, target.valueType ?? dyn];
  if (target.kind === 'map') return [target.keyType ?? dyn, target.valueType ?? dyn];
  if (target.kind === 'dyn') return [dyn, dyn];
  throw new Error('comprehension range must be a list, a map, or dynamic');
}

function entriesOf(target: unknown): Iterable<readonly [unknown, unknown]> {
  if (Array.isArray(target)) return target.map((value: unknown, index): [bigint, unknown] => [BigInt(index), value]);
  if (target instanceof Map) return target.entries();
  if (typeof target === 'object' && target !== null) return Object.entries(target);
  throw new Error('comprehension range must be a list or a map');
}
