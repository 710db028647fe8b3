import { badRequest } from '@slipway/apimachinery';

/** What a client wants of exec or attach. */
export interface ExecOptions {
  readonly command: readonly string[];
  readonly stdin: boolean;
  readonly stdout: boolean;
  readonly stderr: boolean;
  readonly tty: boolean;
}

const MAX_COMMAND_BYTES = 128 * 1024;

const isTrue = (value: string | null): boolean => value === 'true' || value === '1';

/** Reads and checks the query of exec and attach. Throws StatusError 400. */
export function execOptions(query: URLSearchParams, subresource: 'exec' | 'attach'): ExecOptions {
  const tty = isTrue(query.get('tty'));
  const options = {
    command: subresource === 'exec' ? query.getAll('command') : [],
    stdin: isTrue(query.get('stdin')),
    stdout: isTrue(query.get('stdout')),
    // a terminal has one output; clients that ask for both get that, as from a kubelet
    stderr: isTrue(query.get('stderr')) && !tty,
    tty,
  };
  const { command, stdin, stdout, stderr } = options;
  if (!stdin && !stdout && !stderr) throw badRequest('you must specify at least 1 of stdin, stdout, stderr');
  if (subresource === 'exec' && (command[0] ?? '') === '')
    throw badRequest('you must specify at least 1 command for the container');
  if (command.join('').length > MAX_COMMAND_BYTES) throw badRequest('the command is too long');
  if (command.some((text) => text.includes('\0'))) throw badRequest('the command holds a null character');
  return options;
}
