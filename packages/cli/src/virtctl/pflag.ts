import type { Command } from 'commander';

/** Boolean flags of a command tree and short names that take a value, as commander declared them. */
interface FlagNames {
  readonly booleans: ReadonlySet<string>;
  readonly shortValues: ReadonlySet<string>;
}

/**
 * Rewrites an argument list from pflag's grammar to commander's: `--flag=true|false` of boolean flags and `-n=value`.
 * Everything after `--` stays as it is. Throws for a boolean flag with another value.
 */
export function fromPflag(argv: readonly string[], program: Command): string[] {
  const names = flagNames(program);
  const rewritten: string[] = [];
  for (const [index, argument] of argv.entries()) {
    if (argument === '--') return [...rewritten, ...argv.slice(index)];
    rewritten.push(...rewrite(argument, names));
  }
  return rewritten;
}

const TRUE: readonly string[] = ['1', 't', 'T', 'true', 'TRUE', 'True'];
const FALSE: readonly string[] = ['0', 'f', 'F', 'false', 'FALSE', 'False'];

function rewrite(argument: string, { booleans, shortValues }: FlagNames): string[] {
  const [, name = '', value = ''] = /^(--?[^=]+)=(.*)$/s.exec(argument) ?? [];
  if (name === '') return [argument];
  if (shortValues.has(name)) return [name, value];
  if (!booleans.has(name)) return [argument];
  if (TRUE.includes(value)) return [name];
  // a flag that is not simply off by default says so by a negation of its own
  if (FALSE.includes(value)) return booleans.has(name.replace(/^--/, '--no-')) ? [name.replace(/^--/, '--no-')] : [];
  throw new Error(`invalid argument "${value}" for "${name}" flag: strconv.ParseBool: parsing "${value}": invalid syntax`);
}

function flagNames(program: Command): FlagNames {
  const booleans = new Set<string>();
  const shortValues = new Set<string>();
  const visit = (command: Command): void => {
    for (const option of command.options) {
      const takesValue = option.required || option.optional;
      for (const name of [option.long, option.short]) {
        if (!name) continue;
        if (!takesValue) booleans.add(name);
        else if (!name.startsWith('--')) shortValues.add(name);
      }
    }
    for (const child of command.commands) visit(child);
  };
  visit(program);
  return { booleans, shortValues };
}

/** Gathers a flag that may be given more than once. */
export const collect = (value: string, previous: readonly string[] = []): readonly string[] => [...previous, value];
