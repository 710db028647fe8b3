import { type Budget, celErrorText } from '@slipway/schema';
import { evaluateConditions } from '../expressions/match-conditions.ts';
import type { Variables } from '../expressions/request-variables.ts';
import { type CompiledPolicy, type CompiledValidation, runExpression } from './compiled-policy.ts';

/** What one policy with one parameter may cost. */
const POLICY_BUDGET = 10_000_000;
const MAX_MESSAGE = 5 * 1024;
const MAX_AUDIT_VALUE = 10 * 1024;

/** A validation that did not hold, or could not be evaluated. */
export interface Finding {
  readonly message: string;
  readonly reason: string;
  /** Place in the list of validations. */
  readonly expressionIndex: number;
}

export interface PolicyOutcome {
  readonly findings: readonly Finding[];
  /** Values for the audit log by key. */
  readonly annotations: Readonly<Record<string, string>>;
}

const NOTHING: PolicyOutcome = { findings: [], annotations: {} };

/** Applies a policy to the variables of a request. Failures to evaluate become findings or nothing, as the policy says. */
export function evaluatePolicy(policy: CompiledPolicy, request: Variables): PolicyOutcome {
  const conditions = policy.spec.matchConditions ?? [];
  const failed = (message: string, index = 0): Finding[] =>
    policy.failurePolicy === 'Ignore' ? [] : [{ message, reason: '', expressionIndex: index }];
  if (conditions.length > 0) {
    const outcome = evaluateConditions(conditions, policy.conditionVariables, request);
    if (outcome.type === 'mismatch') return NOTHING;
    if (outcome.type === 'failed') return { findings: failed(outcome.failures.join(', ')), annotations: {} };
  }
  const budget: Budget = { left: POLICY_BUDGET };
  const variables = policy.variables(request, budget);
  const findings = policy.validations.flatMap((validation, index): Finding[] => {
    try {
      if (runExpression(validation.rule, variables, budget) === true) return [];
      return [{ message: messageOf(validation, variables, budget), reason: validation.reason, expressionIndex: index }];
    } catch (error) {
      return failed(`expression '${validation.source}' resulted in error: ${celErrorText(error)}`, index);
    }
  });
  const { annotations, errors } = annotate(policy, variables, budget);
  return { findings: [...findings, ...errors.flatMap((message) => failed(message))], annotations };
}

function messageOf(validation: CompiledValidation, variables: Variables, budget: Budget): string {
  const { messageExpression, message, source } = validation;
  const fallback = message === '' ? `failed expression: ${source}` : message;
  if (messageExpression === undefined) return fallback;
  try {
    const text = runExpression(messageExpression, variables, budget);
    if (typeof text !== 'string' || text.length > MAX_MESSAGE || /[\r\n]/.test(text.trim())) return fallback;
    return text.trim() === '' ? fallback : text.trim();
  } catch {
    return fallback; // the validation's own verdict stands
  }
}

function annotate(
  { auditAnnotations, name }: CompiledPolicy,
  variables: Variables,
  budget: Budget,
): { annotations: Record<string, string>; errors: string[] } {
  const annotations: Record<string, string> = {};
  const errors: string[] = [];
  for (const { key, source, value } of auditAnnotations) {
    try {
      const text = runExpression(value, variables, budget);
      if (typeof text === 'string' && text.trim() !== '') annotations[`${name}/${key}`] = text.trim().slice(0, MAX_AUDIT_VALUE);
    } catch (error) {
      errors.push(`expression '${source}' resulted in error: ${celErrorText(error)}`);
    }
  }
  return { annotations, errors };
}
