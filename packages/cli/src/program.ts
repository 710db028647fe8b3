import { Command, CommanderError, InvalidArgumentError, Option } from 'commander';

export { Command, CommanderError, InvalidArgumentError, Option };

/** A command tree whose usage errors name the remedy and exit with status 2. */
export function createProgram(name: string, description: string): Command {
  return new Command(name)
    .description(description)
    .showHelpAfterError(`(run \`${name} --help\` for the usage)`)
    .configureHelp({ sortSubcommands: false })
    .enablePositionalOptions();
}

/** Parses `host:port` or `:port` or `[v6]:port` of `--listen`. */
export function parseListen(text: string): { host: string; port: number } {
  const match = text.match(/^(?:\[([0-9a-fA-F:]+)\]|([^:]*)):(\d{1,5})$/);
  const port = Number(match?.[3]);
  if (match === null || port < 1 || port > 65535)
    throw new InvalidArgumentError('Give an address and a port, for example 127.0.0.1:6443.');
  return { host: match[1] ?? (match[2] === '' ? '0.0.0.0' : (match[2] ?? '127.0.0.1')), port };
}

/** Parses a whole number of at least one. */
export function parseCount(text: string): number {
  const count = Number(text);
  if (!Number.isInteger(count) || count < 1) throw new InvalidArgumentError('Give a whole number of at least 1.');
  return count;
}
export { type Document as YamlDocument, isNode, LineCounter, parse as parseYaml, parseAllDocuments } from 'yaml';
