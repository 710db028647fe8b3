import { type FieldError, invalidValue, requiredValue, unsupportedValue, validateLabelSelector } from '@slipway/apimachinery';
import type { MatchResources, NamedRule } from '../../admission/policies/policy-types.ts';
import { oneOf } from '../core/pod-validation.ts';

const OPERATIONS = ['*', 'CONNECT', 'CREATE', 'DELETE', 'UPDATE'];
const SCOPES = ['*', 'Cluster', 'Namespaced'];

/** Fills what is left out of the constraints of a policy or a binding. */
export function defaultMatchResources(match: MatchResources | undefined): void {
  if (match === undefined) return;
  match.matchPolicy ??= 'Equivalent';
  match.namespaceSelector ??= {};
  match.objectSelector ??= {};
  for (const rule of [...(match.resourceRules ?? []), ...(match.excludeResourceRules ?? [])]) rule.scope ??= '*';
}

/** Findings of the constraints of a policy or a binding. */
export function validateMatchResources(match: MatchResources, path: string): FieldError[] {
  const errors: FieldError[] = [];
  oneOf(match.matchPolicy, ['Equivalent', 'Exact'], `${path}.matchPolicy`, errors);
  errors.push(...validateLabelSelector(match.namespaceSelector ?? {}, `${path}.namespaceSelector`));
  errors.push(...validateLabelSelector(match.objectSelector ?? {}, `${path}.objectSelector`));
  for (const field of ['resourceRules', 'excludeResourceRules'] as const) {
    match[field]?.forEach((rule, index) => errors.push(...validateNamedRule(rule, `${path}.${field}[${index}]`)));
  }
  return errors;
}

function validateNamedRule(rule: NamedRule, path: string): FieldError[] {
  const errors = validateRule(rule, path);
  const names = rule.resourceNames ?? [];
  names.forEach((name, index) => {
    if (names.indexOf(name) !== index) {
      const place = `${path}.resourceNames[${index}]`;
      errors.push({ type: 'Duplicate', path: place, detail: `Duplicate value: ${JSON.stringify(name)}` });
    }
  });
  return errors;
}

/** Findings of one rule of a webhook, policy or binding. */
export function validateRule(rule: NamedRule, path: string): FieldError[] {
  const errors: FieldError[] = [];
  const { operations = [], apiGroups = [], apiVersions = [], resources = [] } = rule;
  if (operations.length === 0) errors.push(requiredValue(`${path}.operations`));
  else if (operations.includes('*') && operations.length > 1) {
    const shown = `[]admissionregistration.OperationType{${operations.map((item) => JSON.stringify(item)).join(', ')}}`;
    errors.push({
      type: 'Invalid',
      path: `${path}.operations`,
      detail: `Invalid value: ${shown}: if '*' is present, must not specify other operations`,
    });
  }
  operations.forEach((operation, index) => {
    if (!OPERATIONS.includes(operation)) errors.push(unsupportedValue(`${path}.operations[${index}]`, operation, OPERATIONS));
  });
  errors.push(...validateList(apiGroups, `${path}.apiGroups`, 'groups'));
  errors.push(...validateList(apiVersions, `${path}.apiVersions`, 'versions', true));
  errors.push(...validateResources(resources, `${path}.resources`));
  oneOf(rule.scope, SCOPES, `${path}.scope`, errors);
  return errors;
}

function validateList(values: readonly string[], path: string, what: string, wantsText = false): FieldError[] {
  if (values.length === 0) return [requiredValue(path)];
  const errors: FieldError[] = [];
  if (values.includes('*') && values.length > 1) {
    errors.push(invalidValue(path, values, `if '*' is present, must not specify other API ${what}`));
  }
  values.forEach((value, index) => {
    if (wantsText && value === '') errors.push(requiredValue(`${path}[${index}]`));
  });
  return errors;
}

function validateResources(resources: readonly string[], path: string): FieldError[] {
  if (resources.length === 0) return [requiredValue(path)];
  const errors: FieldError[] = [];
  resources.forEach((resource, index) => {
    if (resource === '') errors.push(requiredValue(`${path}[${index}]`));
    else if (resource !== '*/*' && resources.includes('*/*')) {
      errors.push(invalidValue(`${path}[${index}]`, resource, "if '*/*' is present, must not specify other resources"));
    }
  });
  return errors;
}
