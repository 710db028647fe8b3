import { StatusError, forbidden } from '@slipway/apimachinery';
import type { AdmissionRequest } from '@slipway/runtime';
import type { Authorizer } from '../../authz/authorizer.ts';
import type { Registry } from '../../registry/registry.ts';
import type { StoredObject } from '../../watch-cache/stored-object.ts';
import type { DynamicAdmission } from '../admission-chain.ts';
import { requestVariables } from '../expressions/request-variables.ts';
import { type Matched, isExempt, matchRules, matchesSelectors } from '../webhooks/match-webhook.ts';
import { type CompiledPolicy, type Constraints, constraintsOfBinding, policyOf } from './compiled-policy.ts';
import { type Finding, evaluatePolicy } from './evaluate-policy.ts';
import { findParams } from './params.ts';
import { BINDINGS, type Binding, POLICIES, POLICY_GROUP } from './policy-types.ts';
import { toCel } from '@slipway/schema';

export interface PolicyDeps {
  readonly registry: Registry;
  readonly authorizer: () => Authorizer;
}

/** A finding with the policy and the binding it comes from. */
interface Violation extends Finding {
  readonly policy: string;
  readonly binding: string;
  readonly actions: readonly string[];
}

/** Applies the ValidatingAdmissionPolicies that are bound; without any it costs one look at an empty list. */
export function policyAdmission(deps: PolicyDeps): DynamicAdmission {
  const bindings = deps.registry.cache.collection({ group: POLICY_GROUP, plural: BINDINGS });
  const policies = deps.registry.cache.collection({ group: POLICY_GROUP, plural: POLICIES });
  return {
    async validate(request, warn) {
      if (bindings.size === 0 || policies.size === 0 || isExempt(request)) return;
      const violations = policies.list().flatMap((stored) => {
        const name = stored.name;
        const bound = bindings.list().filter(({ object }) => (object as Binding).spec?.policyName === name); // validated
        return bound.length === 0 ? [] : applyPolicy(deps, policyOf(stored), bound, request);
      });
      report(violations, request, warn);
    },
  };
}

function applyPolicy(
  deps: PolicyDeps,
  policy: CompiledPolicy,
  bindings: readonly StoredObject[],
  request: AdmissionRequest,
): Violation[] {
  const matched = matchConstraints(deps.registry, policy.constraints, request);
  if (matched === undefined) return [];
  return bindings.flatMap((binding) => applyBinding(deps, policy, matched, binding, request));
}

function applyBinding(
  deps: PolicyDeps,
  policy: CompiledPolicy,
  matched: Matched,
  binding: StoredObject,
  request: AdmissionRequest,
): Violation[] {
  const { registry } = deps;
  const own = constraintsOfBinding(binding);
  if (own !== undefined && matchConstraints(registry, own, request) === undefined) return [];
  const { paramRef, validationActions = [] } = (binding.object as Binding).spec ?? {}; // validated on write
  const found = (finding: Finding, actions: readonly string[] = validationActions): Violation => ({
    ...finding,
    policy: policy.name,
    binding: binding.name,
    actions,
  });
  let params;
  try {
    params = findParams(registry, policy.spec.paramKind, paramRef, request.namespace);
  } catch (error) {
    if (policy.failurePolicy === 'Ignore') return [];
    const text = `failed to configure binding: ${error instanceof Error ? error.message : String(error)}`;
    return [found({ message: text, reason: '', expressionIndex: 0 }, ['Deny'])]; // findParams says what is wrong
  }
  const authorizer = deps.authorizer();
  return params.flatMap((param) => {
    const variables = requestVariables({ registry, authorizer }, request, matched.definition, {
      params: () => (param === null ? null : toCel(param)),
    });
    const { findings, annotations } = evaluatePolicy(policy, variables);
    for (const [key, value] of Object.entries(annotations)) request.annotate?.(key, value);
    return findings.map((finding) => found(finding));
  });
}

/** The form in which the constraints want the object, or undefined when they want none. */
function matchConstraints(registry: Registry, { included, excluded, selectors }: Constraints, request: AdmissionRequest) {
  if (!matchesSelectors(registry, selectors, request)) return undefined;
  if (excluded.rules.length > 0 && matchRules(registry, excluded, request) !== undefined) return undefined;
  if (included.rules.length > 0) return matchRules(registry, included, request);
  return { definition: registry.find(request.group, request.version, request.resource) } satisfies Matched;
}

const CODES: Readonly<Record<string, number>> = { Forbidden: 403, Unauthorized: 401, RequestEntityTooLarge: 413, Invalid: 422 };
const AUDIT_KEY = 'validation.policy.admission.k8s.io/validation_failure';

function report(violations: readonly Violation[], request: AdmissionRequest, warn: (text: string) => void): void {
  const audited: unknown[] = [];
  for (const { policy, binding, message, actions, expressionIndex } of violations) {
    if (actions.includes('Warn')) {
      warn(`Validation failed for ValidatingAdmissionPolicy '${policy}' with binding '${binding}': ${message}`);
    }
    if (actions.includes('Audit')) audited.push({ message, policy, binding, expressionIndex, validationActions: actions });
  }
  if (audited.length > 0) request.annotate?.(AUDIT_KEY, JSON.stringify(audited));
  const denied = violations.find(({ actions }) => actions.includes('Deny'));
  if (denied !== undefined) throw denial(denied, request);
}

function denial({ policy, binding, message, reason }: Violation, { resource, group, name }: AdmissionRequest): StatusError {
  const text = `ValidatingAdmissionPolicy '${policy}' with binding '${binding}' denied request: ${message}`;
  const { status } = forbidden({ resource, group }, name, text);
  return new StatusError({
    ...status,
    code: CODES[reason] ?? 422,
    reason: reason === '' ? 'Invalid' : reason,
    details: { ...status.details, causes: [{ message: text }] },
  });
}
