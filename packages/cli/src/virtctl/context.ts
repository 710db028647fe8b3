import type { Client } from '@slipway/client';
import type { Command } from 'commander';
import {
  type Connection,
  connect,
  addConnectionFlags,
  type ConnectionFlags,
  gitVersionOf,
  groupPath,
  versionPath,
} from './connection.ts';
import { CommandFailure, type VirtctlIo, warn } from './io.ts';

/** What an action gets: the cluster, the namespace, and the command's own flags. */
export interface ActionContext {
  readonly client: Client;
  readonly namespace: string;
  readonly io: VirtctlIo;
}

export type Connect = (io: VirtctlIo, flags: ConnectionFlags) => Promise<Connection>;

/** Where commands are added, and with what they run. */
export interface CommandHost {
  readonly program: Command;
  readonly io: VirtctlIo;
  readonly connect: Connect;
}

export const connectToCluster: Connect = connect;

export interface CommandSpec<F> {
  /** Name and arguments as commander wants them, for example `start <vm>`. */
  readonly usage: string;
  /** The arguments as the help shows them; without it: as commander does. */
  readonly shown?: string;
  /** Its first line stands in the list of commands. */
  readonly description: string;
  /** Lines of a shell with comments; `PROGRAM` is the program's name. */
  readonly examples?: string;
  readonly aliases?: readonly string[];
  readonly options?: (command: Command) => Command;
  /** Groups of flags (long names) of which at most one may be given. */
  readonly exclusive?: readonly (readonly string[])[];
  /** Positional arguments, then the flags. */
  readonly run: (context: ActionContext, args: readonly string[], flags: F) => Promise<void>;
}

/** Adds a command that talks to the cluster. */
export function addCommand<F extends object>(host: CommandHost, spec: CommandSpec<F>): void {
  const command = declare(host.program, spec);
  const own = command.options.map((option) => option.attributeName());
  addConnectionFlags(command);
  command.action(async (...given: unknown[]) => {
    checkExclusive(command, spec.exclusive);
    const args = positional(given);
    const flags: F & ConnectionFlags = command.optsWithGlobals();
    const connectionFlags = Object.fromEntries(Object.entries(flags).filter(([name]) => !own.includes(name)));
    const connection = await host.connect(host.io, connectionFlags);
    try {
      await spec.run({ ...connection, io: host.io }, args, flags);
    } catch (error) {
      await compareVersions(connection, host.io);
      throw error;
    } finally {
      await connection.close();
    }
  });
}

export interface LocalCommandSpec<F> extends Omit<CommandSpec<F>, 'run'> {
  readonly run: (io: VirtctlIo, args: readonly string[], flags: F) => Promise<void>;
}

/** Adds a command that needs no cluster; it still takes the connection flags, of which `--namespace` has a meaning. */
export function addLocalCommand<F extends object>({ program, io }: CommandHost, spec: LocalCommandSpec<F>): void {
  const command = addConnectionFlags(declare(program, spec));
  command.action(async (...given: unknown[]) => {
    checkExclusive(command, spec.exclusive);
    await spec.run(io, positional(given), command.optsWithGlobals());
  });
}

function declare<F>(
  program: Command,
  { usage, shown, description, examples, aliases = [], options }: Omit<CommandSpec<F>, 'run'>,
): Command {
  const command = program
    .command(usage)
    .description(description)
    .aliases([...aliases]);
  if (shown !== undefined) command.usage(shown);
  if (examples !== undefined) command.summary(examples);
  options?.(command);
  return command;
}

/** In the words of cobra. */
function checkExclusive(command: Command, groups: readonly (readonly string[])[] = []): void {
  const isGiven = (name: string): boolean => {
    const option = command.options.find(({ long, hidden, negate }) => long === `--${name}` && !(negate && hidden));
    return option !== undefined && command.getOptionValueSource(option.attributeName()) === 'cli';
  };
  for (const group of groups) {
    const set = group.filter(isGiven).toSorted();
    if (set.length > 1)
      throw new CommandFailure(
        `if any flags in the group [${group.join(' ')}] are set none of the others can be; [${set.join(' ')}] were all set`,
      );
  }
}

/** What commander hands to an action, without the flags and the command itself. */
const positional = (given: readonly unknown[]): string[] =>
  given
    .slice(0, -2)
    .flatMap((argument) => argument)
    .filter((argument) => typeof argument === 'string');

/** After a failure: says when client and server are of different versions, which may be the reason. */
async function compareVersions({ client }: Connection, io: VirtctlIo): Promise<void> {
  try {
    await client.raw({ method: 'GET', path: groupPath });
    const { body } = await client.raw({ method: 'GET', path: versionPath });
    const server = gitVersionOf(body);
    if (server !== undefined && minor(server) !== minor(io.version.gitVersion))
      warn(
        io,
        `You are using a client virtctl version that is different from the KubeVirt version running in the cluster\nClient Version: ${io.version.gitVersion}\nServer Version: ${server}`,
      );
  } catch {
    // the failure itself is reported; a server that does not even tell its version adds nothing to it
  }
}

const minor = (version: string): string => version.split('.').slice(0, 2).join('.');
