import { INSIDE, type RunningSandbox } from '../sandbox/index.ts';

export interface CommandRequest {
  readonly command: readonly string[];
  readonly tty: boolean;
  /** Files of the control groups of the sandbox. */
  readonly membershipFiles: readonly string[];
  readonly columns?: number;
  readonly rows?: number;
}

const ENVIRONMENT = ['PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin', `HOME=${INSIDE}`, 'LANG=C.UTF-8'];

/** Joins the control groups that limit the sandbox, then goes on as the command. */
const JOIN = 'count=$1; shift; while [ "$count" -gt 0 ]; do echo 0 > "$1" || :; shift; count=$((count - 1)); done; exec "$@"';

/** Enters every namespace of the sandbox and gives up every privilege before anything of the caller's runs. */
export function enterSandbox(
  { init, uid }: Pick<RunningSandbox, 'init' | 'uid'>,
  argv: readonly string[],
): [string, ...string[]] {
  return [
    'nsenter',
    `--target=${init.pid}`,
    ...['--mount', '--uts', '--ipc', '--net', '--pid', '--'],
    ...['setpriv', `--reuid=${uid}`, `--regid=${uid}`, '--clear-groups', '--no-new-privs'],
    ...['--inh-caps=-all', '--ambient-caps=-all', '--bounding-set=-all', '--'],
    ...argv,
  ];
}

const quoted = (text: string): string => `'${text.replaceAll("'", `'\\''`)}'`;

/** Program and arguments that run a command in a sandbox, with a terminal when asked for. */
export function planCommand(
  sandbox: Pick<RunningSandbox, 'init' | 'uid'>,
  { command, tty, membershipFiles, columns = 80, rows = 24 }: CommandRequest,
): [string, ...string[]] {
  const environment = ['env', '-i', `--chdir=${INSIDE}`, ...ENVIRONMENT, ...(tty ? ['TERM=xterm-256color'] : [])];
  // `script` makes the terminal; its name goes to descriptor 3, so that later changes of size reach it
  const terminal = `tty >&3; exec 3>&-; stty rows ${rows} cols ${columns}; exec ${command.map(quoted).join(' ')}`;
  const program = tty ? ['script', '--quiet', '--return', '--echo', 'always', '--command', terminal, '/dev/null'] : command;
  const inside = enterSandbox(sandbox, [...environment, ...program]);
  return ['sh', '-c', JOIN, 'exec', String(membershipFiles.length), ...membershipFiles, ...inside];
}

/** What a client says about its terminal; undefined when it is none. */
export function parseSize(data: Uint8Array): { readonly columns: number; readonly rows: number } | undefined {
  try {
    const size: unknown = JSON.parse(Buffer.from(data).toString('utf8'));
    if (typeof size !== 'object' || size === null) return undefined;
    const { Width: columns, Height: rows } = size as { Width?: unknown; Height?: unknown }; // checked next
    const isSize = (value: unknown): value is number => Number.isInteger(value) && Number(value) > 0 && Number(value) < 65536;
    return isSize(columns) && isSize(rows) ? { columns, rows } : undefined;
  } catch {
    return undefined;
  }
}

/** The name of a terminal inside a sandbox, when it can be one. */
export function parseTerminal(text: string): string | undefined {
  return /^\/dev\/pts\/[0-9]{1,6}$/.test(text.trim()) ? text.trim() : undefined;
}
