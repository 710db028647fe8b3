import type { Command, Option } from 'commander';
import { pathOf } from './command-line.ts';
import { isConnectionFlag } from './connection.ts';
import { isNegation, typeOf } from './pflag.ts';

/** The help of one command, in the shape that KubeVirt's has. */
export function helpText(command: Command): string {
  const program = rootOf(command).name();
  const isRoot = command.parent === null;
  const sections = isRoot
    ? [command.description(), available(command), footer(program)]
    : [
        command.description(),
        `Usage:\n${usageLines(command)}`,
        ...(command.aliases().length > 0 ? [`Aliases:\n  ${[command.name(), ...command.aliases()].join(', ')}`] : []),
        ...(examplesOf(command) === '' ? [] : [`Examples:\n${examplesOf(command)}`]),
        ...(command.commands.length > 0 ? [available(command)] : []),
        `Flags:\n${flagLines(command.options.filter(isOwn), command.name())}`,
        `Use "${program} options" for a list of global command-line options (applies to all commands).`,
      ];
  return `${sections.join('\n\n')}\n`;
}

/** `options`: the flags that every command takes. */
export function globalOptionsText(command: Command): string {
  return `The following options can be passed to any command:\n\n${flagLines(command.options.filter((option) => !isOwn(option)))}\n`;
}

const rootOf = (command: Command): Command => (command.parent === null ? command : rootOf(command.parent));
const isOwn = (option: Option): boolean => !isConnectionFlag(option);

/** Examples are kept as commander's summary, which nothing else uses; `PROGRAM` stands for the program's name. */
function examplesOf(command: Command): string {
  return command.summary().replaceAll('PROGRAM', rootOf(command).name());
}

function usageLines(command: Command): string {
  const path = pathOf(command);
  if (command.commands.length > 0) return `  ${path} [command]`;
  // commander's own default begins with [options]
  const words = command.usage().replace(/^\[options\] ?/, '');
  return `  ${[path, words, '[flags]'].filter(Boolean).join(' ')}`;
}

function available(command: Command): string {
  const shown = command.commands
    .filter((child) => !isHidden(child))
    .toSorted((a, b) => (a.name() < b.name() ? -1 : 1))
    .map((child) => ({ name: child.name(), text: firstLine(child.description()) }));
  const width = Math.max(11, ...shown.map(({ name }) => name.length));
  return `Available Commands:\n${shown.map(({ name, text }) => `  ${name.padEnd(width)} ${text}`).join('\n')}`;
}

const firstLine = (text: string): string => text.split('\n', 1)[0] ?? '';

/** Commands for machines and those that only show the global flags. */
const isHidden = (command: Command): boolean => ['options', '__complete'].includes(command.name());

const footer = (program: string): string =>
  `Use "${program} <command> --help" for more information about a given command.\nUse "${program} options" for a list of global command-line options (applies to all commands).`;

interface FlagLine {
  readonly left: string;
  readonly text: string;
}

/** Flags in alphabetical order with their types and defaults, as pflag prints them. */
function flagLines(options: readonly Option[], helpFor?: string): string {
  const lines = options
    .filter((option) => !option.hidden && !isNegation(option))
    .map((option) => ({ key: option.long ?? '', ...flagLine(option) }));
  if (helpFor !== undefined) lines.push({ key: '--help', left: '  -h, --help', text: `help for ${helpFor}` });
  const width = Math.max(...lines.map(({ left }) => left.length));
  return lines
    .toSorted((a, b) => (a.key < b.key ? -1 : 1))
    .map(({ left, text }) => `${left.padEnd(width)}   ${text}`)
    .join('\n');
}

function flagLine(option: Option): FlagLine {
  const type = typeOf(option);
  const name = option.short ? `  ${option.short}, ${option.long}` : `      ${option.long}`;
  const value = type === 'bool' ? '' : option.optional ? `[=${type}]` : ` ${type}`;
  return { left: `${name}${value}`, text: `${option.description}${defaultOf(option, type)}` };
}

/** A default that only holds when nothing else is said is described, not set. */
function defaultOf({ defaultValue, defaultValueDescription }: Option, type: string): string {
  if (defaultValueDescription !== undefined) return ` (default ${defaultValueDescription})`;
  const value: unknown = defaultValue;
  if (typeof value === 'boolean') return value ? ' (default true)' : '';
  if (typeof value !== 'string' || value === '' || value === '0') return '';
  return ` (default ${/^u?int/.test(type) ? value : `"${value}"`})`;
}
