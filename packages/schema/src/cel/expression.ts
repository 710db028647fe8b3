import type { ParseResult } from '@marcbachmann/cel-js';
import type { StructuralSchema } from '@slipway/apimachinery';
import { badPatternReport, reportAt, reportOf } from './compile-failure.ts';
import { environmentOf, useReplacements } from './environment.ts';
import { type VariableSchemas, undefinedField } from './fields.ts';
import { type Budget, meterOf } from './meter.ts';
import { celValue } from './values.ts';

/** An expression over variables that no schema describes, as admission uses them. */
export interface CompiledExpression {
  /** Throws what the expression throws, and CostExceeded. */
  run(variables: Readonly<Record<string, unknown>>, budget: Budget): unknown;
}

export type ExpressionCompilation = { readonly expression: CompiledExpression } | { readonly error: string };

/** Expressions come from stored policies: few, but each is used for every request. */
const compiled = new Map<string, ExpressionCompilation>();
const MAX_COMPILED = 2000;

/** What an expression must yield; `optional-string` is a text or null. */
export type Wanted = 'bool' | 'string' | 'optional-string' | 'any';

/** Fields that a variable has, where not any are allowed. */
export type VariableFields = Readonly<Record<string, readonly string[]>>;

/** Compiles an expression over variables of any type; `any` takes whatever comes. Kept. */
export function compileExpression(
  source: string,
  variables: readonly string[],
  wanted: Wanted,
  fields: VariableFields = {},
): ExpressionCompilation {
  const key = JSON.stringify([wanted, variables, fields, source]);
  const known = compiled.get(key);
  if (known !== undefined) return known;
  const result = compile(source, variables, wanted, fields);
  if (compiled.size >= MAX_COMPILED) compiled.clear();
  compiled.set(key, result);
  return result;
}

function compile(source: string, variables: readonly string[], wanted: Wanted, fields: VariableFields): ExpressionCompilation {
  const parsed = parse(source, variables);
  if ('error' in parsed) return parsed;
  const missing = undefinedField(parsed.ast, schemasOf(fields));
  const report =
    missing === undefined
      ? badPatternReport(parsed.ast, source)
      : reportAt(source, missing.position, `undefined field '${missing.field}'`);
  if (report !== undefined) return { error: `compilation failed: ${report}` };
  useReplacements(parsed.ast);
  const check = parsed.check();
  if (!check.valid) return { error: `compilation failed: ${reportOf(check.error, source, false)}` };
  if (!yields(check.type ?? 'dyn', wanted)) return { error: `must evaluate to ${wanted.replace('optional-string', 'string')}` };
  const meter = meterOf(parsed.ast);
  return { expression: { run: (values, budget) => meter.run(() => parsed(values), budget) } };
}

function parse(source: string, variables: readonly string[]): ParseResult | { readonly error: string } {
  try {
    return environmentOf(Object.fromEntries(variables.map((name) => [name, TYPES[name] ?? 'dyn']))).parse(source);
  } catch (error) {
    return { error: `compilation failed: ${reportOf(error, source, true)}` }; // ParseError
  }
}

function yields(type: string, wanted: Wanted): boolean {
  if (wanted === 'any' || type === 'dyn' || type === wanted) return true;
  return wanted === 'optional-string' && (type === 'string' || type === 'null');
}

/** Variables that always have the same type. */
const TYPES: Readonly<Record<string, string>> = {};

const schemasOf = (fields: VariableFields): VariableSchemas =>
  Object.fromEntries(
    Object.entries(fields).map(([variable, names]): [string, StructuralSchema] => [
      variable,
      { type: 'object', properties: Object.fromEntries(names.map((name) => [name, {}])) },
    ]),
  );

/** What a schema says against an expression that compiled without one; undefined when it says nothing. */
export function typeComplaint(source: string, variables: readonly string[], schemas: VariableSchemas): string | undefined {
  const parsed = parse(source, variables);
  if ('error' in parsed) return undefined; // refused when it was written
  const missing = undefinedField(parsed.ast, schemas);
  return missing && reportAt(source, missing.position, `undefined field '${missing.field}'`);
}

/** A JSON value as expressions without a schema see it: whole numbers are integers. */
export const toCel = (value: unknown): unknown => celValue(value, undefined);
