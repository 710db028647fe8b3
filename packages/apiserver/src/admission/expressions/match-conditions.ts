import { forbidden } from '@slipway/apimachinery';
import type { AdmissionRequest } from '@slipway/runtime';
import { compileExpression, toCel } from '@slipway/schema';

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

/** Names that expressions of admission may use. */
export const REQUEST_VARIABLES = ['object', 'oldObject', 'request', 'namespaceObject', 'params', 'variables'] as const;

/** The variables of a request, as expressions see them. */
export function requestVariables(request: AdmissionRequest): Record<string, unknown> {
  const { user } = request;
  return {
    object: request.object === undefined ? null : toCel(request.object),
    oldObject: request.oldObject === undefined ? null : toCel(request.oldObject),
    request: toCel({
      kind: { group: request.group, version: request.version, kind: request.kind },
      resource: { group: request.group, version: request.version, resource: request.resource },
      subResource: request.subresource,
      requestKind: { group: request.group, version: request.version, kind: request.kind },
      requestResource: { group: request.group, version: request.version, resource: request.resource },
      requestSubResource: request.subresource,
      name: request.name,
      namespace: request.namespace,
      operation: request.operation,
      userInfo: { username: user.username, uid: user.uid ?? '', groups: [...user.groups], extra: { ...user.extra } },
      dryRun: request.dryRun,
      options: request.options ?? {},
    }),
    namespaceObject: null,
    params: null,
    variables: {},
  };
}

/**
 * True when every condition holds. One that is false skips the owner even if another fails to evaluate; a failure
 * alone refuses the request or skips the owner, as its policy says. Throws StatusError 403.
 */
export function holdsConditions(conditions: readonly Condition[], request: AdmissionRequest, owner: ConditionOwner): boolean {
  if (conditions.length === 0) return true;
  const variables = requestVariables(request);
  const failures: string[] = [];
  for (const { name, expression } of conditions) {
    const outcome = evaluate(expression, variables);
    if (outcome === false) return false;
    if (typeof outcome === 'string') failures.push(`expression '${expression}' (${name}) resulted in error: ${outcome}`);
  }
  if (failures.length === 0) return true;
  if (owner.failurePolicy === 'Ignore') return false;
  throw forbidden(
    { resource: request.resource, group: request.group },
    request.name,
    `match conditions of ${owner.subject} could not be evaluated: ${failures.join('; ')}`,
  );
}

/** The verdict, or what went wrong. */
function evaluate(expression: string, variables: Record<string, unknown>): boolean | string {
  const compilation = compileExpression(expression, REQUEST_VARIABLES, 'bool');
  if ('error' in compilation) return compilation.error;
  try {
    return compilation.expression.run(variables, { left: CONDITIONS_BUDGET }) === true;
  } catch (error) {
    return error instanceof Error ? error.message : String(error); // the caller's policy decides
  }
}
