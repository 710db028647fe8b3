import type { ASTNode } from '@marcbachmann/cel-js';

/** The parts of the engine that its macros see; it publishes no types for them. */
export interface LoopContext {
  forkWithVariable(name: string, type: LoopType): LoopContext;
  reuse(parent: LoopContext): LoopContext;
  setIterValue(value: unknown, evaluator: LoopEvaluator): LoopContext;
}
export interface LoopType {
  readonly kind: string;
  readonly keyType?: LoopType;
  readonly valueType?: LoopType;
}
export interface LoopEvaluator {
  run(node: LoopNode, context: LoopContext): unknown;
}
export interface LoopChecker {
  check(node: LoopNode, context: LoopContext): LoopType;
  getType(name: string): LoopType;
}
export type LoopNode = ASTNode;

export interface MacroCall {
  readonly ast: LoopNode;
  readonly args: readonly LoopNode[];
  readonly receiver: LoopNode;
}

export interface LoopMacro {
  /** Nodes for the meter to find; `step` is run in each turn of a loop. */
  readonly nodes: readonly LoopNode[];
  readonly step: LoopNode | undefined;
  typeCheck(checker: LoopChecker, macro: LoopMacro, context: LoopContext): LoopType;
  evaluate(evaluator: LoopEvaluator, macro: LoopMacro, context: LoopContext): unknown;
  readonly async: false;
}

/** The name an argument declares. Throws Error for anything but a name. */
export function nameOf(node: LoopNode | undefined): string {
  if (node?.op !== 'id') throw new Error('argument must be a simple name');
  return node.args;
}

/** `target.name(variable, body)`: `apply` gets the target and a function that runs the body for a value. */
export function bindMacro(apply: (target: unknown, run: (value: unknown) => unknown) => unknown): (call: MacroCall) => LoopMacro {
  return ({ args, receiver }) => {
    const [variable, body] = args;
    const name = nameOf(variable);
    if (body === undefined) throw new Error('argument expected');
    let inner: LoopContext | undefined;
    return {
      nodes: [receiver, body],
      step: undefined,
      async: false,
      typeCheck(checker, _macro, context) {
        const target = checker.check(receiver, context);
        inner = context.forkWithVariable(name, target.valueType ?? checker.getType('dyn'));
        checker.check(body, inner);
        return checker.getType('optional');
      },
      evaluate(evaluator, _macro, context) {
        return apply(evaluator.run(receiver, context), (value) =>
          inner === undefined ? undefined : evaluator.run(body, inner.reuse(context).setIterValue(value, evaluator)),
        );
      },
    };
  };
}
