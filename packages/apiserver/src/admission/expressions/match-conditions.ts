import { forbidden } from '@slipway/apimachinery';
import type { AdmissionRequest } from '@slipway/runtime';
import { type Budget, celErrorText, compileExpression } from '@slipway/schema';
import type { Variables } from './request-variables.ts';

export interface Condition {
  readonly name: string;
  readonly expression: string;
}

export interface ConditionOwner {
  /** Who asks, for messages: `webhook "x"`. */
  readonly subject: string;
  readonly failurePolicy: 'Fail' | 'Ignore';
}

/** What the conditions of one owner may cost together. */
const CONDITIONS_BUDGET = 2_500_000;

/** Names that match conditions of webhooks may use. */
export const WEBHOOK_VARIABLES = ['object', 'oldObject', 'request', 'authorizer'] as const;

export type ConditionsOutcome =
  | { readonly type: 'match' }
  | { readonly type: 'mismatch' }
  /** None is false, but some could not be evaluated. */
  | { readonly type: 'failed'; readonly failures: readonly string[] };

/** Evaluates all conditions: one that is false decides, even if another fails. */
export function evaluateConditions(
  conditions: readonly Condition[],
  names: readonly string[],
  variables: Variables,
): ConditionsOutcome {
  const budget = { left: CONDITIONS_BUDGET };
  const failures: string[] = [];
  for (const { expression } of conditions) {
    const outcome = evaluate(expression, names, variables, budget);
    if (outcome === false) return { type: 'mismatch' };
    if (typeof outcome === 'string') failures.push(`expression '${expression.trim()}' resulted in error: ${outcome}`);
  }
  return failures.length === 0 ? { type: 'match' } : { type: 'failed', failures };
}

/**
 * True when every condition holds. A failure alone refuses the request or skips the owner, as its policy says. Throws
 * StatusError 403.
 */
export function holdsConditions(
  conditions: readonly Condition[],
  request: AdmissionRequest,
  variables: () => Variables,
  owner: ConditionOwner,
): boolean {
  if (conditions.length === 0) return true;
  const outcome = evaluateConditions(conditions, WEBHOOK_VARIABLES, variables());
  if (outcome.type !== 'failed') return outcome.type === 'match';
  if (owner.failurePolicy === 'Ignore') return false;
  throw forbidden(
    { resource: request.resource, group: request.group },
    request.name,
    `match conditions of ${owner.subject} could not be evaluated: ${outcome.failures.join('; ')}`,
  );
}

/** The verdict, or what went wrong. */
function evaluate(expression: string, names: readonly string[], variables: Variables, budget: Budget): boolean | string {
  const compilation = compileExpression(expression, names, 'bool');
  if ('error' in compilation) return compilation.error;
  try {
    return compilation.expression.run(variables, budget) === true;
  } catch (error) {
    return celErrorText(error); // the caller's policy decides
  }
}
