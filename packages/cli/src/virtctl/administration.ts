import { KubeVirtKind, VirtualMachineInstanceKind } from '@slipway/api';
import { isObject } from '@slipway/apimachinery';
import type { Command } from 'commander';
import { stringify } from 'yaml';
import { subresourcePath } from './connection.ts';
import { type ActionContext, addCommand, type CommandHost } from './context.ts';
import { CommandFailure, print } from './io.ts';
import { kindOf } from './lifecycle.ts';

/** adm log-verbosity, permitted-devices, evacuate-cancel and objectgraph. */
export function addAdministrationCommands(host: CommandHost): void {
  const adm = { ...host, program: host.program.command('adm').description('Administer the platform.') };
  addCommand<VerbosityFlags>(adm, {
    usage: 'log-verbosity',
    description: 'Show or set how much the components log (0-9).',
    options: (command) => {
      for (const { component } of COMPONENTS) command.option(`--${component} [uint]`, `show ${component}, or set it to a level`);
      return command.option('--all [uint]', 'show or set every component').option('--reset', 'back to the defaults');
    },
    run: (context, _, flags) => showOrSetVerbosity(context, flags),
  });
  addCommand(host, {
    usage: 'permitted-devices',
    description: 'List the GPUs and host devices that VMs may use.',
    run: permittedDevices,
  });
  addCommand<{ dryRun?: boolean }>(host, {
    usage: 'evacuate-cancel <type> <name>',
    description: 'Cancel the evacuation of a VM, an instance, or everything on a node (vm|vmi|node NAME).',
    options: (command) => command.option('--dry-run', 'only show that the request would be accepted'),
    run: cancelEvacuation,
  });
  addCommand<GraphFlags>(host, {
    usage: 'objectgraph <name>',
    description: 'Show the objects that a virtual machine depends on.',
    options: graphOptions,
    run: objectGraph,
  });
}

/** Each component with its attribute among the flags and its field of `logVerbosity`. */
const COMPONENTS = [
  { component: 'virt-api', flag: 'virtApi', field: 'virtAPI' },
  { component: 'virt-controller', flag: 'virtController', field: 'virtController' },
  { component: 'virt-handler', flag: 'virtHandler', field: 'virtHandler' },
  { component: 'virt-launcher', flag: 'virtLauncher', field: 'virtLauncher' },
  { component: 'virt-operator', flag: 'virtOperator', field: 'virtOperator' },
] as const;
type Level = string | true | undefined;
type VerbosityFlags = Readonly<Partial<Record<(typeof COMPONENTS)[number]['flag'] | 'all', Level>>> & {
  readonly reset?: boolean;
};
/** KubeVirt's own level where nothing is set. */
const DEFAULT_VERBOSITY = 2;

interface AskedLevel {
  readonly component: string;
  readonly field: (typeof COMPONENTS)[number]['field'];
  /** True: show it. */
  readonly level: string | true;
}

/** What the flags ask for: either levels to show or levels to set. Throws CommandFailure for a mixture and for nothing. */
function askedLevels(flags: VerbosityFlags): AskedLevel[] {
  const asked = COMPONENTS.flatMap(({ component, flag, field }) => {
    const level = flags[flag] ?? flags.all;
    return level === undefined ? [] : [{ component, field, level }];
  });
  if (asked.length === 0 && flags.reset !== true)
    throw new CommandFailure('no flag specified - expecting at least one flag: --reset, --all or a component');
  const shown = asked.filter(({ level }) => level === true);
  if (shown.length > 0 && (shown.length < asked.length || flags.reset === true))
    throw new CommandFailure('only show or set is possible at a time: give every component a level, or none');
  return asked;
}

async function showOrSetVerbosity(context: ActionContext, flags: VerbosityFlags): Promise<void> {
  const asked = askedLevels(flags);
  const kubevirt = await theKubeVirt(context);
  if (asked.some(({ level }) => level === true)) {
    const current = kubevirt.spec?.configuration?.developerConfiguration?.logVerbosity;
    for (const { component, field } of asked) print(context.io, `${component} = ${current?.[field] ?? DEFAULT_VERBOSITY}`);
    return;
  }
  const forgotten = flags.reset === true ? COMPONENTS.map(({ field }): [string, null] => [field, null]) : [];
  const levels = asked.map(({ component, field, level }): [string, number] => [field, parseLevel(component, level)]);
  const logVerbosity = Object.fromEntries<number | null>([...forgotten, ...levels]);
  const { namespace = '', name = '' } = kubevirt.metadata;
  const patch = { spec: { configuration: { developerConfiguration: { logVerbosity } } } };
  await context.client.patch(KubeVirtKind, { namespace, name }, patch, { type: 'merge' });
  print(context.io, 'successfully set/reset the log verbosity');
}

function parseLevel(component: string, level: Level): number {
  if (typeof level !== 'string' || !/^\d$/.test(level))
    throw new CommandFailure(`${component}: log verbosity must be 0-9, not "${String(level)}"`);
  return Number(level);
}

async function theKubeVirt({ client }: ActionContext) {
  const { items } = await client.list(KubeVirtKind, {});
  const [kubevirt] = items;
  if (kubevirt === undefined) throw new CommandFailure('could not detect a KubeVirt installation');
  return kubevirt;
}

async function permittedDevices(context: ActionContext): Promise<void> {
  const { permittedHostDevices: permitted } = (await theKubeVirt(context)).spec?.configuration ?? {};
  const host = [...(permitted?.pciHostDevices ?? []), ...(permitted?.mediatedDevices ?? []), ...(permitted?.usb ?? [])];
  const names = [...new Set(host.map(({ resourceName }) => resourceName))];
  const list = (title: string, entries: readonly string[]): string => `${title}:\n${entries.join(', ') || '(none)'}`;
  // KubeVirt has one list for both; only the field of the VM that names a device differs
  print(context.io, `Permitted Devices:\n${list('GPU Devices', names)}\n${list('Host Devices', names)}`);
}

async function cancelEvacuation(
  context: ActionContext,
  [type = '', name = '']: readonly string[],
  { dryRun }: { readonly dryRun?: boolean },
): Promise<void> {
  const { client, namespace, io } = context;
  const body = dryRun === true ? { dryRun: ['All'] } : {};
  const cancel = async (where: string, plural: 'virtualmachines' | 'virtualmachineinstances', of: string): Promise<void> => {
    await client.raw({ method: 'PUT', path: subresourcePath(where, plural, of, 'evacuate/cancel'), body });
    print(io, `${plural === 'virtualmachines' ? 'VM' : 'VMI'} ${where}/${of} was canceled evacuation`);
  };
  if (dryRun === true) print(io, 'Dry Run execution');
  if (/^(node|nodes|no)$/i.test(type)) {
    const { items } = await client.list(VirtualMachineInstanceKind, {});
    const leaving = items.filter(({ status }) => status?.evacuationNodeName === name);
    for (const { metadata } of leaving) await cancel(metadata.namespace ?? '', 'virtualmachineinstances', metadata.name ?? '');
    if (leaving.length === 0) print(io, `No evacuation is pending on node ${name}`);
    return;
  }
  const kind = kindOf(type);
  if (kind === undefined) throw new CommandFailure(`unsupported resource type ${type}: use vm, vmi or node`);
  await cancel(namespace, kind === 'vm' ? 'virtualmachines' : 'virtualmachineinstances', name);
}

interface GraphFlags {
  readonly vmi?: boolean;
  readonly excludeOptional?: boolean;
  readonly selector?: string;
  readonly output: string;
}

const graphOptions = (command: Command): Command =>
  command
    .option('--vmi', 'the name is that of an instance')
    .option('--exclude-optional', 'leave out what the VM can start without')
    .option('--selector <stringToString>', 'key=value pairs that a node of the graph must have')
    .option('-o, --output <string>', 'json or yaml', 'json');

async function objectGraph(
  { client, namespace, io }: ActionContext,
  [name = '']: readonly string[],
  { vmi, excludeOptional, selector, output }: GraphFlags,
): Promise<void> {
  if (output !== 'json' && output !== 'yaml')
    throw new CommandFailure('error not supported output format defined: use json or yaml');
  const path = subresourcePath(namespace, vmi === true ? 'virtualmachineinstances' : 'virtualmachines', name, 'objectgraph');
  const matchLabels = Object.fromEntries(
    (selector ?? '')
      .split(',')
      .filter(Boolean)
      .map((pair) => pair.split('=', 2)),
  );
  const options = {
    includeOptionalNodes: excludeOptional !== true,
    ...(selector !== undefined && { labelSelector: { matchLabels } }),
  };
  const { body } = await client.raw({ method: 'GET', path, body: options });
  if (!isObject(body)) throw new CommandFailure('The server has sent no graph');
  print(io, output === 'json' ? JSON.stringify(body, undefined, 2) : stringify(body, { lineWidth: 0 }).trimEnd());
}
