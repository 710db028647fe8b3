import { isIP } from 'node:net';
import { Command, CommanderError, InvalidArgumentError, Option } from 'commander';

export { Command, CommanderError, InvalidArgumentError, Option };

/** A command tree whose usage errors name the remedy and exit with status 2. */
export function createProgram(name: string, description: string): Command {
  return (
    new Command(name)
      .description(description)
      .showHelpAfterError(`(run \`${name} --help\` for the usage)`)
      .configureHelp({ sortSubcommands: false })
      .enablePositionalOptions()
      // 1 is the answer of some commands: something differs, or fires
      .exitOverride(({ exitCode }) => process.exit(exitCode === 0 ? 0 : 2))
  );
}

/** Parses `address:port` or `:port` or `[v6]:port` of `--listen`. */
export function parseListen(text: string): { host: string; port: number } {
  const match = text.match(/^(?:\[([^\]]+)\]|([^:]*)):(\d{1,5})$/);
  const host = match?.[1] ?? (match?.[2] || '0.0.0.0');
  const port = Number(match?.[3]);
  const isAddress = isIP(host) === (match?.[1] === undefined ? 4 : 6);
  if (match === null || !isAddress || port < 1 || port > 65535)
    throw new InvalidArgumentError('Give an address and a port, for example 127.0.0.1:6443.');
  return { host, port };
}

/** Adds `--output`, for people and for programs. */
export const withTextOrJson = (command: Command): Command => withOutput(command, ['text', 'json']);

/** Adds `--output` with these choices, of which the first is the default. */
export const withOutput = (command: Command, choices: readonly [string, ...string[]]): Command =>
  command.addOption(new Option('-o, --output <format>', choices.join(', ')).choices(choices).default(choices[0]));

/** Parses a whole number of at least one. */
export function parseCount(text: string): number {
  const count = Number(text);
  if (!Number.isInteger(count) || count < 1) throw new InvalidArgumentError('Give a whole number of at least 1.');
  return count;
}
export { type Document as YamlDocument, isNode, LineCounter, parse as parseYaml, parseAllDocuments } from 'yaml';
