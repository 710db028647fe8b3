import { readFile } from 'node:fs/promises';
import { isObject } from '@slipway/apimachinery';
import { parse, stringify } from 'yaml';
import { subresourcePath } from './connection.ts';
import { type ActionContext, addCommand, type CommandHost } from './context.ts';
import { CommandFailure, print } from './io.ts';

interface ExpandFlags {
  readonly vm?: string;
  readonly file?: string;
  readonly output: string;
}

/** expand: the VM with its instance type and preference written out. */
export function addExpandCommand(host: CommandHost): void {
  addCommand<ExpandFlags>(host, {
    usage: 'expand',
    description: 'Show a virtual machine with its instance type and preference expanded.',
    options: (command) =>
      command
        .option('--vm <string>', 'a virtual machine of the cluster')
        .option('-f, --file <string>', 'a manifest')
        .option('-o, --output <string>', 'yaml or json', 'yaml'),
    run: async (context, _, flags) => {
      if ((flags.vm === undefined) === (flags.file === undefined))
        throw new CommandFailure('error invalid arguments - VirtualMachine name or file must be provided');
      const expanded =
        flags.file === undefined ? await expandStored(context, flags.vm ?? '') : await expandFile(context, flags.file);
      print(context.io, format(expanded, flags.output));
    },
  });
}

async function expandStored({ client, namespace }: ActionContext, name: string): Promise<unknown> {
  const { body } = await client.raw({ method: 'GET', path: subresourcePath(namespace, 'virtualmachines', name, 'expand-spec') });
  return body;
}

async function expandFile({ client, namespace }: ActionContext, file: string): Promise<unknown> {
  const manifest: unknown = parse(await readFile(file, 'utf8'), { version: '1.1' });
  if (!isObject(manifest)) throw new CommandFailure(`${file} holds no object`);
  const path = `/apis/subresources.kubevirt.io/v1/namespaces/${encodeURIComponent(namespace)}/expand-vm-spec`;
  const { body } = await client.raw({ method: 'PUT', path, body: manifest });
  return body;
}

function format(value: unknown, output: string): string {
  if (output === 'json') return JSON.stringify(value, undefined, 2);
  if (output === 'yaml') return stringify(value, { sortMapEntries: true, lineWidth: 0 }).trimEnd();
  throw new CommandFailure('error not supported output format defined: use yaml or json');
}
