import type { Command } from 'commander';
import { CommandFailure } from './io.ts';
import { parseFlags, type Tokens } from './pflag.ts';

/** What one command line asks for. */
export type Line =
  | { readonly kind: 'help'; readonly command: Command }
  /** Words that commander reads without a complaint. */
  | { readonly kind: 'run'; readonly argv: readonly string[] };

/**
 * Reads a command line as users of KubeVirt write it: flags in any place, and complaints in the words that scripts know.
 * Throws CommandFailure.
 */
export function readLine(words: readonly string[], program: Command): Line {
  const { command, path, rest } = findCommand(words, program);
  const tokens = parseFlags(rest, command);
  if (tokens.wantsHelp || isGroup(command)) {
    if (!tokens.wantsHelp && command === program && tokens.args[0] !== undefined)
      throw new CommandFailure(unknownCommand(tokens.args[0], program));
    return { kind: 'help', command };
  }
  checkCount(command, tokens.args);
  checkRequired(command, tokens);
  return { kind: 'run', argv: [...path, ...tokens.flags, '--', ...tokens.args] };
}

const isGroup = (command: Command): boolean => command.commands.length > 0;

interface Found {
  readonly command: Command;
  readonly path: readonly string[];
  /** The words without those that name the command. */
  readonly rest: readonly string[];
}

/** Follows the words that are no flags down the tree, as deep as it goes. */
function findCommand(words: readonly string[], program: Command): Found {
  let found: Found = { command: program, path: [], rest: words };
  while (isGroup(found.command)) {
    const at = firstArgument(found.rest, found.command);
    const word = at === undefined ? undefined : found.rest[at];
    const next = found.command.commands.find((child) => child.name() === word || child.aliases().includes(word ?? ''));
    if (at === undefined || next === undefined) return found;
    found = { command: next, path: [...found.path, next.name()], rest: found.rest.toSpliced(at, 1) };
  }
  return found;
}

/** Position of the first word that is neither a flag nor the value of one. */
function firstArgument(words: readonly string[], command: Command): number | undefined {
  for (let at = 0; at < words.length; at++) {
    const word = words[at] ?? '';
    if (word === '--') return undefined;
    if (!word.startsWith('-') || word === '-') return at;
    const isWhole = word.includes('=') || (!word.startsWith('--') && word.length > 2);
    if (!isWhole && takesValue(word, command)) at++;
  }
  return undefined;
}

/** A flag that only a deeper command knows tells here by the values of all of them. */
function takesValue(word: string, command: Command): boolean {
  const known = [command, ...command.commands].flatMap(({ options }) => options);
  return known.some(({ long, short, required }) => required && (long === word || short === word));
}

/** `Did you mean` as cobra asks it. */
export function unknownCommand(word: string, program: Command): string {
  const close = program.commands
    .map((command) => command.name())
    .filter((name) => distance(word.toLowerCase(), name.toLowerCase()) <= 2 || name.startsWith(word.toLowerCase()));
  const hint = close.length === 0 ? '' : `\n\nDid you mean this?\n${close.map((name) => `\t${name}\n`).join('')}`;
  return `unknown command "${word}" for "${program.name()}"${hint}`;
}

/** How many letters have to change (Levenshtein). */
function distance(a: string, b: string): number {
  let row = Array.from({ length: b.length + 1 }, (_, index) => index);
  for (const [i, letter] of a.split('').entries()) {
    const next = [i + 1];
    for (const [j, other] of b.split('').entries())
      next.push(Math.min((next[j] ?? 0) + 1, (row[j + 1] ?? 0) + 1, (row[j] ?? 0) + (letter === other ? 0 : 1)));
    row = next;
  }
  return row.at(-1) ?? 0;
}

/** Full name of a command, `virtctl create vm`. */
export function pathOf(command: Command): string {
  return command.parent === null ? command.name() : `${pathOf(command.parent)} ${command.name()}`;
}

function checkCount(command: Command, args: readonly string[]): void {
  const declared = command.registeredArguments;
  const least = declared.filter(({ required }) => required).length;
  const most = declared.some(({ variadic }) => variadic) ? Number.POSITIVE_INFINITY : declared.length;
  if (args.length >= least && args.length <= most) return;
  const got = args.length;
  if (most === 0) throw new CommandFailure(`unknown command "${args[0]}" for "${pathOf(command)}"`);
  if (least === most) throw new CommandFailure(`accepts ${least} arg(s), received ${got}`);
  if (most === Number.POSITIVE_INFINITY) throw new CommandFailure(`requires at least ${least} arg(s), only received ${got}`);
  if (least === 0) throw new CommandFailure(`accepts at most ${most} arg(s), received ${got}`);
  throw new CommandFailure(`accepts between ${least} and ${most} arg(s), received ${got}`);
}

function checkRequired(command: Command, { given }: Tokens): void {
  const missing = command.options.filter(({ mandatory, long }) => mandatory && !given.has(long ?? ''));
  if (missing.length === 0) return;
  const names = missing.map(({ long }) => `"${long?.slice(2)}"`).toSorted();
  throw new CommandFailure(`required flag(s) ${names.join(', ')} not set`);
}
