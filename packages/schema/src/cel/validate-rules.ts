import { Optional } from '@marcbachmann/cel-js';
import {
  type FieldError,
  type StructuralSchema,
  type ValidationRule,
  canonicalJson,
  fieldSchema,
  isObject,
} from '@slipway/apimachinery';
import { type PathStack, renderPath } from '../path.ts';
import { type CompiledRule, compileRule } from './compile.ts';
import { firstLine } from './environment.ts';
import { type Budget, CostExceeded } from './meter.ts';
import { celValue } from './values.ts';

/** What all rules of one request may cost. */
const REQUEST_BUDGET = 10_000_000;

const withRules = new WeakMap<StructuralSchema, boolean>();

function hasRules(schema: StructuralSchema): boolean {
  const known = withRules.get(schema);
  if (known !== undefined) return known;
  withRules.set(schema, false); // ends recursion should a schema refer to itself
  const children = [...Object.values(schema.properties ?? {}), schema.items, schema.additionalProperties];
  const found =
    (schema['x-kubernetes-validations'] ?? []).length > 0 ||
    children.some((child) => typeof child === 'object' && hasRules(child));
  withRules.set(schema, found);
  return found;
}

interface Walk {
  readonly errors: FieldError[];
  readonly stack: PathStack;
  readonly budget: Budget;
}

/**
 * Runs `x-kubernetes-validations`. `old` is the stored object on an update: rules with `oldSelf` run where the old
 * value can be told from the path. Run only when the schema itself found nothing.
 */
export function validateRules(value: unknown, old: unknown, schema: StructuralSchema): FieldError[] {
  if (!hasRules(schema)) return [];
  const walk: Walk = { errors: [], stack: [], budget: { left: REQUEST_BUDGET } };
  visit(value, old, schema, walk);
  return walk.errors;
}

function visit(value: unknown, old: unknown, schema: StructuralSchema, walk: Walk): void {
  if (value === null || value === undefined || !hasRules(schema)) return;
  const rules = schema['x-kubernetes-validations'] ?? [];
  if (rules.length > 0) runRules(rules, value, old, schema, walk);
  if (Array.isArray(value)) visitItems(value, old, schema, walk);
  else if (isObject(value)) {
    for (const key of Object.keys(value)) {
      const field = fieldSchema(schema, key);
      if (field !== undefined) descend(key, value[key], isObject(old) ? old[key] : undefined, field, walk);
    }
  }
}

function descend(key: string | number, value: unknown, old: unknown, schema: StructuralSchema, walk: Walk): void {
  walk.stack.push(key);
  visit(value, old, schema, walk);
  walk.stack.pop();
}

/** Items of a map list are told by their keys; of other lists, there is no telling. */
function visitItems(items: readonly unknown[], old: unknown, schema: StructuralSchema, walk: Walk): void {
  const { items: itemSchema } = schema;
  if (itemSchema === undefined) return;
  const keys = schema['x-kubernetes-list-type'] === 'map' ? schema['x-kubernetes-list-map-keys'] : undefined;
  const identity = (item: unknown): string => canonicalJson((keys ?? []).map((key) => (isObject(item) ? item[key] : undefined)));
  const before = new Map(keys !== undefined && Array.isArray(old) ? old.map((item: unknown) => [identity(item), item]) : []);
  items.forEach((item, index) =>
    descend(index, item, keys === undefined ? undefined : before.get(identity(item)), itemSchema, walk),
  );
}

function runRules(rules: readonly ValidationRule[], value: unknown, old: unknown, schema: StructuralSchema, walk: Walk): void {
  const self = celValue(value, schema);
  const oldSelf = old === undefined || old === null ? undefined : celValue(old, schema);
  for (const rule of rules) {
    const optional = rule.optionalOldSelf === true;
    const compilation = compileRule(rule.rule, schema, 'bool', optional);
    if ('error' in compilation) {
      walk.errors.push(finding(rule, schema, walk, `rule compile error: ${compilation.error}`));
      continue;
    }
    if (compilation.rule.usesOldSelf && oldSelf === undefined && !optional) continue;
    const oldArgument = optional ? (oldSelf === undefined ? Optional.none() : Optional.of(oldSelf)) : oldSelf;
    runRule(rule, compilation.rule, { self, oldSelf: oldArgument }, schema, walk);
  }
}

function runRule(
  rule: ValidationRule,
  compiled: CompiledRule,
  variables: { self: unknown; oldSelf: unknown },
  schema: StructuralSchema,
  walk: Walk,
): void {
  const label = rule.message ?? rule.rule;
  if (walk.budget.left <= 0) return;
  try {
    if (compiled.run(variables, walk.budget) !== true)
      walk.errors.push(finding(rule, schema, walk, messageOf(rule, variables, schema, walk.budget)));
  } catch (error) {
    walk.errors.push(finding(rule, schema, walk, failureText(error, label, walk.budget))); // a failing rule refuses
  }
}

/** Why a rule could not be evaluated; what was left of the budget is gone once a rule was stopped. */
function failureText(error: unknown, label: string, budget: Budget): string {
  if (!(error instanceof CostExceeded)) return `${runtimeText(error)} evaluating rule: ${label}`;
  const isOutOfBudget = budget.left <= 0;
  budget.left = 0;
  if (isOutOfBudget) return 'validation failed due to running out of cost budget, no further validation rules will be run';
  return `'${error.message}': no further validation rules will be run due to call cost exceeds limit for rule: ${label}`;
}

const runtimeText = (error: unknown): string => firstLine(error);

function messageOf(
  rule: ValidationRule,
  variables: { self: unknown; oldSelf: unknown },
  schema: StructuralSchema,
  budget: Budget,
): string {
  const fallback = rule.message ?? `failed rule: ${rule.rule}`;
  if (rule.messageExpression === undefined) return fallback;
  const compilation = compileRule(rule.messageExpression, schema, 'string', rule.optionalOldSelf === true);
  if ('error' in compilation) return fallback;
  try {
    const text = compilation.rule.run(variables, budget);
    return typeof text === 'string' && text.trim() !== '' && !text.includes('\n') ? text : fallback;
  } catch {
    return fallback; // the rule's own verdict stands
  }
}

const TYPE_OF_REASON: Readonly<Record<string, FieldError['type']>> = {
  FieldValueForbidden: 'Forbidden',
  FieldValueRequired: 'Required',
  FieldValueDuplicate: 'Duplicate',
};
const TEXT_OF_TYPE: Partial<Record<FieldError['type'], string>> = { Forbidden: 'Forbidden', Required: 'Required value' };

function finding(rule: ValidationRule, schema: StructuralSchema, { stack }: Walk, message: string): FieldError {
  const type = TYPE_OF_REASON[rule.reason ?? ''] ?? 'Invalid';
  const shown = JSON.stringify(schema.type ?? '');
  const prefix = TEXT_OF_TYPE[type] ?? (type === 'Duplicate' ? `Duplicate value: ${shown}` : `Invalid value: ${shown}`);
  const base = renderPath(stack);
  const path = rule.fieldPath === undefined ? base : `${base}${rule.fieldPath}`.replace(/^\./, '');
  return { type, path: path === '' ? '<nil>' : path, detail: `${prefix}: ${message}` };
}
