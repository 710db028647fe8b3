import type { CommandHost } from '../context.ts';
import { addCreateCloneCommand } from './create-clone.ts';
import { addCreateInstancetypeCommand, addCreatePreferenceCommand } from './create-instancetype.ts';
import { addCreateVmCommand } from './create-vm.ts';

/** create vm, instancetype, preference and clone: they print a manifest and touch nothing. */
export function addCreateCommands(host: CommandHost): void {
  const group = { ...host, program: host.program.command('create').description('Print a manifest.') };
  addCreateVmCommand(group);
  addCreateInstancetypeCommand(group);
  addCreatePreferenceCommand(group);
  addCreateCloneCommand(group);
}
