import { Environment } from '@marcbachmann/cel-js';
import { LIMITS, firstLine, loopDepthOf } from './compile.ts';
import { registerLibrary } from './library.ts';
import { celValue } from './values.ts';

/** An expression over variables that no schema describes, as admission uses them. */
export interface CompiledExpression {
  run(variables: Readonly<Record<string, unknown>>): unknown;
  readonly loopDepth: number;
}

export type ExpressionCompilation = { readonly expression: CompiledExpression } | { readonly error: string };

const environments = new Map<string, Environment>();
/** Expressions come from stored policies: few, but each is used for every request. */
const compiled = new Map<string, ExpressionCompilation>();
const MAX_COMPILED = 2000;

/** Compiles an expression that yields `wanted`; `any` takes whatever comes. */
export function compileExpression(
  source: string,
  variables: readonly string[],
  wanted: 'bool' | 'string' | 'any',
): ExpressionCompilation {
  const key = `${wanted} ${variables.join(',')} ${source}`;
  const known = compiled.get(key);
  if (known !== undefined) return known;
  const result = compile(source, variables, wanted);
  if (compiled.size >= MAX_COMPILED) compiled.clear();
  compiled.set(key, result);
  return result;
}

function compile(source: string, variables: readonly string[], wanted: 'bool' | 'string' | 'any'): ExpressionCompilation {
  try {
    const parsed = environmentOf(variables).parse(source);
    const check = parsed.check();
    if (!check.valid) return { error: `compilation failed: ERROR: <input>:1:1: ${firstLine(check.error)}` };
    if (wanted !== 'any' && check.type !== wanted && check.type !== 'dyn') return { error: `must evaluate to ${wanted}` };
    return { expression: { run: (values) => parsed(values), loopDepth: loopDepthOf(parsed.ast) } };
  } catch (error) {
    return { error: `compilation failed: ERROR: <input>:1:1: Syntax error: ${firstLine(error)}` }; // ParseError
  }
}

function environmentOf(variables: readonly string[]): Environment {
  const key = variables.join(',');
  const known = environments.get(key);
  if (known !== undefined) return known;
  const env = new Environment({
    unlistedVariablesAreDyn: false,
    homogeneousAggregateLiterals: false,
    enableOptionalTypes: true,
    limits: LIMITS,
  });
  for (const name of variables) env.registerVariable(name, 'dyn');
  registerLibrary(env);
  environments.set(key, env);
  return env;
}

/** A JSON value as expressions without a schema see it: whole numbers are integers. */
export const toCel = (value: unknown): unknown => celValue(value, undefined);
