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
import { type VirtctlIo, warn } from './io.ts';

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
  readonly description: string;
  readonly aliases?: readonly string[];
  readonly options?: (command: Command) => Command;
  /** Positional arguments, then the flags. */
  readonly run: (context: ActionContext, args: readonly string[], flags: F) => Promise<void>;
}

/** Adds a command that talks to the cluster. */
export function addCommand<F extends object>(
  host: CommandHost,
  { usage, description, aliases = [], options, run }: CommandSpec<F>,
): void {
  const command = host.program
    .command(usage)
    .description(description)
    .aliases([...aliases]);
  options?.(command);
  const own = command.options.map((option) => option.attributeName());
  addConnectionFlags(command);
  command.action(async (...given: unknown[]) => {
    const args = positional(given);
    const flags: F & ConnectionFlags = command.optsWithGlobals();
    const connectionFlags = Object.fromEntries(Object.entries(flags).filter(([name]) => !own.includes(name)));
    const connection = await host.connect(host.io, connectionFlags);
    try {
      await run({ ...connection, io: host.io }, args, flags);
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
  const command = program.command(spec.usage).description(spec.description);
  spec.options?.(command);
  addConnectionFlags(command);
  command.action(async (...given: unknown[]) => {
    await spec.run(io, positional(given), command.optsWithGlobals());
  });
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
