import { addConnectionFlags } from './connection.ts';
import type { CommandHost } from './context.ts';
import { globalOptionsText, helpText } from './help.ts';

/** help and options. */
export function addHelpCommands({ program, io }: CommandHost): void {
  addConnectionFlags(program.command('help [command...]'))
    .description('Help about any command')
    .usage('[command]')
    .action((words: readonly string[]) => {
      let command = program;
      for (const word of words) {
        const child = command.commands.find((one) => one.name() === word || one.aliases().includes(word));
        if (child === undefined) {
          io.stdout.write(`Unknown help topic [${words.map((one) => `\`${one}\``).join(' ')}]\n${helpText(program)}`);
          return;
        }
        command = child;
      }
      io.stdout.write(helpText(command));
    });
  addConnectionFlags(program.command('options'))
    .description('List the flags that every command takes.')
    .action(() => {
      io.stdout.write(globalOptionsText(program));
    });
}
