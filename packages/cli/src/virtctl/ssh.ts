import { join } from 'node:path';
import type { Command } from 'commander';
import { type ActionContext, addCommand, type CommandHost } from './context.ts';
import { type ConnectionFlags, TOKEN_VARIABLE } from './connection.ts';
import { CommandFailure, type VirtctlIo } from './io.ts';
import { collect, switchFlag } from './pflag.ts';
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
  switchFlag(
    command
      .option('-l, --username <string>', 'user to log in as; without it $USER')
      .option('-i, --identity-file <string>', 'private key; without it the ssh program chooses')
      .option('--known-hosts <string>', 'known hosts file; without it ~/.ssh/kubevirt_known_hosts')
      .option('-p, --port <int>', 'port of the SSH server in the guest', '22')
      .option('-t, --local-ssh-opts <stringArray>', 'further option for the ssh program (repeatable)', collect),
    'local-ssh',
    'older form: the ssh program of this machine is always used',
    true,
  );

const SSH_EXAMPLES = `  # Log in to the guest of 'web' as jane:
  PROGRAM ssh jane@vm/web

  # With a key of its own, in another namespace:
  PROGRAM ssh --identity-file=~/.ssh/id_ed25519 jane@vm/web/shop

  # Run one command:
  PROGRAM ssh -n shop --username=jane vmi/web --command='uname -a'`;

const SCP_EXAMPLES = `  # Copy a file into the home directory of jane:
  PROGRAM scp notes.txt jane@vm/web:notes.txt

  # Copy a directory:
  PROGRAM scp --recursive site/ jane@vm/web:./site

  # Copy a file from a guest in another namespace:
  PROGRAM scp jane@vm/web/shop:notes.txt .`;

/** ssh and scp: the local programs, with this program as their way into the cluster. */
export function addSshCommands(host: CommandHost): void {
  addCommand<SshFlags>(host, {
    usage: 'ssh <target>',
    shown: '(VM|VMI)',
    description: 'Open an SSH connection to a guest.',
    examples: SSH_EXAMPLES,
    options: (command) => sshOptions(command).option('-c, --command <string>', 'command to run instead of a shell'),
    run: async (context, [text = ''], flags) => {
      const login = parseLogin(text, context, flags);
      const argv = [...sshArguments('ssh', context, login.target, flags), hostOf(login)];
      await runOrFail(context.io, flags, ['ssh', ...argv, ...(flags.command === undefined ? [] : [flags.command])]);
    },
  });
  addCommand<SshFlags>(host, {
    usage: 'scp <source> <destination>',
    shown: '(VM|VMI)',
    description: 'Copy files from or to a guest.',
    examples: SCP_EXAMPLES,
    options: (command) =>
      sshOptions(command).option('-r, --recursive', 'copy directories').option('--preserve', 'keep times and modes'),
    run: async (context, [source = '', destination = ''], flags) => {
      const sides = [source, destination].map(splitRemote);
      const remotes = sides.filter((side) => side.login !== undefined);
      const [remote] = remotes;
      if (remotes.length > 1)
        throw new CommandFailure('copying from a remote location to another remote location is not supported');
      if (remote?.login === undefined)
        throw new CommandFailure('none of the two provided locations seems to be a remote location');
      const login = parseLogin(remote.login, context, flags);
      const paths = sides.map((side) => (side.login === undefined ? side.path : `${hostOf(login)}:${side.path}`));
      const modes = [...(flags.recursive === true ? ['-r'] : []), ...(flags.preserve === true ? ['-p'] : [])];
      await runOrFail(context.io, flags, ['scp', ...sshArguments('scp', context, login.target, flags), ...modes, ...paths]);
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

/** KubeVirt-compat: without any user name the ssh program decides. */
function parseLogin(text: string, { io, namespace }: ActionContext, flags: SshFlags): Login {
  const [before, after] = text.includes('@') ? text.split('@', 2) : [undefined, text];
  if (before === '') throw new CommandFailure("expected username before '@'");
  if (after === undefined || after === '') throw new CommandFailure("expected target after '@'");
  const { USER, USERNAME, LOGNAME } = io.env;
  const user = before ?? flags.username ?? (USER || USERNAME || LOGNAME || '');
  const target = parseTarget(after);
  return { user, target: { ...target, namespace: target.namespace ?? namespace } };
}

const hostOf = ({ user, target: { kind, name, namespace } }: Login): string =>
  `${user === '' ? '' : `${user}@`}${kind}.${name}.${namespace}`;

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

/** The inner call must reach the same cluster as the same user. A token goes by the environment: command lines are readable by all. */
function connectionArguments(flags: SshFlags): string[] {
  const given: readonly (readonly [string, string | undefined])[] = [
    ['--kubeconfig', flags.kubeconfig],
    ['--context', flags.context],
    ['--cluster', flags.cluster],
    ['--user', flags.user],
    ['--server', flags.server],
    ['--as', flags.as],
    ...(flags.asGroup ?? []).map((group) => ['--as-group', group] as const),
    ['--certificate-authority', flags.certificateAuthority],
    ['--client-certificate', flags.clientCertificate],
    ['--client-key', flags.clientKey],
    ['--tls-server-name', flags.tlsServerName],
  ];
  const insecure = flags.insecureSkipTlsVerify === true ? ['--insecure-skip-tls-verify=true'] : [];
  return [...given.flatMap(([name, value]) => (value === undefined ? [] : [`${name}=${value}`])), ...insecure];
}

/** For the shell that ssh gives ProxyCommand to; `%` is ssh's own escape. */
function quote(text: string): string {
  const escaped = text.replaceAll('%', '%%');
  return /^[\w@%+=:,./-]+$/.test(escaped) ? escaped : `'${escaped.replaceAll("'", `'\\''`)}'`;
}

async function runOrFail(io: VirtctlIo, { token }: SshFlags, argv: readonly [string, ...string[]]): Promise<void> {
  const status = await io.runProgram(argv, token === undefined ? {} : { [TOKEN_VARIABLE]: token });
  if (status !== 0) throw new CommandFailure(`exit status ${status}`);
}
