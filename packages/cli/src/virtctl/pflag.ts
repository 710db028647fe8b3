import { type Command, Option } from 'commander';
import { CommandFailure } from './io.ts';

/** Gathers a flag that may be given more than once. */
export const collect = (value: string, previous: readonly string[] = []): readonly string[] => [...previous, value];

/** The values of a flag of pflag's type stringToString, which parseFlags has checked. */
export function pairsOf(texts: readonly string[]): Record<string, string> {
  const pairs = texts.flatMap((text) => text.split(',')).filter(Boolean);
  return Object.fromEntries(pairs.map((pair) => [pair.slice(0, pair.indexOf('=')), pair.slice(pair.indexOf('=') + 1)]));
}

/** Declares a boolean flag for which `--flag=false` is something else than leaving it out. */
export const switchFlag = (command: Command, name: string, description: string, isOn?: true): Command =>
  command.addOption(new Option(`--${name}`, description).default(isOn)).addOption(new Option(`--no-${name}`).hideHelp());

/** What a flag takes; the placeholder in its declaration (`--port <int>`) names it as pflag does. */
export function typeOf({ flags, required, optional }: Option): string {
  if (!required && !optional) return 'bool';
  return /[<[](\w+)/.exec(flags)?.[1] ?? 'string';
}

/** The flag as pflag names it in a complaint: `--force`, or `-p, --port`. */
const nameOf = ({ short, long }: Option): string => [short, long].filter(Boolean).join(', ');

/** Flags and arguments of one command line, in pflag's grammar. */
export interface Tokens {
  /** Each as commander reads it: the long name, with `=value` where it takes one. */
  readonly flags: readonly string[];
  readonly args: readonly string[];
  /** Long names that were given. */
  readonly given: ReadonlySet<string>;
  readonly wantsHelp: boolean;
}

interface State {
  readonly flags: string[];
  readonly args: string[];
  readonly given: Set<string>;
  wantsHelp: boolean;
}

/**
 * Splits the words after a command into its flags and its arguments, which may stand in any order. Throws CommandFailure
 * in pflag's words for what the command does not know or cannot read.
 */
export function parseFlags(words: readonly string[], command: Command): Tokens {
  const state: State = { flags: [], args: [], given: new Set(), wantsHelp: false };
  const rest = [...words];
  for (let word = rest.shift(); word !== undefined; word = rest.shift()) {
    if (word === '--') {
      state.args.push(...rest);
      break;
    }
    if (!word.startsWith('-') || word === '-') state.args.push(word);
    else if (word.startsWith('--')) parseLong(word, rest, command, state);
    else parseShort(word, rest, command, state);
  }
  return state;
}

/** The flag of that name; negations (`--no-kvm` of `--kvm`) are commander's own and no flags of the user. */
function find(command: Command, name: string): Option | undefined {
  return command.options.find((option) => !isNegation(option) && (option.long === name || option.short === name));
}

/** Whether the flag is there only to say `false` to commander. */
export const isNegation = (option: Option): boolean => option.negate && option.hidden;

function parseLong(word: string, rest: string[], command: Command, state: State): void {
  const equals = word.indexOf('=');
  const name = equals < 0 ? word : word.slice(0, equals);
  if (name.length < 3) throw new CommandFailure(`bad flag syntax: ${word}`);
  if (name === '--help') {
    state.wantsHelp = true;
    return;
  }
  const option = find(command, name);
  if (option === undefined) throw new CommandFailure(`unknown flag: ${name}`);
  const value = equals < 0 ? (takesNext(option) ? rest.shift() : undefined) : word.slice(equals + 1);
  if (value === undefined && takesNext(option)) throw new CommandFailure(`flag needs an argument: ${name}`);
  add(option, value, state, command);
}

/** `-n shop`, `-n=shop`, `-nshop`, and `-rf` for two boolean flags. */
function parseShort(word: string, rest: string[], command: Command, state: State): void {
  for (let at = 1; at < word.length; at++) {
    const letter = word.charAt(at);
    const option = find(command, `-${letter}`);
    if (option === undefined) {
      if (letter === 'h') {
        state.wantsHelp = true;
        return;
      }
      throw new CommandFailure(`unknown shorthand flag: '${letter}' in ${word}`);
    }
    const after = word.slice(at + 1);
    if (after.startsWith('=')) return add(option, after.slice(1), state, command);
    if (!takesNext(option)) {
      add(option, undefined, state, command);
      continue;
    }
    const value = after === '' ? rest.shift() : after;
    if (value === undefined) throw new CommandFailure(`flag needs an argument: '${letter}' in ${word}`);
    return add(option, value, state, command);
  }
}

/** Boolean flags, and those whose value may be left out, take one after `=` alone. */
const takesNext = ({ required }: Option): boolean => required;

const TRUE: readonly string[] = ['1', 't', 'T', 'true', 'TRUE', 'True'];
const FALSE: readonly string[] = ['0', 'f', 'F', 'false', 'FALSE', 'False'];

function add(option: Option, value: string | undefined, state: State, command: Command): void {
  const long = option.long ?? '';
  state.given.add(long);
  const type = typeOf(option);
  if (type === 'bool') {
    if (value === undefined || TRUE.includes(value)) state.flags.push(long);
    else if (FALSE.includes(value)) unset(option, state, command);
    else refuse(option, value, `strconv.ParseBool: parsing "${value}": invalid syntax`);
    return;
  }
  if (value === undefined) {
    state.flags.push(long);
    return;
  }
  check(option, type, value);
  const values = type === 'strings' ? (value === '' ? [] : value.split(',')) : [value];
  state.flags.push(...values.map((one) => `${long}=${one}`));
}

/** The last word about a flag counts: `--force --force=false` is off, and so is one that is on by default. */
function unset({ long = '' }: Option, state: State, command: Command): void {
  const kept = state.flags.filter((flag) => flag !== long);
  state.flags.splice(0, state.flags.length, ...kept);
  const negation = command.options.find((option) => isNegation(option) && option.long === long.replace(/^--/, '--no-'));
  if (negation?.long !== undefined) state.flags.push(negation.long);
}

function refuse(option: Option, value: string, reason: string): never {
  throw new CommandFailure(`invalid argument "${value}" for "${nameOf(option)}" flag: ${reason}`);
}

const INTEGERS: Readonly<Record<string, { readonly parser: string; readonly min: number; readonly max: number }>> = {
  int: { parser: 'ParseInt', min: Number.MIN_SAFE_INTEGER, max: Number.MAX_SAFE_INTEGER },
  int32: { parser: 'ParseInt', min: -(2 ** 31), max: 2 ** 31 - 1 },
  uint: { parser: 'ParseUint', min: 0, max: Number.MAX_SAFE_INTEGER },
};

function check(option: Option, type: string, value: string): void {
  const integer = INTEGERS[type];
  if (integer !== undefined) {
    const { parser, min, max } = integer;
    const problem = (what: string): never => refuse(option, value, `strconv.${parser}: parsing "${value}": ${what}`);
    if (!/^[+-]?\d+$/.test(value) || (min === 0 && !/^\d+$/.test(value))) problem('invalid syntax');
    if (Number(value) < min || Number(value) > max) problem('value out of range');
  }
  if (type === 'stringToString' && value !== '') {
    const wrong = value.split(',').find((pair) => !pair.includes('='));
    if (wrong !== undefined) refuse(option, value, `${wrong} must be formatted as key=value`);
  }
}
