import type { ASTNode } from '@marcbachmann/cel-js';
import { patternComplaint } from '../patterns/pattern.ts';
import { firstLine } from './environment.ts';
import { findNode } from './fields.ts';

/** The compiler's report with a marker under the place. */
export function reportAt(source: string, position: number, text: string): string {
  const before = source.slice(0, position);
  const line = before.split('\n').length;
  const column = position - (before.lastIndexOf('\n') + 1);
  const shown = source.split('\n')[line - 1] ?? '';
  return `ERROR: <input>:${line}:${column}: ${text}\n | ${shown}\n | ${'.'.repeat(Math.max(column - 1, 0))}^`;
}

interface Located {
  readonly range?: { readonly start: number };
  readonly code?: string;
}

/** What the engine said about an expression, in the words of the compiler of Kubernetes as far as they are known. */
export function reportOf(error: unknown, source: string, isSyntax: boolean): string {
  const { range } = error as Located; // errors of the engine carry a place
  const text = inWordsOfKubernetes(firstLine(error));
  return reportAt(source, (range?.start ?? 0) + 1, isSyntax ? `Syntax error: ${text}` : text);
}

const inWordsOfKubernetes = (text: string): string =>
  text
    .replace(/^Unknown variable: (.*)$/, "undeclared reference to '$1' (in container '')")
    .replace(
      /^found no matching overload for '([^(']+)\.(\w+)\((.*)\)'$/,
      "found no matching overload for '$2' applied to '$1.($3)'",
    )
    .replace(/^found no matching overload for '(\w+)\((.*)\)'$/, "found no matching overload for '$1' applied to '($2)'")
    .replace(/^no such overload: (.+) ([-+*/%<>=!]+|in) (.+)$/, "found no matching overload for '_$2_' applied to '($1, $3)'");

/** A `matches` whose pattern is no pattern. */
export function badPatternReport(root: ASTNode, source: string): string | undefined {
  const node = findNode(root, (candidate) => badPattern(candidate) !== undefined);
  return node && reportAt(source, node.pos, badPattern(node) ?? '');
}

function badPattern(node: ASTNode): string | undefined {
  if (node.op !== 'rcall' || !/^(matches(__)?|find|findAll)$/.test(node.args[0])) return undefined;
  const argument = node.args[2][0];
  return argument?.op === 'value' && typeof argument.args === 'string' ? patternComplaint(argument.args) : undefined;
}
