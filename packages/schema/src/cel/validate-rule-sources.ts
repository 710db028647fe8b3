import type { FieldError, StructuralSchema, ValidationRule } from '@slipway/apimachinery';
import { compileRule } from './compile.ts';
import { RULE_LIMIT, SCHEMA_LIMIT, excessText, maxItems } from './estimate.ts';

interface Walk {
  readonly errors: FieldError[];
  /** Estimated cost of all rules so far. */
  total: number;
}

/** Findings of the rules themselves in a CustomResourceDefinition; `path` is that of the schema. */
export function validateRuleSources(schema: StructuralSchema, path: string): FieldError[] {
  const walk: Walk = { errors: [], total: 0 };
  visit(schema, path, 1, walk);
  if (walk.errors.length === 0 && walk.total > SCHEMA_LIMIT) {
    const what = 'x-kubernetes-validations estimated rule cost total for entire OpenAPIv3 schema';
    walk.errors.push(tooExpensive(path, excessText(what, walk.total, SCHEMA_LIMIT)));
  }
  return walk.errors;
}

/** `count` is how many values of the schema one request can hold. */
function visit(schema: StructuralSchema, path: string, count: number, walk: Walk): void {
  (schema['x-kubernetes-validations'] ?? []).forEach((rule, index) =>
    checkRule(rule, schema, `${path}.x-kubernetes-validations[${index}]`, count, walk),
  );
  for (const [name, field] of Object.entries(schema.properties ?? {})) visit(field, `${path}.properties[${name}]`, count, walk);
  if (schema.items !== undefined) visit(schema.items, `${path}.items`, count * maxItems(schema), walk);
  if (typeof schema.additionalProperties === 'object') {
    visit(schema.additionalProperties, `${path}.additionalProperties`, count * maxItems(schema), walk);
  }
}

function checkRule(rule: ValidationRule, schema: StructuralSchema, place: string, count: number, walk: Walk): void {
  const { errors } = walk;
  if (!rule.rule?.trim()) {
    errors.push({ type: 'Required', path: `${place}.rule`, detail: 'Required value: rule is not specified' });
    return;
  }
  const isOptional = rule.optionalOldSelf === true;
  const compilation = compileRule(rule.rule, schema, 'bool', isOptional);
  if ('error' in compilation) errors.push(sourceError(`${place}.rule`, rule, compilation.error));
  else checkCost(compilation.rule.estimatedCost * count, 'estimated rule cost', `${place}.rule`, walk);
  if (rule.messageExpression === undefined) return;
  const message = compileRule(rule.messageExpression, schema, 'string', isOptional);
  if ('error' in message) errors.push(sourceError(`${place}.messageExpression`, rule, message.error));
  else checkCost(message.rule.estimatedCost * count, 'estimated messageExpression cost', `${place}.messageExpression`, walk);
}

function checkCost(cost: number, what: string, path: string, walk: Walk): void {
  walk.total += cost;
  if (cost > RULE_LIMIT) walk.errors.push(tooExpensive(path, excessText(what, cost, RULE_LIMIT)));
}

const tooExpensive = (path: string, text: string): FieldError => ({ type: 'Forbidden', path, detail: `Forbidden: ${text}` });

function sourceError(path: string, rule: ValidationRule, text: string): FieldError {
  const shown = `apiextensions.ValidationRule{Rule:${JSON.stringify(rule.rule)}, Message:${JSON.stringify(rule.message ?? '')}}`;
  return { type: 'Invalid', path, detail: `Invalid value: ${shown}: ${text}` };
}
