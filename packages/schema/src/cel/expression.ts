import { loopDepthOf } from './compile.ts';
import { environmentOf, firstLine, useReplacements } from './environment.ts';
import { celValue } from './values.ts';

/** An expression over variables that no schema describes, as admission uses them. */
export interface CompiledExpression {
  run(variables: Readonly<Record<string, unknown>>): unknown;
  readonly loopDepth: number;
}

export type ExpressionCompilation = { readonly expression: CompiledExpression } | { readonly error: string };

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
    const parsed = environmentOf(Object.fromEntries(variables.map((name) => [name, 'dyn']))).parse(source);
    useReplacements(parsed.ast);
    const check = parsed.check();
    if (!check.valid) return { error: `compilation failed: ERROR: <input>:1:1: ${firstLine(check.error)}` };
    if (wanted !== 'any' && check.type !== wanted && check.type !== 'dyn') return { error: `must evaluate to ${wanted}` };
    return { expression: { run: (values) => parsed(values), loopDepth: loopDepthOf(parsed.ast) } };
  } catch (error) {
    return { error: `compilation failed: ERROR: <input>:1:1: Syntax error: ${firstLine(error)}` }; // ParseError
  }
}

/** A JSON value as expressions without a schema see it: whole numbers are integers. */
export const toCel = (value: unknown): unknown => celValue(value, undefined);
