import { findAll, isObject, parseJsonPath, quantityValue, tryParseQuantity } from '@slipway/apimachinery';
import type { ValidationRule } from './template-rules.ts';

export interface RuleFailure {
  /** Path in the VM. */
  readonly field: string;
  readonly message: string;
}

/** Thrown for rules that cannot be read. */
export class MalformedRulesError extends Error {}

const PREFIX = 'jsonpath::';
/** Values that a VM has when it does not say. */
const REFERENCE = { spec: { domain: { cpu: { sockets: 1, cores: 1, threads: 1 }, memory: { guest: '0' }, devices: {} } } };

/** Rules from an annotation. */
export function parseRules(annotation: string): readonly ValidationRule[] {
  let rules: unknown;
  try {
    rules = JSON.parse(annotation);
  } catch (error) {
    throw new MalformedRulesError('the rules are not JSON', { cause: error });
  }
  if (!Array.isArray(rules) || !rules.every(isRule))
    throw new MalformedRulesError('every rule needs name, rule, path and message');
  const names = rules.map(({ name }) => name);
  if (new Set(names).size < names.length) throw new MalformedRulesError('two rules have the same name');
  return rules;
}

const KINDS: readonly unknown[] = ['integer', 'string', 'enum', 'regex'];
const isRule = (value: unknown): value is ValidationRule =>
  isObject(value) &&
  [value['name'], value['path'], value['message']].every((text) => typeof text === 'string' && text !== '') &&
  KINDS.includes(value['rule']);

/** Which rules the template of a VM (what is below `spec.template`) breaks; those that only warn are left out. */
export function brokenRules(rules: readonly ValidationRule[], machine: unknown): readonly RuleFailure[] {
  return rules.flatMap((rule) => {
    if (rule.valid !== undefined && valuesAt(machine, rule.valid).length === 0) return [];
    const detail = faultOf(rule, machine);
    if (detail === undefined || rule.justWarning === true) return [];
    return [{ field: rule.path.slice(PREFIX.length), message: `${rule.message}: ${detail}` }];
  });
}

function valuesAt(machine: unknown, path: string): readonly unknown[] {
  if (!path.startsWith(PREFIX)) throw new MalformedRulesError(`${path} is no path`);
  try {
    return findAll(machine, parseJsonPath(path.slice(PREFIX.length)));
  } catch (error) {
    throw new MalformedRulesError(`${path} is no path`, { cause: error });
  }
}

/** What the VM says, else what it has when it says nothing. */
function foundAt(machine: unknown, path: string): readonly unknown[] {
  const found = valuesAt(machine, path);
  return found.length > 0 ? found : valuesAt(REFERENCE, path);
}

function faultOf(rule: ValidationRule, machine: unknown): string | undefined {
  const values = foundAt(machine, rule.path);
  if (values.length === 0) return `no values were found for ${rule.path}`;
  switch (rule.rule) {
    case 'integer':
      return integerFault(rule, values.map(numberOf), machine);
    case 'string':
      return lengthFault(rule, values.map(String), machine);
    case 'enum': {
      const allowed = (rule.values ?? []).flatMap((value) =>
        value.startsWith(PREFIX) ? foundAt(machine, value).map(String) : [value],
      );
      return values.every((value) => allowed.includes(String(value)))
        ? undefined
        : `Some of [${values.join(', ')}] are not in [${allowed.join(', ')}]`;
    }
    default:
      return regexFault(rule, values.map(String));
  }
}

function numberOf(value: unknown): number {
  const quantity = tryParseQuantity(value);
  if (quantity === undefined) throw new MalformedRulesError(`${String(value)} is no number`);
  return Number(quantityValue(quantity));
}

/** A number that is written in the rule, or found where the rule says. */
function limitOf(limit: number | string | undefined, machine: unknown): number | undefined {
  if (typeof limit !== 'string' || !limit.startsWith(PREFIX)) return limit === undefined ? undefined : numberOf(limit);
  const [only, ...more] = foundAt(machine, limit);
  if (only === undefined || more.length > 0) throw new MalformedRulesError(`${limit} must have one value`);
  return numberOf(only);
}

function integerFault(rule: ValidationRule, values: readonly number[], machine: unknown): string | undefined {
  const [min, max] = [limitOf(rule.min, machine), limitOf(rule.max, machine)];
  const low = min === undefined ? undefined : values.find((value) => value < min);
  if (low !== undefined) return `value ${low} is lower than minimum [${min}]`;
  const high = max === undefined ? undefined : values.find((value) => value > max);
  return high === undefined ? undefined : `value ${high} is higher than maximum [${max}]`;
}

function lengthFault(rule: ValidationRule, values: readonly string[], machine: unknown): string | undefined {
  const min = limitOf(rule.minLength, machine) ?? 0;
  const max = limitOf(rule.maxLength, machine) ?? Number.MAX_SAFE_INTEGER;
  return values.every(({ length }) => length >= min && length <= max)
    ? undefined
    : `Lengths of some strings are not in interval [${min}, ${max}]`;
}

const MAX_PATTERN = 256;
/** Repeats of groups that repeat take forever on some texts. */
const NESTED_REPEAT = /[*+}]\)[*+{]/;

function regexFault({ regex = '' }: ValidationRule, values: readonly string[]): string | undefined {
  if (regex.length > MAX_PATTERN || NESTED_REPEAT.test(regex))
    throw new MalformedRulesError(`the pattern ${regex} is too complex`);
  let pattern: RegExp;
  try {
    pattern = new RegExp(regex, 'u');
  } catch (error) {
    throw new MalformedRulesError(`${regex} is no pattern`, { cause: error });
  }
  return values.every((value) => pattern.test(value)) ? undefined : `Some of [${values.join(', ')}] do not match ${regex}`;
}
