import { type LabelSelector, selectorOf } from '@slipway/apimachinery';
import { type Budget, type CompiledExpression, CostExceeded, celErrorText, compileExpression } from '@slipway/schema';
import type { StoredObject } from '../../watch-cache/stored-object.ts';
import { type Variables, lazyVariables } from '../expressions/request-variables.ts';
import type { RuleSet, Selectors } from '../webhooks/match-webhook.ts';
import type { WebhookRule } from '../webhooks/webhook-config.ts';
import {
  type Binding,
  type MatchResources,
  type NamedRule,
  type Policy,
  type PolicySpec,
  policyVariables,
} from './policy-types.ts';

/** What constraints come to. */
export interface Constraints {
  /** Empty: any resource. */
  readonly included: RuleSet;
  readonly excluded: RuleSet;
  readonly selectors: Selectors;
}

/** Ready to run, or why not. */
type Runnable = CompiledExpression | { readonly error: string };

export interface CompiledValidation {
  readonly source: string;
  readonly rule: Runnable;
  readonly message: string;
  readonly messageExpression: Runnable | undefined;
  readonly reason: string;
}

/** A policy that is ready to be applied; made once per stored version. */
export interface CompiledPolicy {
  readonly name: string;
  readonly spec: PolicySpec;
  readonly failurePolicy: 'Fail' | 'Ignore';
  readonly constraints: Constraints;
  readonly conditionVariables: readonly string[];
  readonly validations: readonly CompiledValidation[];
  readonly auditAnnotations: readonly { readonly key: string; readonly source: string; readonly value: Runnable }[];
  /** The values of the policy's own variables, given the others. */
  variables(others: Variables, budget: Budget): Variables;
}

const policies = new WeakMap<StoredObject, CompiledPolicy>();
const constraints = new WeakMap<StoredObject, Constraints | undefined>();

/** The policy in a stored object. */
export function policyOf(stored: StoredObject): CompiledPolicy {
  const known = policies.get(stored);
  if (known !== undefined) return known;
  const made = compilePolicy(stored.object as Policy); // validated on write
  policies.set(stored, made);
  return made;
}

/** The constraints that a binding adds, if any. */
export function constraintsOfBinding(stored: StoredObject): Constraints | undefined {
  if (constraints.has(stored)) return constraints.get(stored);
  const match = (stored.object as Binding).spec?.matchResources; // validated on write
  const made = match === undefined ? undefined : constraintsOf(match);
  constraints.set(stored, made);
  return made;
}

function compilePolicy({ metadata, spec = {} }: Policy): CompiledPolicy {
  const names = policyVariables(spec);
  const known = (spec.variables ?? []).map(({ name }) => name);
  const compile = (source: string, wanted: 'bool' | 'string' | 'optional-string' | 'any', fields = known): Runnable => {
    const result = compileExpression(source, names, wanted, { variables: fields });
    return 'error' in result ? result : result.expression;
  };
  const own = (spec.variables ?? []).map(({ name, expression }, index) => ({
    name,
    value: compile(expression, 'any', known.slice(0, index)),
  }));
  return {
    name: metadata.name ?? '',
    spec,
    failurePolicy: spec.failurePolicy ?? 'Fail',
    constraints: constraintsOf(spec.matchConstraints ?? {}),
    conditionVariables: policyVariables(spec, false),
    validations: (spec.validations ?? []).map(({ expression, message = '', messageExpression, reason = '' }) => ({
      source: expression.trim(),
      rule: compile(expression, 'bool'),
      message: message.trim(),
      messageExpression: messageExpression === undefined ? undefined : compile(messageExpression, 'string'),
      reason,
    })),
    auditAnnotations: (spec.auditAnnotations ?? []).map(({ key, valueExpression }) => ({
      key,
      source: valueExpression.trim(),
      value: compile(valueExpression, 'optional-string'),
    })),
    variables: (others, budget) => ownVariables(own, others, budget),
  };
}

/** Each is evaluated when it is first used: what nobody asks for cannot fail. */
function ownVariables(
  own: readonly { readonly name: string; readonly value: Runnable }[],
  others: Variables,
  budget: Budget,
): Variables {
  const values = own.map(({ name, value }): [string, () => unknown] => [
    name,
    () => {
      try {
        return runExpression(value, all, budget);
      } catch (error) {
        if (error instanceof CostExceeded) throw error;
        throw new Error(`composited variable "${name}" fails to evaluate: ${celErrorText(error)}`, { cause: error });
      }
    },
  ]);
  const variables = lazyVariables(Object.fromEntries(values));
  const all: Variables = Object.create(others, { variables: { value: variables, enumerable: true } }) as Variables; // plain object
  return all;
}

/** Runs what compiled; throws what does not or fails. */
export function runExpression(expression: Runnable, variables: Variables, budget: Budget): unknown {
  if ('error' in expression) throw new Error(expression.error);
  return expression.run(variables, budget);
}

const ANY: LabelSelector = [];

function constraintsOf(match: MatchResources): Constraints {
  const matchPolicy = match.matchPolicy ?? 'Equivalent';
  return {
    included: { rules: (match.resourceRules ?? []).map(ruleOf), matchPolicy },
    excluded: { rules: (match.excludeResourceRules ?? []).map(ruleOf), matchPolicy },
    selectors: {
      namespaceSelector: selectorOf(match.namespaceSelector ?? {}) ?? ANY,
      objectSelector: selectorOf(match.objectSelector ?? {}) ?? ANY,
    },
  };
}

const ruleOf = ({ operations, apiGroups, apiVersions, resources, resourceNames, scope }: NamedRule): WebhookRule => ({
  operations: operations ?? [],
  apiGroups: apiGroups ?? [],
  apiVersions: apiVersions ?? [],
  resources: resources ?? [],
  resourceNames: resourceNames ?? [],
  scope: scope ?? '*',
});
