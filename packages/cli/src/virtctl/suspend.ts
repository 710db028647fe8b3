import { SUSPEND, VirtualMachineKind } from '@slipway/api';
import { type ActionContext, addCommand, type CommandHost } from './context.ts';
import { print } from './io.ts';

interface Verb {
  readonly name: string;
  readonly description: string;
  /** Of the VM's annotation; null takes it away. */
  readonly wish: string | null;
  readonly answer: string;
}

const VERBS: readonly Verb[] = [
  {
    name: 'suspend',
    description: 'Save the memory of a virtual machine to a claim and switch it off.',
    wish: 'true',
    answer: 'was asked to suspend',
  },
  {
    name: 'resume',
    description: 'Let a suspended virtual machine go on where it was.',
    wish: null,
    answer: 'was asked to resume',
  },
  {
    name: 'discard-memory',
    description: 'Throw the memory of a suspended virtual machine away: it boots at its next start.',
    wish: 'discard',
    answer: 'was asked to discard its memory',
  },
];

/** suspend, resume and discard-memory: additions of ours. */
export function addSuspendCommands(host: CommandHost): void {
  for (const verb of VERBS)
    addCommand(host, {
      usage: `${verb.name} <vm>`,
      description: verb.description,
      run: (context, [name = '']) => wish(context, name, verb),
    });
}

async function wish({ io, client, namespace }: ActionContext, name: string, verb: Verb): Promise<void> {
  const patch = { metadata: { annotations: { [SUSPEND]: verb.wish } } };
  await client.patch(VirtualMachineKind, { namespace, name }, patch, { type: 'merge' });
  print(io, `VM ${name} ${verb.answer}`);
}
