import type { ParseResult } from '@marcbachmann/cel-js';
import type { StructuralSchema } from '@slipway/apimachinery';
import { badPatternReport, reportAt, reportOf } from './compile-failure.ts';
import { environmentOf, useReplacements } from './environment.ts';
import { estimateCost } from './estimate.ts';
import { findNode, undefinedField } from './fields.ts';
import { type Budget, meterOf } from './meter.ts';
import { celType } from './values.ts';

/** A rule ready to run. */
export interface CompiledRule {
  /** Throws what the rule throws, and CostExceeded. */
  run(variables: { self: unknown; oldSelf?: unknown }, budget: Budget): unknown;
  /** What one run costs at most, if the value is as large as the schema allows. */
  readonly estimatedCost: number;
  /** Mentions `oldSelf`: runs on updates only. */
  readonly usesOldSelf: boolean;
}

export type Compilation = { readonly rule: CompiledRule } | { readonly error: string };
type Wanted = 'bool' | 'string';

const compiled = new WeakMap<StructuralSchema, Map<string, Compilation>>();

/** Compiles a rule for values of a schema; the result is kept with the schema. */
export function compileRule(
  source: string,
  schema: StructuralSchema,
  wanted: Wanted = 'bool',
  isOptionalOld = false,
): Compilation {
  const rules = compiled.get(schema) ?? new Map<string, Compilation>();
  compiled.set(schema, rules);
  const key = `${wanted} ${isOptionalOld} ${source}`;
  const known = rules.get(key);
  if (known !== undefined) return known;
  const result = compile(source, schema, wanted, isOptionalOld);
  rules.set(key, result);
  return result;
}

function compile(source: string, schema: StructuralSchema, wanted: Wanted, isOptionalOld: boolean): Compilation {
  let parsed: ParseResult;
  try {
    const type = isOptionalOld ? 'dyn' : celType(schema);
    parsed = environmentOf({ self: type, oldSelf: type }).parse(source);
  } catch (error) {
    return { error: `compilation failed: ${reportOf(error, source, true)}` }; // ParseError
  }
  const missing = undefinedField(parsed.ast, { self: schema, ...(!isOptionalOld && { oldSelf: schema }) });
  if (missing !== undefined) {
    return { error: `compilation failed: ${reportAt(source, missing.position, `undefined field '${missing.field}'`)}` };
  }
  const pattern = badPatternReport(parsed.ast, source);
  if (pattern !== undefined) return { error: `compilation failed: ${pattern}` };
  useReplacements(parsed.ast);
  const check = parsed.check();
  if (!check.valid) return { error: `compilation failed: ${reportOf(check.error, source, false)}` };
  if (check.type !== wanted && check.type !== 'dyn') return { error: `cel expression must evaluate to a ${wanted}` };
  const meter = meterOf(parsed.ast);
  return {
    rule: {
      run: (variables, budget) => meter.run(() => parsed(variables), budget),
      estimatedCost: estimateCost(parsed.ast, schema),
      usesOldSelf: findNode(parsed.ast, (node) => node.op === 'id' && node.args === 'oldSelf') !== undefined,
    },
  };
}
