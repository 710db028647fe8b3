import { join } from 'node:path';
import type { Command } from 'commander';
import { type ActionContext, addCommand, type CommandHost } from './context.ts';
import type { ConnectionFlags } from './connection.ts';
import { CommandFailure, type VirtctlIo } from './io.ts';
import { collect } from './pflag.ts';
import { parseTarget, type Target } from './target.ts';

interface SshFlags extends ConnectionFlags {
  readonly username?: string;
  readonly identityFile?: string;
  readonly knownHosts?: string;
  readonly port: string;
  readonly command?: string;
  readonly localSshOpts?: readonly string[];
  readonly recursive?: boolean;
  readonly preserve?: boolean;
}

const sshOptions = (command: Command): Command =>
  command
    .option('-l, --username <string>', 'user to log in as')
    .option('-i, --identity-file <string>', 'private key')
    .option('--known-hosts <string>', 'known hosts file')
    .option('-p, --port <int>', 'port of the SSH server in the guest', '22')
    .option('-t, --local-ssh-opts <stringArray>', 'further option for the ssh program (repeatable)', collect)
    .option('--local-ssh', 'accepted for compatibility: the local ssh program is always used');

/** ssh and scp: the local programs, with this program as their way into the cluster. */
export function addSshCommands(host: CommandHost): void {
  addCommand<SshFlags>(host, {
    usage: 'ssh <target>',
    description: 'Open an SSH session: [user@]type/name[/namespace].',
    options: (command) => sshOptions(command).option('-c, --command <string>', 'command to run instead of a shell'),
    run: async (context, [text = ''], flags) => {
      const { user, target } = parseLogin(text, context, flags);
      const argv = [...sshArguments('ssh', context, target, flags), `${user}@${hostOf(target)}`];
      await runOrFail(context.io, ['ssh', ...argv, ...(flags.command === undefined ? [] : [flags.command])]);
    },
  });
  addCommand<SshFlags>(host, {
    usage: 'scp <source> <destination>',
    description: 'Copy files: one side is [user@]type/name[/namespace]:path.',
    options: (command) =>
      sshOptions(command).option('-r, --recursive', 'copy directories').option('--preserve', 'keep times and modes'),
    run: async (context, [source = '', destination = ''], flags) => {
      const sides = [source, destination].map(splitRemote);
      const remotes = sides.filter((side) => side.login !== undefined);
      const [remote] = remotes;
      if (remote?.login === undefined || remotes.length !== 1)
        throw new CommandFailure('exactly one of source and destination must be remote, as [user@]type/name[/namespace]:path');
      const { user, target } = parseLogin(remote.login, context, flags);
      const paths = sides.map(({ login, path }) => (login === undefined ? path : `${user}@${hostOf(target)}:${path}`));
      const modes = [...(flags.recursive === true ? ['-r'] : []), ...(flags.preserve === true ? ['-p'] : [])];
      await runOrFail(context.io, ['scp', ...sshArguments('scp', context, target, flags), ...modes, ...paths]);
    },
  });
}

/** `login:path`, or a local path. A slash before the first colon of a bare path keeps it local only if it starts so. */
function splitRemote(text: string): { readonly login: string | undefined; readonly path: string } {
  const colon = text.indexOf(':');
  if (colon < 1 || /^[./]/.test(text)) return { login: undefined, path: text };
  return { login: text.slice(0, colon), path: text.slice(colon + 1) };
}

interface Login {
  readonly user: string;
  readonly target: Required<Target>;
}

function parseLogin(text: string, { io, namespace }: ActionContext, flags: SshFlags): Login {
  const at = text.lastIndexOf('@');
  const named = at > 0 ? text.slice(0, at) : (flags.username ?? io.env['USER'] ?? io.env['USERNAME']);
  if (named === undefined || named === '')
    throw new CommandFailure('no user name given: use user@ before the target or --username');
  const target = parseTarget(text.slice(at + 1));
  return { user: named, target: { ...target, namespace: target.namespace ?? namespace } };
}

const hostOf = ({ kind, name, namespace }: Required<Target>): string => `${kind}.${name}.${namespace}`;

function sshArguments(program: 'ssh' | 'scp', { io }: ActionContext, target: Required<Target>, flags: SshFlags): string[] {
  const forward = [
    'port-forward',
    '--stdio=true',
    ...connectionArguments(flags),
    `${target.kind}/${target.name}/${target.namespace}`,
    flags.port,
  ];
  const knownHosts = flags.knownHosts ?? join(io.home, '.ssh', 'kubevirt_known_hosts');
  return [
    '-o',
    `ProxyCommand=${[...io.self, ...forward].map(quote).join(' ')}`,
    '-o',
    `UserKnownHostsFile=${knownHosts}`,
    ...(flags.identityFile === undefined ? [] : ['-i', flags.identityFile]),
    ...(flags.localSshOpts ?? []),
    program === 'ssh' ? '-p' : '-P',
    flags.port,
  ];
}

/** The inner call must reach the same cluster as the same user. A token is left out: command lines are readable by all. */
function connectionArguments(flags: SshFlags): string[] {
  const given: readonly (readonly [string, string | undefined])[] = [
    ['--kubeconfig', flags.kubeconfig],
    ['--context', flags.context],
    ['--cluster', flags.cluster],
    ['--user', flags.user],
    ['--server', flags.server],
    ['--as', flags.as],
  ];
  return given.flatMap(([name, value]) => (value === undefined ? [] : [`${name}=${value}`]));
}

/** For the shell that ssh gives ProxyCommand to; `%` is ssh's own escape. */
function quote(text: string): string {
  const escaped = text.replaceAll('%', '%%');
  return /^[\w@%+=:,./-]+$/.test(escaped) ? escaped : `'${escaped.replaceAll("'", `'\\''`)}'`;
}

async function runOrFail(io: VirtctlIo, argv: readonly [string, ...string[]]): Promise<void> {
  const status = await io.runProgram(argv);
  if (status !== 0) throw new CommandFailure(`exit status ${status}`);
}
