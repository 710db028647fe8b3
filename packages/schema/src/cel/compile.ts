import type { ASTNode, ParseResult } from '@marcbachmann/cel-js';
import { type StructuralSchema } from '@slipway/apimachinery';
import { patternComplaint } from '../patterns/pattern.ts';
import { childrenOf, environmentOf, firstLine, useReplacements } from './environment.ts';
import { celType, escapeField } from './values.ts';

/** A rule ready to run. */
export interface CompiledRule {
  run(variables: { self: unknown; oldSelf?: unknown }): unknown;
  /** Mentions `oldSelf`: runs on updates only. */
  readonly usesOldSelf: boolean;
  /** Nesting of `all`, `exists`, `map` …: each level can visit every item of a list. */
  readonly loopDepth: number;
  readonly nodes: number;
}

const LOOPS = new Set(['all', 'exists', 'exists_one', 'existsOne', 'map', 'filter', 'transformList', 'transformMap']);

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
    return { error: `compilation failed: ERROR: <input>:1:1: Syntax error: ${firstLine(error)}` }; // ParseError
  }
  const missing = undefinedField(parsed.ast, schema);
  if (missing !== undefined) {
    const { field, position } = missing;
    return { error: compilationError(source, position, `undefined field '${field}'`) };
  }
  const pattern = findNode(parsed.ast, (node) => badPattern(node) !== undefined);
  if (pattern !== undefined) return { error: compilationError(source, pattern.pos, badPattern(pattern) ?? '') };
  useReplacements(parsed.ast);
  const check = parsed.check();
  if (!check.valid) return { error: `compilation failed: ERROR: <input>:1:1: ${firstLine(check.error)}` };
  if (check.type !== wanted && check.type !== 'dyn') return { error: `cel expression must evaluate to a ${wanted}` };
  return {
    rule: {
      run: (variables) => parsed(variables),
      usesOldSelf: findNode(parsed.ast, (node) => node.op === 'id' && node.args === 'oldSelf') !== undefined,
      loopDepth: loopDepthOf(parsed.ast),
      nodes: countNodes(parsed.ast),
    },
  };
}

/** The compiler's report with a marker under the place. */
function compilationError(source: string, position: number, text: string): string {
  return `compilation failed: ERROR: <input>:1:${position}: ${text}\n | ${source}\n | ${'.'.repeat(Math.max(position - 1, 0))}^`;
}

function badPattern(node: ASTNode): string | undefined {
  if (node.op !== 'rcall' || node.args[0] !== 'matches') return undefined;
  const argument = node.args[2][0];
  return argument?.op === 'value' && typeof argument.args === 'string' ? patternComplaint(argument.args) : undefined;
}

/** The first `self.a.b` that the schema does not declare. */
function undefinedField(root: ASTNode, schema: StructuralSchema): { field: string; position: number } | undefined {
  const node = findNode(root, (candidate) => candidate.op === '.' && isUndefined(candidate, schema));
  return node?.op === '.' ? { field: node.args[1], position: node.pos } : undefined;
}

function isUndefined(node: ASTNode, schema: StructuralSchema): boolean {
  if (node.op !== '.') return false;
  const parent = schemaOf(node.args[0], schema);
  return parent?.type === 'object' && !isOpen(parent) && fieldByCelName(parent, node.args[1]) === undefined;
}

const isOpen = (schema: StructuralSchema): boolean =>
  schema['x-kubernetes-preserve-unknown-fields'] === true ||
  schema['x-kubernetes-embedded-resource'] === true ||
  schema.additionalProperties !== undefined ||
  schema.properties === undefined ||
  'apiVersion' in schema.properties;

function fieldByCelName(schema: StructuralSchema, name: string): StructuralSchema | undefined {
  const entry = Object.entries(schema.properties ?? {}).find(([field]) => escapeField(field) === name);
  return entry?.[1];
}

/** Schema of an expression, as far as it is a path from `self`. */
function schemaOf(node: ASTNode, self: StructuralSchema): StructuralSchema | undefined {
  if (node.op === 'id') return node.args === 'self' || node.args === 'oldSelf' ? self : undefined;
  if (node.op === '.') {
    const parent = schemaOf(node.args[0], self);
    return parent === undefined || isOpen(parent) ? undefined : fieldByCelName(parent, node.args[1]);
  }
  return node.op === '[]' ? schemaOf(node.args[0], self)?.items : undefined;
}

function findNode(node: ASTNode, matches: (node: ASTNode) => boolean): ASTNode | undefined {
  for (const child of childrenOf(node)) {
    const found = findNode(child, matches);
    if (found !== undefined) return found;
  }
  return matches(node) ? node : undefined;
}

/** Nesting of loops in an expression. */
export function loopDepthOf(node: ASTNode): number {
  const below = Math.max(0, ...childrenOf(node).map(loopDepthOf));
  return node.op === 'rcall' && LOOPS.has(node.args[0]) ? below + 1 : below;
}

const countNodes = (node: ASTNode): number => childrenOf(node).reduce((sum, child) => sum + countNodes(child), 1);
