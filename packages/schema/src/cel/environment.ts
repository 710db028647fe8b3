import { type ASTNode, Environment } from '@marcbachmann/cel-js';
import { REPLACED, SUFFIX, replacement } from './environment-names.ts';
import { registerLibrary } from './library/index.ts';

/** What one expression may contain. */
export const LIMITS = { maxAstNodes: 10_000, maxDepth: 200, maxListElements: 1000, maxMapEntries: 1000, maxCallArguments: 32 };

let base: Environment | undefined;
const environments = new Map<string, Environment>();

/** The language with the Kubernetes functions and these variables (name → type). Kept: there are few combinations. */
export function environmentOf(variables: Readonly<Record<string, string>>): Environment {
  const key = JSON.stringify(variables);
  const known = environments.get(key);
  if (known !== undefined) return known;
  base ??= baseEnvironment();
  const env = base.clone();
  for (const [name, type] of Object.entries(variables)) env.registerVariable(name, type);
  environments.set(key, env);
  return env;
}

function baseEnvironment(): Environment {
  const env = new Environment({
    unlistedVariablesAreDyn: false,
    homogeneousAggregateLiterals: false,
    enableOptionalTypes: true,
    limits: LIMITS,
  });
  registerLibrary(env);
  return env;
}

/** Lets a parsed expression call our functions instead of those they replace. */
export function useReplacements(root: ASTNode): void {
  for (const child of childrenOf(root)) useReplacements(child);
  if ((root.op === 'rcall' || root.op === 'call') && REPLACED.has(root.args[0])) root.args[0] = replacement(root.args[0]);
}

/** The first line of what went wrong, with names as they were written. */
export function firstLine(error: unknown): string {
  const text = error instanceof Error ? (error.message.split('\n')[0] ?? '') : String(error);
  return text.replaceAll(`${SUFFIX}(`, '(').replace(/^No such key/, 'no such key');
}

/** The parts of an expression, as written. */
export function childrenOf(node: ASTNode): ASTNode[] {
  const found: ASTNode[] = [];
  const collect = (value: unknown): void => {
    if (Array.isArray(value)) value.forEach(collect);
    else if (typeof value === 'object' && value !== null && 'op' in value) found.push(value as ASTNode); // only nodes have an op
  };
  if (node.op !== 'value') collect(node.args);
  return found;
}
