import { type FieldError, checkQualifiedName, invalidValue, requiredValue, tooMany } from '@slipway/apimachinery';
import { compileExpression } from '@slipway/schema';

interface Named {
  readonly name?: string;
  readonly expression?: string;
}

const MAX_CONDITIONS = 64;

/** Findings of `matchConditions` of a webhook or a policy, whose expressions may use `variables`. */
export function validateMatchConditions(conditions: readonly Named[], path: string, variables: readonly string[]): FieldError[] {
  const errors: FieldError[] = [];
  if (conditions.length > MAX_CONDITIONS) errors.push(tooMany(path, conditions.length, MAX_CONDITIONS));
  conditions.forEach(({ name = '', expression = '' }, index) => {
    const place = `${path}[${index}]`;
    if (expression.trim() === '') errors.push(requiredValue(`${place}.expression`));
    else errors.push(...compileErrors(`${place}.expression`, expression, variables, 'bool'));
    if (name === '') errors.push(requiredValue(`${place}.name`));
    else for (const text of checkQualifiedName(name)) errors.push(invalidValue(`${place}.name`, name, text));
    if (name !== '' && conditions.findIndex((other) => other.name === name) !== index) {
      errors.push({ type: 'Duplicate', path: `${place}.name`, detail: `Duplicate value: ${JSON.stringify(name)}` });
    }
  });
  return errors;
}

/** Findings of one expression that must yield `wanted`. */
export function compileErrors(
  path: string,
  expression: string,
  variables: readonly string[],
  wanted: 'bool' | 'string' | 'optional-string' | 'any',
  known?: readonly string[],
): FieldError[] {
  const result = compileExpression(expression, variables, wanted, known === undefined ? {} : { variables: known });
  return 'error' in result ? [invalidValue(path, expression, result.error)] : [];
}
