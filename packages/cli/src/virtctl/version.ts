import { isObject } from '@slipway/apimachinery';
import { addConnectionFlags, type ConnectionFlags, versionPath } from './connection.ts';
import type { CommandHost } from './context.ts';
import { print } from './io.ts';

/** version: the client's, and unless told otherwise the server's. */
export function addVersionCommand({ program, io, connect }: CommandHost): void {
  const command = addConnectionFlags(program.command('version').description('Print the client and server versions.')).option(
    '-c, --client',
    'client version only, without asking a server',
  );
  command.action(async () => {
    const flags: ConnectionFlags & { client?: boolean } = command.optsWithGlobals();
    print(io, `Client Version: ${versionText(io.version)}`);
    if (flags.client === true) return;
    const connection = await connect(io, flags);
    try {
      const { body } = await connection.client.raw({ method: 'GET', path: versionPath });
      print(io, `Server Version: ${versionText(body)}`);
    } finally {
      await connection.close();
    }
  });
}

const FIELDS = ['gitVersion', 'gitCommit', 'gitTreeState', 'buildDate', 'goVersion', 'compiler', 'platform'] as const;

/** The form in which scripts have learnt to read it. */
function versionText(info: unknown): string {
  const values: Record<string, unknown> = isObject(info) ? info : {};
  const fields = FIELDS.map((field) => {
    const value = values[field];
    return `${field.charAt(0).toUpperCase()}${field.slice(1)}:"${typeof value === 'string' ? value : ''}"`;
  });
  return `version.Info{${fields.join(', ')}}`;
}
