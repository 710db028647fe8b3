import { StatusError } from '@slipway/apimachinery';
import { Command, CommanderError } from 'commander';
import { addAdministrationCommands } from './administration.ts';
import { addCompletionCommand } from './completion.ts';
import { readLine } from './command-line.ts';
import { addConsoleCommand } from './console.ts';
import { addConnectionFlags } from './connection.ts';
import { connectToCluster, type Connect } from './context.ts';
import { addCreateCommands } from './create/index.ts';
import { addCredentialCommands } from './credentials.ts';
import { addExpandCommand } from './expand.ts';
import { addExposeCommand } from './expose.ts';
import { addGuestfsCommand } from './guestfs.ts';
import { addGuestInfoCommands } from './guest-info.ts';
import { helpText } from './help.ts';
import { addHelpCommands } from './help-commands.ts';
import { CommandFailure, type VirtctlIo, warn } from './io.ts';
import { addImageUploadCommand } from './image-upload/index.ts';
import { addLifecycleCommands } from './lifecycle.ts';
import { addMemoryDumpCommands } from './memory-dump.ts';
import { addPortForwardCommand } from './port-forward.ts';
import { addSshCommands } from './ssh.ts';
import { addSuspendCommands } from './suspend.ts';
import { addTemplateCommands } from './template/index.ts';
import { addUsbredirCommand } from './usbredir.ts';
import { addVersionCommand } from './version.ts';
import { addVmExportCommands } from './vmexport/index.ts';
import { addVncCommand } from './vnc.ts';
import { addVolumeCommands } from './volumes.ts';

export type { Connect } from './context.ts';
export type { ClientVersion, VirtctlIo } from './io.ts';

/** The virtctl command tree under the given name (`virtctl` or `slipway virt`). */
export function virtctlProgram(name: string, io: VirtctlIo, connect: Connect = connectToCluster): Command {
  const program = new Command(name)
    .description(`${name} controls virtual machines of a Kubernetes cluster.`)
    .enablePositionalOptions()
    .helpCommand(false)
    .exitOverride()
    .configureOutput({ writeOut: (text) => io.stdout.write(text), writeErr: (text) => io.stderr.write(text) });
  const host = { program, io, connect };
  addLifecycleCommands(host);
  addConsoleCommand(host);
  addVncCommand(host);
  addPortForwardCommand(host);
  addSshCommands(host);
  addGuestInfoCommands(host);
  addExpandCommand(host);
  addExposeCommand(host);
  addCreateCommands(host);
  addCredentialCommands(host);
  addAdministrationCommands(host);
  addVmExportCommands(host);
  addMemoryDumpCommands(host);
  addVolumeCommands(host);
  addSuspendCommands(host);
  addUsbredirCommand(host);
  addImageUploadCommand(host);
  addGuestfsCommand(host);
  addTemplateCommands(host);
  addVersionCommand(host);
  addCompletionCommand(host);
  addHelpCommands(host);
  addConnectionFlags(program);
  inheritOutput(program);
  return program;
}

/** commander ends the process and writes to its terminal unless every command is told otherwise. */
function inheritOutput(parent: Command): void {
  for (const command of parent.commands) {
    // flags may also stand before the name of a command below this one
    if (command.commands.length > 0) addConnectionFlags(command);
    command.exitOverride().configureOutput(parent.configureOutput());
    inheritOutput(command);
  }
}

/** Runs one virtctl command line (without the program's name) and returns its exit status; never rejects. */
export async function runVirtctl(
  argv: readonly string[],
  io: VirtctlIo,
  options: { readonly name?: string; readonly connect?: Connect } = {},
): Promise<number> {
  const program = virtctlProgram(options.name ?? 'virtctl', io, options.connect);
  try {
    const line = readLine(argv, program);
    if (line.kind === 'help') io.stdout.write(helpText(line.command));
    else await program.parseAsync([...line.argv], { from: 'user' });
    return 0;
  } catch (error) {
    if (error instanceof CommanderError) return error.exitCode === 0 ? 0 : 1; // commander has told the user already
    warn(io, error instanceof StatusError || error instanceof CommandFailure ? error.message : describe(error));
    return 1;
  }
}

function describe(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  return error.cause instanceof Error ? `${error.message}: ${describe(error.cause)}` : error.message;
}
