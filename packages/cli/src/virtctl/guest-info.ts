import { subresourcePath } from './connection.ts';
import { addCommand, type CommandHost } from './context.ts';
import { print } from './io.ts';

const QUESTIONS = [
  {
    command: 'guestosinfo',
    subresource: 'guestosinfo',
    description: 'Show what the guest agent says about the operating system.',
  },
  { command: 'userlist', subresource: 'userlist', description: 'Show who is logged in, as the guest agent says.' },
  { command: 'fslist', subresource: 'filesystemlist', description: 'Show the mounted file systems, as the guest agent says.' },
] as const;

/** guestosinfo, userlist and fslist: print the agent's answer as JSON. */
export function addGuestInfoCommands(host: CommandHost): void {
  for (const { command, subresource, description } of QUESTIONS)
    addCommand(host, {
      usage: `${command} <vmi>`,
      description,
      run: async ({ client, namespace, io }, [name = '']) => {
        const path = subresourcePath(namespace, 'virtualmachineinstances', name, subresource);
        const { body } = await client.raw({ method: 'GET', path });
        print(io, JSON.stringify(body, undefined, 2));
      },
    });
}
