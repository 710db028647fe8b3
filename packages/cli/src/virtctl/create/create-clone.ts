import { addLocalCommand, type CommandHost } from '../context.ts';
import { CommandFailure } from '../io.ts';
import { collect } from '../pflag.ts';
import { blankMetadata, printManifest } from './manifest.ts';
import { flagFailure } from './params.ts';

interface CloneFlags {
  readonly name?: string;
  readonly namespace?: string;
  readonly sourceName?: string;
  readonly sourceType: string;
  readonly targetName?: string;
  readonly targetType: string;
  readonly labelFilter?: readonly string[];
  readonly annotationFilter?: readonly string[];
  readonly templateLabelFilter?: readonly string[];
  readonly templateAnnotationFilter?: readonly string[];
  readonly newMacAddress?: readonly string[];
  readonly newSmbiosSerial?: string;
}

const VM = { apiGroup: 'kubevirt.io', kind: 'VirtualMachine' };
const SNAPSHOT = { apiGroup: 'snapshot.kubevirt.io', kind: 'VirtualMachineSnapshot' };

/** create clone. */
export function addCreateCloneCommand(host: CommandHost): void {
  addLocalCommand<CloneFlags>(host, {
    usage: 'clone',
    description: 'Print the manifest of a VirtualMachineClone.',
    options: (command) =>
      command
        .option('--name <string>', 'name of the clone object')
        .option('--source-name <string>', 'what is cloned (required)')
        .option('--source-type <string>', 'vm or vmsnapshot', 'vm')
        .option('--target-name <string>', 'name of the new virtual machine')
        .option('--target-type <string>', 'vm', 'vm')
        .option('--label-filter <stringArray>', 'labels to keep; ! before it: to leave out (repeatable)', collect)
        .option('--annotation-filter <stringArray>', 'annotations to keep; ! before it: to leave out (repeatable)', collect)
        .option('--template-label-filter <stringArray>', 'the same for labels of the template (repeatable)', collect)
        .option('--template-annotation-filter <stringArray>', 'the same for annotations of the template (repeatable)', collect)
        .option('--new-mac-address <stringArray>', 'MAC address of an interface of the clone (repeatable)', collect)
        .option('--new-smbios-serial <string>', 'SMBIOS serial of the clone'),
    run: async (io, _, flags) => {
      if (flags.sourceName === undefined) throw new CommandFailure('required flag(s) "source-name" not set');
      const target = { ...typeOf(flags.targetType, 'target-type', false) };
      printManifest(io, {
        apiVersion: 'clone.kubevirt.io/v1beta1',
        kind: 'VirtualMachineClone',
        metadata: blankMetadata(flags.name ?? `clone-${io.randomName(5)}`, flags.namespace),
        spec: {
          ...filters(flags.annotationFilter, flags.labelFilter),
          ...(flags.newMacAddress !== undefined && { newMacAddresses: macAddresses(flags.newMacAddress) }),
          ...(flags.newSmbiosSerial !== undefined && { newSMBiosSerial: flags.newSmbiosSerial }),
          source: { ...typeOf(flags.sourceType, 'source-type', true), name: flags.sourceName },
          ...(flags.targetName !== undefined && { target: { ...target, name: flags.targetName } }),
          template: filters(flags.templateAnnotationFilter, flags.templateLabelFilter),
        },
        status: {},
      });
    },
  });
}

const filters = (annotationFilters: readonly string[] | undefined, labelFilters: readonly string[] | undefined): object => ({
  ...(annotationFilters !== undefined && { annotationFilters }),
  ...(labelFilters !== undefined && { labelFilters }),
});

function typeOf(type: string, flag: string, snapshotToo: boolean): { readonly apiGroup: string; readonly kind: string } {
  const name = type.toLowerCase();
  if (['vm', 'virtualmachine'].includes(name)) return VM;
  if (snapshotToo && ['snapshot', 'vmsnapshot', 'virtualmachinesnapshot'].includes(name)) return SNAPSHOT;
  throw new CommandFailure(`${flag} ${type} is not supported: use ${snapshotToo ? 'vm or vmsnapshot' : 'vm'}`);
}

function macAddresses(texts: readonly string[]): Record<string, string> {
  return Object.fromEntries(
    texts.map((text): [string, string] => {
      const colon = text.indexOf(':');
      if (colon < 1) throw flagFailure('new-mac-address', `"${text}" must be formatted as interface:mac`);
      return [text.slice(0, colon), text.slice(colon + 1)];
    }),
  );
}
