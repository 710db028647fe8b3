import type { ASTNode } from '@marcbachmann/cel-js';
import { callCost, comparisonCost } from './call-cost.ts';
import { STEP_COST } from './cost-units.ts';

/** Cost units that are left to whoever shares the budget; the units are those of Kubernetes. */
export interface Budget {
  left: number;
}

/** What one expression may cost, whatever is left. */
export const PER_CALL_LIMIT = 1_000_000;

/** Thrown when an evaluation is stopped. */
export class CostExceeded extends Error {
  constructor() {
    super('operation cancelled: actual cost limit exceeded');
  }
}

type Evaluate = (evaluator: unknown, node: EvalNode, context: unknown) => unknown;
/** The inner side of the engine's nodes, as far as metering needs it. */
interface EvalNode {
  readonly op: string;
  readonly args: unknown;
  readonly meta: { readonly evaluate: Evaluate; readonly alternate?: EvalNode; readonly macro?: Macro };
  evaluate: Evaluate;
  handle?: (...parameters: unknown[]) => unknown;
}
interface Macro {
  /** Of our own macros: what runs in each turn of a loop. */
  readonly step?: EvalNode;
  readonly evaluate: (evaluator: unknown, macro: Macro, context: unknown) => unknown;
}

/** Counts what one expression costs while it runs. */
export interface Meter {
  /** Runs with a limit. Throws CostExceeded, or what the expression throws; the budget is charged either way. */
  run(evaluate: () => unknown, budget: Budget): unknown;
}

const COSTS: Readonly<Record<string, number>> = {
  ...{ id: 1, '.': 1, '[]': 1, '.?': 1, '[?]': 1, call: 1, rcall: 1, '!_': 1, '-_': 1, list: 10, map: 30, accuPush: 12 },
  ...{ '==': 1, '!=': 1, '<': 1, '<=': 1, '>': 1, '>=': 1, in: 1, '+': 1, '-': 1, '*': 1, '/': 1, '%': 1 },
};
/** A turn that fails: making and catching an error takes as long as many steps. */
const FAILURE_COST = 30;

/** Makes every part of a checked expression count; done once per expression. */
export function meterOf(root: ASTNode): Meter {
  const state = { left: 0 };
  const charge = (cost: number): void => {
    state.left -= cost;
    if (state.left < 0) throw new CostExceeded();
  };
  instrument(root as unknown as EvalNode, charge, new Set());
  return {
    run(evaluate, budget) {
      const limit = Math.min(PER_CALL_LIMIT, budget.left);
      state.left = limit;
      // an item that fails is skipped by `all` and `exists`; nobody looks at the stacks of such errors
      const { stackTraceLimit } = Error;
      Error.stackTraceLimit = 0;
      try {
        const value = evaluate();
        // `a || b` goes on when a fails, for whatever reason
        if (state.left < 0) throw new CostExceeded();
        return value;
      } catch (error) {
        throw state.left < 0 ? new CostExceeded() : error;
      } finally {
        Error.stackTraceLimit = stackTraceLimit;
        budget.left -= limit - Math.max(state.left, 0);
      }
    },
  };
}

type Charge = (cost: number) => void;

function instrument(node: EvalNode, charge: Charge, seen: Set<EvalNode>): void {
  if (seen.has(node)) return;
  seen.add(node);
  const { alternate, macro, evaluate } = node.meta;
  for (const child of [...nodesIn(node.args), ...nodesIn(macro), ...(alternate === undefined ? [] : [alternate])]) {
    instrument(child, charge, seen);
  }
  if (node.op === 'comprehension') chargeStep((node.args as { step: EvalNode }).step, charge);
  const { handle } = node;
  if (alternate !== undefined) {
    node.evaluate = (evaluator, _node, context) => alternate.evaluate(evaluator, alternate, context);
    return;
  }
  if (macro !== undefined) {
    if (macro.step !== undefined) chargeStep(macro.step, charge);
    node.evaluate = (evaluator, _node, context) => macro.evaluate(evaluator, macro, context);
    return;
  }
  if (handle !== undefined) node.handle = chargedHandle(node, handle, charge);
  const cost = COSTS[node.op] ?? 0;
  node.evaluate =
    cost === 0
      ? evaluate
      : (evaluator, own, context) => {
          charge(cost);
          return evaluate(evaluator, own, context);
        };
}

/** Calls and comparisons also cost by the size of what they work on. */
function chargedHandle(
  { op, args }: EvalNode,
  handle: (...parameters: unknown[]) => unknown,
  charge: Charge,
): (...parameters: unknown[]) => unknown {
  if (op === 'call' || op === 'rcall') {
    const name = String((args as unknown[])[0]);
    return (...parameters) => {
      charge(callCost(name, parameters[0] as readonly unknown[])); // the values of the arguments
      return handle(...parameters);
    };
  }
  if (op === '.' || op === '[]' || op === '.?' || op === '[?]' || COSTS[op] === undefined) return handle;
  return (...parameters) => {
    charge(comparisonCost(op, parameters[0], parameters[1]));
    return handle(...parameters);
  };
}

function chargeStep(step: EvalNode, charge: Charge): void {
  const { evaluate } = step;
  step.evaluate = (evaluator, own, context) => {
    charge(STEP_COST);
    try {
      return evaluate(evaluator, own, context);
    } catch (error) {
      if (!(error instanceof CostExceeded)) charge(FAILURE_COST);
      throw error;
    }
  };
}

function nodesIn(value: unknown, depth = 0): EvalNode[] {
  if (typeof value !== 'object' || value === null || depth > 3) return [];
  if ('op' in value && 'meta' in value) return [value as EvalNode]; // only nodes have both
  if (Array.isArray(value)) return value.flatMap((item) => nodesIn(item, depth + 1));
  return isPlain(value) ? Object.values(value).flatMap((item) => nodesIn(item, depth + 1)) : [];
}

const isPlain = (value: object): boolean => Object.getPrototypeOf(value) === Object.prototype;
